/** What the broker needs of a client's connection, with TLS or without. */
export type Socket = Pick<Deno.Conn, "read" | "write" | "close" | "remoteAddr">;

/** Those that were closed here: the error of a second time would take longer than the closing. */
const closed = new WeakSet<Pick<Socket, "close">>();

/** Closes a socket that may be closed already. */
export function closeQuietly(socket: Pick<Socket, "close">): void {
  if (closed.has(socket)) return;
  closed.add(socket);
  try {
    socket.close();
  } catch (error) {
    if (!(error instanceof Deno.errors.BadResource)) throw error;
  }
}

/** The peer is gone, or we closed the socket. */
export function isConnectionLoss(error: unknown): boolean {
  return error instanceof Deno.errors.ConnectionReset ||
    error instanceof Deno.errors.ConnectionAborted ||
    error instanceof Deno.errors.BrokenPipe ||
    error instanceof Deno.errors.BadResource ||
    error instanceof Deno.errors.Interrupted ||
    error instanceof Deno.errors.UnexpectedEof ||
    error instanceof Deno.errors.InvalidData ||
    error instanceof Deno.errors.TimedOut;
}
