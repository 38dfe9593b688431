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
import { prepareDebian } from "./rabbitmq4_root.ts";

const ALL = [
  "--ignore=tests/arm,tests/siege,tests/compiled,tests/docs,tests/scripts,tests/broker,tests/contract,tests/clients,tests/nodes/contract_test.ts",
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

function refuse(sentence: string): number {
  console.error(`test:rabbitmq4: ${sentence}`);
  return 69;
}

Deno.exit(await main());
