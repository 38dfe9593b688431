/**
 * Runs the integration tests on RabbitMQ 4.0: Debian 13's package, in a folder made by debootstrap
 * (about 400 MB, made once, in ~/.cache/workqueue-debian13), in which the nodes run by chroot.
 *
 *   deno task test:rabbitmq4 [FILE OR FOLDER]...        default: all tests of the tools
 *
 * Left out are the contract and the tests of other makers' clients, which state what RabbitMQ 3.10
 * does and our broker after it, and the tests that use no RabbitMQ.
 */
// deno-lint-ignore-file no-console
import { installed } from "../tests/support/process.ts";

const RELEASE = "trixie";
const ALL = [
  "--ignore=tests/arm,tests/siege,tests/compiled,tests/docs,tests/scripts,tests/broker,tests/contract,tests/clients",
  "tests",
];

async function main(): Promise<number> {
  if (Deno.uid() !== 0) return refuse("needs root, for chroot");
  if (!installed("debootstrap")) return refuse("needs the package debootstrap, not installed here");
  const folder = await prepareDebian();
  // RabbitMQ reads the machine's memory from /proc; the mount goes with the namespace.
  const line = 'mount -t proc proc "$RABBITMQ_CHROOT/proc" && exec "$@"';
  const tests = Deno.args.length > 0 ? Deno.args : ALL;
  const { code } = await new Deno.Command("unshare", {
    args: [
      ...["--mount", "sh", "-c", line, "sh"],
      ...[Deno.execPath(), "run", "--allow-all", "tests/support/run.ts", ...tests],
    ],
    env: { RABBITMQ_CHROOT: folder },
  }).spawn().status;
  return code;
}

/** The folder of a Debian 13 with rabbitmq-server in it. */
async function prepareDebian(): Promise<string> {
  const cache = Deno.env.get("XDG_CACHE_HOME") || `${Deno.env.get("HOME") ?? "/root"}/.cache`;
  const folder = `${cache}/workqueue-debian13`;
  if (await exists(folder)) return folder;
  const part = `${folder}.part`;
  await Deno.mkdir(cache, { recursive: true });
  if (await exists(part)) await Deno.remove(part, { recursive: true });
  console.error(`Making ${folder}, which takes some minutes ...`);
  await debootstrap(part);
  await Deno.rename(part, folder);
  return folder;
}

async function debootstrap(folder: string): Promise<void> {
  const { success, stdout } = await new Deno.Command("debootstrap", {
    args: ["--variant=minbase", "--include=rabbitmq-server", RELEASE, folder],
    stdin: "null",
    stderr: "inherit",
  }).output();
  if (success) return;
  const last = new TextDecoder().decode(stdout).trim().split("\n").slice(-5).join("\n");
  throw new Error(`debootstrap failed:\n${last}`);
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

function refuse(sentence: string): number {
  console.error(`test:rabbitmq4: ${sentence}`);
  return 69;
}

Deno.exit(await main());
