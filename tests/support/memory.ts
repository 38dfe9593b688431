/** What a process takes of memory, read from Linux's /proc. */
import type { TestProcess } from "./process.ts";

/** Why memory cannot be measured here, for `ignore` and the name of a test; or undefined. */
export const memoryUnknown: string | undefined = Deno.build.os === "linux"
  ? undefined
  : "needs Linux's /proc";

/**
 * Bytes of memory that a process occupies.
 *
 * @throws off Linux: nothing passes there because nothing was measured
 */
export function residentBytes(process: TestProcess): number {
  return read(process, "VmRSS");
}

/**
 * The most memory that a process has had so far, in bytes.
 *
 * @throws off Linux
 */
export function peakBytes(process: TestProcess): number {
  return read(process, "VmHWM");
}

function read({ pid }: TestProcess, field: "VmRSS" | "VmHWM"): number {
  if (memoryUnknown !== undefined) throw new Error(`to measure memory ${memoryUnknown}`);
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(status)![1]) * 1024;
}
