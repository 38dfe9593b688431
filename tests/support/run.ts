/**
 * Runs `deno test` with one RabbitMQ node shared by all test files, and fails when a test leaves
 * temporary files (and with them nodes, processes, data) behind.
 *
 * Usage: deno run -A tests/support/run.ts [--no-rabbitmq] [arguments of deno test]
 */
import { rabbitmqMissing, startRabbitmq } from "./rabbitmq.ts";
import { tempDir } from "./temp.ts";

async function main(): Promise<number> {
  const args = Deno.args.filter((arg) => arg !== "--no-rabbitmq");
  await using runDir = await tempDir("test-run-");
  // The node itself lives outside the folder that is checked for leftovers.
  const wanted = !rabbitmqMissing && args.length === Deno.args.length;
  await using node = wanted ? await startRabbitmq() : undefined;
  const test = new Deno.Command(Deno.execPath(), {
    args: ["test", "-A", "--no-prompt", ...args],
    env: {
      TEST_RUN_DIR: runDir.path,
      ...(node ? { TEST_RABBITMQ: JSON.stringify(node.shareable) } : {}),
    },
  }).spawn();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => test.kill(signal));
  }
  const { code } = await test.status;
  const left = Array.from(Deno.readDirSync(runDir.path), (entry) => entry.name);
  if (left.length > 0) {
    const sentence = `Tests left these in ${runDir.path}: ${left.join(", ")}\n`;
    await Deno.stderr.write(new TextEncoder().encode(sentence));
  }
  return code || (left.length > 0 ? 1 : 0);
}

if (import.meta.main) Deno.exit(await main());
