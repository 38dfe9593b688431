/** TCP ports for programs that cannot be told to take port 0. */
import { waitUntil } from "./wait.ts";

/**
 * Where ports are taken from: below those that systems give to outgoing connections, so that none
 * of those sits on the port of a program that is just starting again.
 */
const [LOWEST, HIGHEST] = [20_000, 32_767];

/** Ports that were given away here. */
const given = new Set<number>();

/**
 * Ports that nobody listens on, and that nobody else in this test run is given, also later: what
 * listens there may be a while in coming, or be killed and started again.
 */
export function freePorts(count: number): number[] {
  return Array.from({ length: count }, freePort);
}

function freePort(): number {
  for (;;) {
    const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST + 1));
    if (isFree(port) && take(port)) return port;
  }
}

function isFree(port: number): boolean {
  try {
    Deno.listen({ hostname: "127.0.0.1", port }).close();
    return true;
  } catch (error) {
    if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    return false;
  }
}

/** @returns false: somebody else has it */
function take(port: number): boolean {
  if (given.has(port)) return false;
  given.add(port);
  const folder = Deno.env.get("TEST_PORTS");
  if (folder === undefined) return true;
  try {
    Deno.openSync(`${folder}/${port}`, { write: true, createNew: true }).close();
    return true;
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    return false;
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
