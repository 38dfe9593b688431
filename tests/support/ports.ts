/** TCP ports for programs that cannot be told to take port 0. */
import { waitUntil } from "./wait.ts";

/** Ports that were free a moment ago: all are held at once, so that they differ. */
export function freePorts(count: number): number[] {
  const listeners = Array.from(
    { length: count },
    () => Deno.listen({ hostname: "127.0.0.1", port: 0 }),
  );
  const ports = listeners.map((listener) => listener.addr.port);
  for (const listener of listeners) listener.close();
  return ports;
}

/** Waits until something accepts connections on a port of 127.0.0.1. */
export async function waitForPort(what: string, port: number, ms?: number): Promise<void> {
  await waitUntil(`${what} to listen on port ${port}`, async () => {
    const conn = await Deno.connect({ hostname: "127.0.0.1", port });
    conn.close();
    return true;
  }, ms);
}
