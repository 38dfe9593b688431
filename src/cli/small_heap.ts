/**
 * Keeps the heap small on a small host. V8 lets what has lived for a while, as tasks in hand do,
 * become four times of what is in use before it looks which of it is garbage; its flags against
 * that cost a quarter more CPU for each task everywhere, and nothing can set them later.
 */
import { after, type Timer } from "../time/timer.ts";

/** Bytes of the host's memory from which on V8 knows best. */
const SMALL_HOST_BYTES = 512 * 1024 * 1024;
/** Milliseconds between two looks. */
const LOOK_MS = 250;
/** Bytes that may come between two collections: some more than the young generation has. */
const GROWTH_BYTES = 10 * 1024 * 1024;

/**
 * As long as it is not disposed of.
 * @param memory of the host, in bytes; undefined: nobody knows
 */
export function keepHeapSmall(memory = Infinity): Disposable {
  // There with V8's flag --expose-gc.
  const { gc } = globalThis as { gc?: () => void };
  let timer: Timer | undefined;
  let inUse = 0;
  if (gc !== undefined && memory < SMALL_HOST_BYTES) look();
  return { [Symbol.dispose]: () => timer?.cancel() };

  function look(): void {
    const { heapUsed } = Deno.memoryUsage();
    if (heapUsed > inUse + GROWTH_BYTES) {
      gc!();
      inUse = Deno.memoryUsage().heapUsed;
    } else inUse = Math.min(inUse, heapUsed);
    timer = after(LOOK_MS, look);
  }
}
