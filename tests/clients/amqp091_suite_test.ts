/**
 * amqp091-go's own tests, from Debian's package of its source: what passes on RabbitMQ must pass
 * on our broker.
 */
import { assertEquals } from "@std/assert";
import { startBroker } from "../support/embedded.ts";
import { AMQP091, buildGo, goMissing } from "../support/foreign.ts";
import { run } from "../support/process.ts";
import { rabbitmqMissing, sharedRabbitmq } from "../support/rabbitmq.ts";
import { tempDir } from "../support/temp.ts";

const missing = goMissing ?? rabbitmqMissing;
const shared = await sharedRabbitmq();

/** Opens and closes 65,536 channels: 100 s on RabbitMQ, where it passes. */
const SLOW_ON_RABBITMQ = "TestChannelCounterShouldNotPanicIssue136";

const SUITE_MS = 240_000;

Deno.test({
  name: "broker: Every test of amqp091-go that passes on RabbitMQ passes" +
    (missing ? ` (ignored: ${missing})` : ""),
  ignore: missing !== undefined,
  fn: async () => {
    await using folder = await tempDir();
    const args = ["test", "-tags", "integration", "-c", AMQP091];
    const binary = await buildGo(folder.file("amqp091.test"), ...args);
    const list = await run(binary, { args: ["-test.list", "."] });
    const all = list.stdout.trim().split("\n").filter((name) => name.startsWith("Test"));
    const onRabbitmq = await results(binary, shared.url, all.filter((t) => t !== SLOW_ON_RABBITMQ));
    await using broker = await startBroker();
    const onBroker = await results(binary, broker.url, all);
    const required = all.filter((name) => onRabbitmq.get(name) !== "FAIL");
    const failed = required.filter((name) => onBroker.get(name) !== "PASS");
    assertEquals(failed.filter((name) => onRabbitmq.get(name) !== "SKIP"), []);
  },
});

/** PASS, FAIL or SKIP by test; a test that took the others down with it has none. */
async function results(
  binary: string,
  url: string,
  names: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const pattern = `^(${names.join("|")})$`;
  await using folder = await tempDir();
  const { stdout } = await run(binary, {
    args: ["-test.v", "-test.run", pattern, "-test.timeout", `${SUITE_MS / 1000}s`],
    env: { AMQP_URL: url },
    cwd: folder.path,
    timeoutMs: SUITE_MS + 10_000,
  });
  const lines = stdout.matchAll(/^--- (PASS|FAIL|SKIP): (\S+)/gm);
  return new Map(Array.from(lines, ([, result, name]) => [name!, result!]));
}
