/**
 * How much memory this process may take, and what of it is for tasks: beyond that, Linux kills it. Deno opens no file of /sys to
 * a program, but tells that much of its control group (version 1 or 2).
 */
import process from "node:process";
import type { TaskRoom } from "../worker/window.ts";

/** Beyond that there is no limit: version 1 tells the largest number of pages. */
const NO_LIMIT = 2 ** 60;

/** In bytes; undefined: nothing limits it, or nobody tells. */
export function memoryLimit(): number | undefined {
  try {
    const bytes = process.constrainedMemory?.() ?? 0;
    return bytes > 0 && bytes < NO_LIMIT ? bytes : undefined;
  } catch {
    return undefined; // this system has no such thing
  }
}

/** Bytes of memory that a worker takes besides the bodies of its tasks, with what it runs. */
const WORKER_BYTES = 88 * 1024 * 1024;
/** The least that is left for bodies, however little memory there is. */
const LEAST_BYTES = 16 * 1024 * 1024;

/** What a worker's tasks may take here; undefined: nothing limits it. @param queues of the worker */
export function taskRoom(queues: number): TaskRoom | undefined {
  const limit = memoryLimit();
  if (limit === undefined) return undefined;
  // Of each queue there may be some in hand, and one that is coming.
  const bytes = Math.floor(Math.max(LEAST_BYTES, limit - WORKER_BYTES) / queues / 2);
  return { bytes, single: bytes };
}
