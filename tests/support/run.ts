/**
 * Runs `deno test`, several files at a time, with one RabbitMQ node shared by all of them, and fails
 * when a test leaves temporary files (and with them nodes, processes, data) behind. A test that does
 * not end by itself fails after TEST_MINUTES (default 10; 0: never).
 *
 * Usage: deno run -A tests/support/run.ts [--no-rabbitmq] [arguments of deno test]
 */
import { brokerKind } from "./broker.ts";
import { killMarked } from "./descendants.ts";
import { rabbitmqMissing, startRabbitmq } from "./rabbitmq.ts";
import { tempDir } from "./temp.ts";

async function main(): Promise<number> {
  // Where somebody started this is nowhere that a test starts a task.
  Deno.env.delete("INIT_CWD");
  const args = Deno.args.filter((arg) => arg !== "--no-rabbitmq");
  await using runDir = await tempDir("test-run-");
  // Ports that tests were given.
  await using ports = await tempDir("test-ports-");
  // The node itself lives outside the folder that is checked for leftovers.
  const wanted = !rabbitmqMissing && brokerKind === "rabbitmq" && args.length === Deno.args.length;
  await using node = wanted ? await startRabbitmq() : undefined;
  const test = new Deno.Command(Deno.execPath(), {
    // Types are checked by `deno check`, once for all.
    args: [
      ...["test", "-A", "--no-prompt", "--no-check", "--parallel"],
      ...["--preload", new URL("time_limit.ts", import.meta.url).pathname, ...args],
    ],
    env: {
      TEST_MINUTES: Deno.env.get("TEST_MINUTES") ?? "10",
      // Tests wait more than they compute.
      DENO_JOBS: Deno.env.get("DENO_JOBS") ?? String(2 * navigator.hardwareConcurrency + 2),
      TEST_RUN_DIR: runDir.path,
      TEST_PORTS: ports.path,
      ...(node ? { TEST_RABBITMQ: JSON.stringify(node.shareable) } : {}),
    },
  }).spawn();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    // At SIGINT it tells which tests were under way.
    Deno.addSignalListener(signal, () => test.kill("SIGINT"));
  }
  const { code } = await test.status;
  // Tests that were cut off have not ended what they started.
  killMarked({ TEST_RUN_DIR: runDir.path });
  const left = Array.from(Deno.readDirSync(runDir.path), (entry) => entry.name);
  for (const name of left) {
    const path = `${runDir.path}/${name}`;
    const text = Deno.statSync(path).isFile ? `: ${Deno.readTextFileSync(path)}` : "";
    await Deno.stderr.write(new TextEncoder().encode(`A test left ${name}${text}\n`));
  }
  return code || (left.length > 0 ? 1 : 0);
}

if (import.meta.main) Deno.exit(await main());
