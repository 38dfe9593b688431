/**
 * A machine with next to nothing on it, for the compiled programs: a root folder of its own, a
 * network with nothing but the loopback, an empty environment. The root is read-only; /srv and /tmp
 * are small disks in memory. There is no more in /dev than null, and /proc, without which Deno's
 * runtime does not start.
 */
import {
  installed,
  type ProcessOptions,
  run,
  spawn,
  type TestProcess,
} from "../support/process.ts";
import type { ToolName } from "../support/tools.ts";
import { dist } from "./binary.ts";

/** Mount points of a host, which its root must have. */
const FOLDERS = ["proc", "dev", "opt", "srv", "tmp"];

/** $1 is the root, $2 the folder of the binaries, $3 the megabytes of /srv. It ends with its stdin. */
const SET_UP = `
ip link set lo up
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
mount --bind "$2" "$1/opt"
mount -t tmpfs -o "size=$3m" tmpfs "$1/srv"
mount -t tmpfs -o size=1m tmpfs "$1/tmp"
mount -t tmpfs -o size=1m tmpfs "$1/dev"
mknod -m 666 "$1/dev/null" c 1 3
mount -o remount,bind,ro "$1"
echo ready
exec cat`;

const CHROOT = ["/usr/sbin/chroot", "/usr/bin/chroot"].find(installed);

/** Why there can be no bare host here, or undefined. */
export const bareHostMissing: string | undefined = await (async () => {
  if (Deno.build.os !== "linux" || Deno.uid() !== 0) return "needs Linux, and root";
  const wanted = ["ip", "unshare", "nsenter", "ldd"].find((name) => !installed(name));
  if (wanted !== undefined || CHROOT === undefined) return `needs ${wanted ?? "chroot"}`;
  const { code } = await run("unshare", { args: ["--mount", "--net", "true"] });
  return code === 0 ? undefined : "cannot make namespaces";
})();

/** A running host; disposing it ends its namespaces, and with them its mounts. */
export class BareHost implements AsyncDisposable {
  readonly #root: string;
  readonly #user: number;
  readonly #holder: TestProcess;

  readonly #single: boolean;

  private constructor(root: string, user: number, holder: TestProcess, single: boolean) {
    this.#root = root;
    this.#user = user;
    this.#holder = holder;
    this.#single = single;
  }

  /**
   * @param user number of the user that the programs run as
   * @param single a folder with nothing but the one binary; default: `dist`, with one for each
   */
  static async start(root: string, user: number, single?: string): Promise<BareHost> {
    const args = ["--mount", "--net", "sh", "-ec", SET_UP, "sh", root, single ?? dist, "96"];
    const holder = spawn("unshare", { args, stdin: "open" });
    await holder.waitForLine(/^ready$/);
    return new BareHost(root, user, holder, single !== undefined);
  }

  /** What a page on this host answers; by a client from outside its root. */
  async get(url: string): Promise<string> {
    const output = await run("nsenter", {
      args: ["--target", `${this.#holder.pid}`, "--net", "curl", "-sS", "--fail", url],
    });
    if (output.code !== 0) throw new Error(`curl ${url}: ${output.stderr}`);
    return output.stdout;
  }

  /** Starts one of our programs with nothing in its environment; `await using` it. */
  start(name: ToolName, args: readonly string[], options: ProcessOptions = {}): TestProcess {
    return spawn("nsenter", {
      ...options,
      args: [
        ...["--target", `${this.#holder.pid}`, "--mount", "--net", "env", "-i", CHROOT!],
        ...[`--userspec=${this.#user}:${this.#user}`, this.#root],
        ...(this.#single ? ["/opt/workqueue", name] : [`/opt/${name}`]),
        ...args,
      ],
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#holder.endInput();
    await this.#holder.ended();
  }
}

/** Fills a folder with what the programs load, and nothing else: no shell, no /etc, no /dev. */
export async function makeScratchRoot(folder: string): Promise<void> {
  for (const name of FOLDERS) await Deno.mkdir(`${folder}/${name}`);
  const { stdout } = await run("ldd", { args: [`${dist}broker`] });
  for (const [library] of stdout.matchAll(/\/\S+/g)) {
    await Deno.mkdir(folder + library.replace(/[^/]*$/, ""), { recursive: true });
    await Deno.copyFile(library, folder + library);
  }
}

/** Fills a folder with the smallest Debian, which takes most of a minute; no /etc/hosts is in it. */
export async function makeDebianRoot(folder: string): Promise<void> {
  const { code, stdout, stderr } = await run("debootstrap", {
    args: ["--variant=minbase", "stable", folder],
    timeoutMs: 600_000,
  });
  if (code !== 0) {
    throw new Error(`debootstrap: ${stdout.split("\n").slice(-5).join("\n")}${stderr}`);
  }
  for (const name of ["hosts", "resolv.conf"]) {
    await Deno.remove(`${folder}/etc/${name}`).catch(() => {}); // not in every release
  }
}
