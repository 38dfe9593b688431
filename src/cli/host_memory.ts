/**
 * How much memory this process may take: beyond that, Linux kills it. Deno opens no file of /sys to
 * a program, but tells that much of its control group (version 1 or 2).
 */
import { nodeProcess } from "../observe/node_process.ts";

/** Beyond that there is no limit: version 1 tells the largest number of pages. */
const NO_LIMIT = 2 ** 60;

/** In bytes; undefined: nothing limits it, or nobody tells. */
export function memoryLimit(): number | undefined {
  try {
    const bytes = nodeProcess().constrainedMemory?.() ?? 0;
    return bytes > 0 && bytes < NO_LIMIT ? bytes : undefined;
  } catch {
    return undefined; // this system has no such thing
  }
}
