/** The disk of one process: slow, failing or recorded (`fake_disk.c`). */
import { run } from "./process.ts";

const source = new URL("fake_disk.c", import.meta.url).pathname;

/** Why there is none, or undefined. */
export const fakeDiskMissing: string | undefined = Deno.build.os !== "linux"
  ? "needs Linux"
  : await run("gcc", { args: ["--version"] })
    .then(({ code }) => code === 0 ? undefined : "gcc does not work here")
    .catch(() => "needs gcc");

export interface FakeDiskOptions {
  /** Milliseconds that each sync takes longer. */
  syncMs?: number;
  /** File that gets a record of every change and sync of a broker's data. */
  record?: string;
}

/**
 * @param folder where the library goes; a file `fails` in it makes one fdatasync fail, and is removed;
 *   while there is a file `holds`, each waits; `data-fails` and `data-holds` are for the data file alone,
 *   and `data-holds.now` is there while it waits
 * @returns the environment of a process with such a disk
 */
export async function fakeDisk(
  folder: string,
  { syncMs = 0, record }: FakeDiskOptions,
): Promise<Record<string, string>> {
  const library = `${folder}/fake_disk.so`;
  const args = ["-shared", "-fPIC", "-O2", "-w", "-o", library, source, "-ldl", "-lpthread"];
  const { code, stderr } = await run("gcc", { args });
  if (code !== 0) throw new Error(`gcc cannot build ${source}: ${stderr}`);
  return {
    LD_PRELOAD: library,
    DISK_SYNC_MS: `${syncMs}`,
    DISK_HOLDS: `${folder}/holds`,
    DISK_FAILS: `${folder}/fails`,
    DISK_DATA_HOLDS: `${folder}/data-holds`,
    DISK_DATA_FAILS: `${folder}/data-fails`,
    ...(record === undefined ? {} : { DISK_RECORD: record }),
  };
}
