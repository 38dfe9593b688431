/** TCP ports for programs that cannot be told to take port 0. */
import { waitUntil } from "./wait.ts";

/**
 * Where ports are taken from: below those that systems give to outgoing connections, so that none
 * of those sits on the port of a program that is just starting again.
 */
const [LOWEST, HIGHEST] = [20_000, 32_767];

/** Ports that were free a moment ago: all are held at once, so that they differ. */
export function freePorts(count: number): number[] {
  const listeners = Array.from({ length: count }, listenSomewhere);
  const ports = listeners.map((listener) => listener.addr.port);
  for (const listener of listeners) listener.close();
  return ports;
}

function listenSomewhere(): Deno.TcpListener {
  for (;;) {
    const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST + 1));
    try {
      return Deno.listen({ hostname: "127.0.0.1", port });
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    }
  }
}

/** Waits until something accepts connections on a port of 127.0.0.1. */
export async function waitForPort(what: string, port: number, ms?: number): Promise<void> {
  await waitUntil(`${what} to listen on port ${port}`, async () => {
    const conn = await Deno.connect({ hostname: "127.0.0.1", port });
    conn.close();
    return true;
  }, ms);
}
