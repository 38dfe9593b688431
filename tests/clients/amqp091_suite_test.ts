/**
 * amqp091-go's own tests, from Debian's package of its source: what passes on RabbitMQ must pass
 * on our broker.
 */
import { assertEquals } from "@std/assert";
import { startBroker } from "../support/embedded.ts";
import { AMQP091, AMQP091_FOLDER, buildGo, goMissing } from "../support/foreign.ts";
import { run } from "../support/process.ts";
import { rabbitmqMissing, sharedRabbitmq } from "../support/rabbitmq.ts";
import { type TempDir, tempDir } from "../support/temp.ts";
import { unless } from "../support/unless.ts";

const missing = goMissing ?? rabbitmqMissing;
const shared = await sharedRabbitmq();

/** Opens and closes 65,536 channels: 100 s on RabbitMQ, where it passes. */
const SLOW_ON_RABBITMQ = "TestChannelCounterShouldNotPanicIssue136";

const SUITE_MS = 240_000;

Deno.test({
  ...unless(missing, "broker: Every test of amqp091-go that passes on RabbitMQ passes"),
  fn: async () => {
    await using folder = await tempDir();
    const overlay = await patience(folder);
    const args = ["test", "-overlay", overlay, "-tags", "integration", "-c", AMQP091];
    const binary = await buildGo(folder.file("amqp091.test"), ...args);
    const list = await run(binary, { args: ["-test.list", "."] });
    const all = list.stdout.trim().split("\n").filter((name) => name.startsWith("Test"));
    const onBoth = all.filter((name) => name !== SLOW_ON_RABBITMQ);
    const onRabbitmq = resultsIn(await output(binary, shared.url, onBoth));
    await using broker = await startBroker();
    const said = await output(binary, broker.url, all);
    const onBroker = resultsIn(said);
    const required = all.filter((name) => !["FAIL", "SKIP"].includes(onRabbitmq.get(name) ?? ""));
    const failed = required.filter((name) => onBroker.get(name) !== "PASS");
    assertEquals(failed, [], failed.map((name) => partOf(said, name)).join(""));
  },
});

/**
 * A Go overlay in which the suite waits 20 s for what it gives a client and a broker 1 to 500 ms for:
 * on a busy machine all take longer now and then.
 */
async function patience(folder: TempDir): Promise<string> {
  const impatient = /time\.(After|AfterFunc)\((\d+ ?\* ?)?time\.Millisecond\b/g;
  const patient: Record<string, string> = {};
  for (const { name } of Deno.readDirSync(AMQP091_FOLDER)) {
    if (!name.endsWith("_test.go")) continue;
    const original = `${AMQP091_FOLDER}/${name}`;
    const text = await Deno.readTextFile(original);
    patient[original] = folder.file(name);
    await Deno.writeTextFile(
      folder.file(name),
      text.replaceAll(impatient, "time.$1(20*time.Second"),
    );
  }
  const overlay = folder.file("overlay.json");
  await Deno.writeTextFile(overlay, JSON.stringify({ Replace: patient }));
  return overlay;
}

/** What the tests with these names print. */
async function output(binary: string, url: string, names: readonly string[]): Promise<string> {
  const pattern = `^(${names.join("|")})$`;
  await using folder = await tempDir();
  const { stdout } = await run(binary, {
    args: ["-test.v", "-test.run", pattern, "-test.timeout", `${SUITE_MS / 1000}s`],
    env: { AMQP_URL: url },
    cwd: folder.path,
    timeoutMs: SUITE_MS + 10_000,
  });
  return stdout;
}

/** PASS, FAIL or SKIP by test; a test that took the others down with it has none. */
function resultsIn(output: string): ReadonlyMap<string, string> {
  const lines = output.matchAll(/^--- (PASS|FAIL|SKIP): (\S+)/gm);
  return new Map(Array.from(lines, ([, result, name]) => [name!, result!]));
}

/** What one test printed. */
function partOf(output: string, name: string): string {
  return output.split(/^(?==== RUN )/m).find((part) => part.split(/\s+/)[2] === name) ?? "";
}
