/** A slow or failing disk for one process: its syncs take longer, or do not succeed. */
import { run } from "./process.ts";

const source = new URL("slow_sync.c", import.meta.url).pathname;

/** Why there is none, or undefined. */
export const slowSyncMissing: string | undefined = Deno.build.os !== "linux"
  ? "needs Linux"
  : await run("gcc", { args: ["--version"] })
    .then(({ code }) => code === 0 ? undefined : "gcc does not work here")
    .catch(() => "needs gcc");

/**
 * @param folder where the library goes; a file `fails` in it makes one fdatasync fail, and is removed
 * @param ms that each sync takes longer
 * @returns the environment of a process with such a disk
 */
export async function slowSync(folder: string, ms: number): Promise<Record<string, string>> {
  const library = `${folder}/slow_sync.so`;
  const args = ["-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"];
  const { code, stderr } = await run("gcc", { args });
  if (code !== 0) throw new Error(`gcc cannot build ${source}: ${stderr}`);
  return { LD_PRELOAD: library, SYNC_MS: `${ms}`, SYNC_FAILS: `${folder}/fails` };
}
