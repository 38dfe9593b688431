import type process from "node:process";

/** Node's process, loaded by the first call: that takes as long as half the start of a broker. */
export function nodeProcess(): typeof process {
  return (globalThis as unknown as { readonly process: typeof process }).process;
}
