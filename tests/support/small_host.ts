/** A host with little memory: a control group of Linux, in which whoever takes more is killed. */
import { existsSync, statfsSync } from "node:fs";
import { type TempDir, tempDir } from "./temp.ts";
import { byThisDeno, toolCommand, type ToolName } from "./tools.ts";
import { unless } from "./unless.ts";

const VERSION_1 = "/sys/fs/cgroup/memory";
const VERSION_2 = "/sys/fs/cgroup";

/**
 * The environment of a process on such a host. glibc gives large memory back to the system when it
 * is freed, which it does not from the first time on; and there is one heap for all threads.
 */
export const SMALL_HOST_ENV: Readonly<Record<string, string>> = {
  MALLOC_ARENA_MAX: "1",
  MALLOC_MMAP_THRESHOLD_: "131072",
};

/** A control group; `await using` it around the processes in it. */
export interface SmallHost extends AsyncDisposable {
  /** The command line that runs a tool in it. */
  command(name: ToolName, args: readonly string[]): [string, ...string[]];
  /** How many processes in it were killed for their memory. */
  killed(): number;
}

/** @param bytes of memory @returns undefined: none can be made here, which takes root and Linux */
export function smallHost(bytes: number): SmallHost | undefined {
  const isFirst = existsSync(`${VERSION_1}/memory.limit_in_bytes`);
  const folder = `${isFirst ? VERSION_1 : VERSION_2}/small-${crypto.randomUUID()}`;
  try {
    Deno.mkdirSync(folder);
  } catch {
    return undefined;
  }
  try {
    const limit = isFirst ? "memory.limit_in_bytes" : "memory.max";
    Deno.writeTextFileSync(`${folder}/${limit}`, String(bytes), { create: false });
  } catch {
    Deno.removeSync(folder);
    return undefined;
  }
  return {
    command(name, args) {
      const enter = 'echo $$ > "$0" && exec "$@"';
      return ["sh", "-c", enter, `${folder}/cgroup.procs`, ...toolCommand(name, args)];
    },
    killed() {
      const events = Deno.readTextFileSync(
        `${folder}/${isFirst ? "memory.oom_control" : "memory.events"}`,
      );
      return Number(/^oom_kill (\d+)/m.exec(events)?.[1] ?? 0);
    },
    async [Symbol.asyncDispose]() {
      await Deno.remove(folder);
    },
  };
}

/** Of a file system that is in memory: what is written there counts as taken by who writes it. */
const TMPFS = 0x0102_1994;
/** Where there is a disk, when temporary files are in memory. */
const ON_DISK = "/var/tmp";

/** A folder for what programs on such a host write, which is on a disk where there is one. */
export async function diskDir(): Promise<TempDir> {
  const dir = await tempDir();
  if (statfsSync(dir.path).type !== TMPFS || !existsSync(ON_DISK)) return dir;
  await dir[Symbol.asyncDispose]();
  return await tempDir("disk-", ON_DISK);
}

const probe = smallHost(128 * 1024 * 1024);
await probe?.[Symbol.asyncDispose]();
const missing = probe === undefined
  ? "no control group for memory can be made here"
  : byThisDeno
  ? undefined
  : "the oldest Deno frees garbage later";

/** Declares a test that needs such a host, and says so in its name where there is none. */
export function hostTest(what: string, fn: () => Promise<void>): void {
  Deno.test({ ...unless(missing, `a small host: ${what}`), fn });
}
