/** What the broker needs of a client's connection, with TLS or without. */
export type Socket = Pick<Deno.Conn, "read" | "write" | "close" | "remoteAddr">;

/** Closes a socket that may be closed already. */
export function closeQuietly(socket: Pick<Socket, "close">): void {
  try {
    socket.close();
  } catch (error) {
    if (!(error instanceof Deno.errors.BadResource)) throw error;
  }
}
