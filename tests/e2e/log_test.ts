/** --log-format and --log-level: what goes on, for machines, whatever strangers send. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { brokerTest, sharedNode } from "../support/broker.ts";
import { spawn } from "../support/process.ts";
import { Proxy } from "../support/proxy.ts";
import { tempDir } from "../support/temp.ts";
import { toolCommand } from "../support/tools.ts";
import { QueueBench } from "../worker/bench.ts";
import { finish, stop } from "./tools.ts";

const { url, port } = await sharedNode();

/** What a terminal acts on instead of showing it. */
const DANGEROUS = /[\p{Cc}\u2028\u2029\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]/u;

type Entry = Record<string, unknown>;

/** Every line is an object of JSON that no terminal obeys. */
function entriesOf(lines: readonly string[]): Entry[] {
  return lines.map((line) => {
    assert(!DANGEROUS.test(line), JSON.stringify(line));
    const entry = JSON.parse(line);
    assertMatch(entry.time, /^\d{4}-\d\d-\d\dT/);
    assertEquals([typeof entry.level, typeof entry.name], ["string", "string"]);
    return entry;
  });
}

brokerTest("with --log-format json every line is JSON, and each task has one", async () => {
  await using bench = await QueueBench.open(url);
  const odd = 'a"\\\u2028\u202e\x1b[31m\n\x07\u{1f407}';
  const timestamp = new Date(Date.now() - 60_000);
  await bench.send("0", { messageId: "fine", type: "mail", timestamp });
  await bench.send("65", { messageId: odd, type: odd, headers: { [odd]: odd } });
  await bench.send("3", { messageId: "late" });
  const script = 'read code; printf "\\033[1m\\302\\205\\377 out\\n"; exit "$code"';
  await using worker = bench.worker(
    ...["--log-format", "json", "--backoff", "1s", "--max-attempts", "2"],
    ...["--", "sh", "-c", `{ cat; echo; } | { ${script}; }`],
  );
  await worker.waitForLog(/"dead \(max-attempts\)/);
  await stop(worker);
  const entries = entriesOf(worker.stderr);
  const ends = entries.filter(({ outcome }) => outcome !== undefined);
  const facts = ends.map(({ id, queue, type, attempt, outcome, exit_status }) => {
    assertEquals(queue, bench.name);
    return [id, type, attempt, outcome, exit_status];
  });
  assertEquals(facts, [
    ["fine", "mail", 1, "done", 0],
    [odd, odd, 1, "dead", 65],
    ["late", undefined, 1, "delayed", 3],
    ["late", undefined, 2, "dead", 3],
  ]);
  const waits = ends.map(({ waited_ms }) => waited_ms as number | undefined);
  assert(waits[0]! >= 60_000, `${waits}`);
  assertEquals(waits.slice(1, 3), [undefined, undefined]);
  assert(waits[3]! < 60_000, "its pause is no part of the wait");
  for (const { ms } of ends) assert(Number.isInteger(ms));
  const output = entries.filter(({ stream }) => stream !== undefined);
  assertEquals(output.map(({ id, attempt }) => [id, attempt]), facts.map(([id, , at]) => [id, at]));
  assertEquals(output[0]!.message, "\x1b[1m\x85\ufffd out");
});

brokerTest("a lost connection says why and for how long, in fields", async () => {
  await using proxy = await Proxy.start(port);
  await using bench = await QueueBench.open(url);
  const [command, ...args] = toolCommand("worker", ["--log-format=json", "--queue", bench.name]);
  await using worker = spawn(command, { args, env: { AMQP_URL: proxy.url } });
  await worker.waitForLine(/Waiting/);
  await proxy.cut();
  const { input: lost } = await worker.waitForLog(/trying again/);
  await worker.waitForLog(/connected again/);
  assertEquals((await stop(worker)).code, 0);
  const { level, message, pause_ms, reason } = entriesOf([lost!])[0]!;
  assertEquals(level, "warn");
  assert(pause_ms as number >= 0 && pause_ms as number <= 500, String(pause_ms));
  assert((message as string).startsWith(reason as string) && reason !== "", String(message));
  const again = entriesOf(worker.stderr).find(({ message }) => message === "connected again");
  assertEquals(again!.queue, bench.name);
});

brokerTest("--log-level leaves out what is below it, and never why a program ends", async () => {
  await using bench = await QueueBench.open(url);
  await bench.send("x", { messageId: "t" });
  const options = { url, queue: bench.name };
  const quiet = ["--log-level", "error", "--exit-when-empty", "--", "true"];
  const ended = await finish("worker", quiet, options);
  assertEquals([ended.code, ended.stderr], [0, ""]);
  const failed = await finish("new_task", ["--log-format=json", "--no-declare", "x"], {
    url,
    queue: `${bench.name}.none`,
  });
  const [entry] = entriesOf(failed.stderr.trimEnd().split("\n"));
  assertEquals([failed.code, entry!.level, entry!.status], [69, "error", 69]);
  assertMatch(String(entry!.message), /no queue/);
});

brokerTest(
  "the tutorial's worker says as little as ever, and one line a task in JSON",
  async () => {
    await using bench = await QueueBench.open(url);
    const options = { url, queue: bench.name };
    await bench.send("one", { messageId: "1" });
    const plain = await finish("worker", ["--exit-when-empty"], options);
    assertMatch(plain.stderr, /^\S+ worker: the worker ends by --exit-when-empty\n$/);
    await bench.send("two", { messageId: "2" });
    const json = await finish("worker", ["--exit-when-empty", "--log-format=json"], options);
    assertEquals(json.stdout, plain.stdout.replace("ed one", "ed two"));
    const [entry] = entriesOf(json.stderr.trimEnd().split("\n"));
    assertEquals([entry!.id, entry!.outcome, "exit_status" in entry!], ["2", "done", false]);
  },
);

Deno.test("the broker's lines are JSON, too", async () => {
  await using dir = await tempDir();
  const [command, ...args] = toolCommand("broker", [
    "--port=0",
    "--log-format=json",
    "--log-level=debug",
    "--transient",
  ]);
  await using broker = spawn(command, { args, cwd: dir.path });
  await broker.waitForLog(/"ready: /);
  const [, address] = await broker.waitForLog(/"ready: (amqp:[^," ]+)/);
  const target = { url: address!, queue: "q" };
  assertEquals((await finish("new_task", ["--queue-type=classic", "x"], target)).code, 0);
  await broker.waitForLog(/"connection ended"/);
  broker.kill("SIGUSR2");
  await broker.waitForLog(/"status"/);
  broker.kill("SIGTERM");
  assertEquals((await broker.ended()).code, 0);
  const entries = entriesOf(broker.stderr);
  assert(entries.some(({ message }) => message === "ending"));
  const opened = entries.find(({ message }) => message === "connection opened");
  assertEquals([opened!.level, opened!.user], ["debug", "guest"]);
  assertMatch(String(opened!.client), /^new_task /);
});
