/** The compiled programs, each alone: an empty environment, no deno and no node to be found. */
import { spawn, type TestProcess } from "../support/process.ts";

export const dist = new URL("../../dist/", import.meta.url).pathname;

/** Starts a binary in an empty folder, with only these variables ("NAME=value"). */
export function binary(
  name: string,
  folder: string,
  variables: readonly string[],
  args: readonly string[],
): TestProcess {
  const env = ["PATH=/nonexistent", `TMPDIR=${folder}`, ...variables];
  return spawn("/usr/bin/env", { args: ["-i", "-C", folder, ...env, `${dist}${name}`, ...args] });
}
