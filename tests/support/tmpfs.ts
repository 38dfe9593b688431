/** Small disks of their own, for tests that fill them. */
import { run } from "./process.ts";
import { tempDir } from "./temp.ts";

export interface SmallDisk extends AsyncDisposable {
  readonly path: string;
  /** Mounts it again with other options: "ro", "rw", "size=9m". */
  remount(options: string): Promise<void>;
}

/** Mounts a disk in memory. It must not be in use any more when it is disposed. */
export async function mountDisk(megabytes: number): Promise<SmallDisk> {
  const dir = await tempDir("disk-");
  await mount(["-t", "tmpfs", "-o", `size=${megabytes}m`, "tmpfs", dir.path]);
  return {
    path: dir.path,
    remount: (options) => mount(["-o", `remount,${options}`, dir.path]),
    async [Symbol.asyncDispose]() {
      const { code, stderr } = await run("umount", { args: [dir.path] });
      if (code !== 0) throw new Error(`umount: ${stderr}`);
      await dir[Symbol.asyncDispose]();
    },
  };
}

async function mount(args: readonly string[]): Promise<void> {
  const { code, stderr } = await run("mount", { args });
  if (code !== 0) throw new Error(`mount ${args.join(" ")}: ${stderr}`);
}

/** Why no disk can be mounted here, or undefined. */
export const mountMissing: string | undefined = await (async () => {
  if (Deno.build.os !== "linux") return "needs Linux's tmpfs";
  try {
    await using _disk = await mountDisk(1);
    return undefined;
  } catch (error) {
    return `cannot mount a tmpfs: ${(error as Error).message.trim()}`;
  }
})();
