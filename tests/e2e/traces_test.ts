/** OTEL_DENO=true: what becomes of a task is one trace, from whoever sent it to its end. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { brokerTest, sharedNode } from "../support/broker.ts";
import { Collector, type ExportedSpan } from "../support/otlp.ts";
import { toolsKind } from "../support/tools.ts";
import { commandOf, finish, send, start, stop } from "./tools.ts";
import { QueueBench } from "../worker/bench.ts";

/** Deno decides about a compiled program when it is compiled. */
const tracedTest: typeof brokerTest = toolsKind === "source"
  ? brokerTest
  : (name) => Deno.test.ignore(`${name} (ignored: compiled programs are not traced)`, () => {});

const { url, port } = await sharedNode();

/** Every span is of this trace, and every parent is among them, but for those of the root. */
function assertWhole(spans: readonly ExportedSpan[], root: ExportedSpan): void {
  const ids = new Set(spans.map(({ spanId }) => spanId));
  for (const { name, parentSpanId, spanId, traceId } of spans) {
    assertEquals(traceId, root.traceId, name);
    if (spanId !== root.spanId) assert(ids.has(parentSpanId), `nobody knows the parent of ${name}`);
  }
}

type Order = (one: ExportedSpan, other: ExportedSpan) => number;

const byTime: Order = (a, b) => a.start - b.start || a.end - b.end;

/** For programs that work at the same time: when a task was sent is known to the millisecond. */
const byProgram: Order = (a, b) => `${a.service} ${a.name}`.localeCompare(`${b.service} ${b.name}`);

/** A trace as a tree, a line a span. */
function draw(
  spans: readonly ExportedSpan[],
  parent: string,
  order = byTime,
  indent = "",
): string[] {
  return spans.filter(({ parentSpanId }) => parentSpanId === parent)
    .toSorted(order)
    .flatMap((span) => [
      `${indent}${span.name} (${span.service})`,
      ...draw(spans, span.spanId, order, `${indent}  `),
    ]);
}

tracedTest("a task is one trace, through a retry, its own tasks and the dead queue", async () => {
  await using bench = await QueueBench.open(url);
  await using collector = new Collector();
  const { name: queue } = bench;
  const target = { url, queue };
  // A program that is part of a trace itself.
  const outside = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  const env = { ...collector.env("sender"), TRACEPARENT: outside, TRACESTATE: "a=1" };
  await send(["--id", "one", "--type", "mail", "--correlation-id", "c", "x"], { ...target, env });
  const next = commandOf("new_task", ["--id", "two", "--queue", `${queue}.next`, "y"]);
  const script = `test $TASK_ATTEMPT = 1 && exit 3; [ "$TRACESTATE" = a=1 ] || exit 5; ` +
    `OTEL_SERVICE_NAME=command "$@" >&2; exit 65`;
  await using worker = start("worker", [
    ...["--backoff", "1s", "--pass-url", "--", "sh", "-c", script, "sh", ...next],
  ], { ...target, env: { ...collector.env("worker"), TRACEPARENT: outside } });
  await worker.waitForLog(/dead \(rejected\)/);
  await stop(worker);
  const dead = await bench.take(`${queue}.dead`);
  await bench.transport.openChannel().then((channel) => channel.queueDelete(`${queue}.next`));

  const [root] = await collector.named(`send ${queue}`);
  await collector.named(`send ${queue}.dead`);
  const spans = collector.spans.filter(({ kind }) => kind !== 3);
  assertWhole(spans, root!);
  assertEquals(root!.traceId, "0af7651916cd43dd8448eb211c80319c");
  assertEquals(root!.parentSpanId, "b7ad6b7169203331");
  // What is left of a pause may need another delay queue.
  const drawn = draw(spans, root!.parentSpanId).filter((line) => !/^ {2}send .*delay/.test(line));
  assertEquals(drawn, [
    `send ${queue} (sender)`,
    `  wait ${queue} (worker)`,
    `  process ${queue} (worker)`,
    `    send ${queue}.delay.1000 (worker)`,
    `  wait ${queue} (worker)`,
    `  process ${queue} (worker)`,
    `    send ${queue}.next (command)`,
    `    send ${queue}.dead (worker)`,
  ]);
  const [first, second] = (await collector.named(`process ${queue}`, 2))
    .toSorted((a, b) => a.start - b.start);
  assertEquals([root!.kind, first!.kind], [4, 5]);
  assertEquals(root!.attributes, {
    "messaging.system": "rabbitmq",
    "messaging.operation.name": "send",
    "messaging.operation.type": "send",
    "messaging.destination.name": queue,
    "messaging.rabbitmq.destination.routing_key": queue,
    "messaging.message.id": "one",
    "messaging.message.conversation_id": "c",
    "messaging.message.body.size": 1,
    "server.address": "127.0.0.1",
    "server.port": port,
    "task.type": "mail",
  });
  assertEquals(first!.attributes, {
    "messaging.system": "rabbitmq",
    "messaging.operation.name": "process",
    "messaging.operation.type": "process",
    "messaging.destination.name": queue,
    "messaging.rabbitmq.destination.routing_key": queue,
    "messaging.message.id": "one",
    "messaging.message.conversation_id": "c",
    "messaging.message.body.size": 1,
    "task.type": "mail",
    "task.attempt": 1,
    "task.outcome": "delayed",
    "process.exit.code": 3,
    "error.type": "failed",
  });
  assertEquals([first!.links, first!.status, second!.status], [[root!.spanId], 2, 2]);
  const { "task.attempt": attempt, "task.outcome": outcome } = second!.attributes;
  assertEquals([attempt, outcome], [2, "dead"]);
  const [, pause] = await collector.named(`wait ${queue}`, 2);
  assert(pause!.end - pause!.start >= 1_000, "the pause is part of the wait");
  // Whoever takes it from the dead queue goes on from where it was sent first.
  const { traceparent, tracestate } = dead!.properties.headers!;
  assertEquals([traceparent, tracestate], [`00-${root!.traceId}-${root!.spanId}-01`, "a=1"]);
});

tracedTest("a task that comes without a trace begins one with its first run", async () => {
  await using bench = await QueueBench.open(url);
  await using collector = new Collector();
  await bench.send("x", { messageId: "t" });
  const script = "test $TASK_ATTEMPT = 2";
  await using worker = start("worker", [
    ...["--backoff", "50ms", "--max-tasks", "2", "--", "sh", "-c", script],
  ], { url, queue: bench.name, env: collector.env("worker") });
  assertEquals((await worker.ended()).code, 0);
  const runs = await collector.named(`process ${bench.name}`, 2);
  const [first, second] = runs.toSorted((a, b) => a.start - b.start);
  const sent = collector.spans.find(({ spanId }) => spanId === second!.parentSpanId);
  assertEquals([first!.parentSpanId, sent?.parentSpanId], ["", first!.spanId]);
  assertWhole(collector.spans, first!);
});

tracedTest("a module's own spans, and what it sends for, are part of the task's", async () => {
  await using bench = await QueueBench.open(url);
  await using collector = new Collector();
  await bench.send("x", { messageId: "t" });
  const file = await Deno.makeTempFile({ suffix: ".js" });
  await Deno.writeTextFile(
    file,
    `export default async () => {
      await new Promise((resolve) => setTimeout(resolve, 1));
      const api = globalThis[Symbol.for("opentelemetry.js.api.1")];
      api.trace.getTracer("mine").startSpan("mine", {}, api.context.active()).end();
    };`,
  );
  const ended = await finish("worker", ["--exit-when-empty", "--handler", file], {
    url,
    queue: bench.name,
    env: collector.env("worker"),
  });
  await Deno.remove(file);
  assertEquals(ended.code, 0, ended.stderr);
  const [mine] = await collector.named("mine");
  const [run] = await collector.named(`process ${bench.name}`);
  assertEquals([mine!.traceId, mine!.parentSpanId], [run!.traceId, run!.spanId]);
  assertEquals(run!.status, 0);
});

tracedTest(
  "a task over HTTP, to another broker and to a web application is one trace",
  async () => {
    await using bench = await QueueBench.open(url);
    await using there = await QueueBench.open(url);
    await using collector = new Collector();
    const posted = Promise.withResolvers<string | null>();
    await using application = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {} },
      (request) => {
        posted.resolve(request.headers.get("traceparent"));
        return new Response("");
      },
    );
    await using front = start("new_task", ["--http", "0"], {
      url,
      queue: bench.name,
      env: collector.env("front"),
    });
    const [, address] = await front.waitForLine(/at (http:\S+)\/tasks/);
    await using forwarder = start("worker", ["forward", "--to", url, "--to-queue", there.name], {
      url,
      queue: bench.name,
      env: collector.env("forwarder"),
    });
    await using worker = start("worker", ["--post", `http://127.0.0.1:${application.addr.port}/`], {
      url,
      queue: there.name,
      env: collector.env("worker"),
    });
    const answer = await fetch(`${address}/tasks`, {
      method: "POST",
      body: "x",
      headers: { traceparent: `00-${"ab".repeat(16)}-${"cd".repeat(8)}-01` },
    });
    assertEquals(answer.status, 202, await answer.text());
    const [run] = await collector.named(`process ${there.name}`);
    const [sent] = await collector.named(`send ${bench.name}`);
    await collector.named(`send ${there.name}`);
    for (const program of [front, forwarder, worker]) await stop(program);
    assertMatch(forwarder.stderr.join("\n"), / forwarded tasks=1 bytes=1 /);
    // Deno's own span of the request is between them, where it makes one.
    const [, traceId, spanId] = (await posted.promise)!.split("-");
    const caller = collector.spans.find((span) => span.spanId === spanId);
    assertEquals([traceId, caller?.traceId], ["ab".repeat(16), run!.traceId]);
    assert([caller!.spanId, caller!.parentSpanId].includes(run!.spanId));
    const ours = collector.spans.filter(({ name }) => / work\./.test(name));
    assertWhole(ours, sent!);
    assertEquals(draw(ours, sent!.parentSpanId, byProgram), [
      `send ${bench.name} (front)`,
      `  process ${bench.name} (forwarder)`,
      `    send ${there.name} (forwarder)`,
      `  wait ${bench.name} (forwarder)`,
      `  process ${there.name} (worker)`,
      `  wait ${there.name} (worker)`,
    ]);
    assertEquals(sent!.traceId, "ab".repeat(16));
  },
);

tracedTest("without OTEL_DENO a trace that is there is passed on, and none is made", async () => {
  await using bench = await QueueBench.open(url);
  const target = { url, queue: bench.name };
  const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
  const env = { TRACEPARENT: traceparent };
  await send(["--id", "in", "x"], { ...target, env });
  await send(["--id", "own", "--header", "traceparent=mine", "x"], { ...target, env });
  await send(["--id", "out", "x"], { ...target, env: { TRACEPARENT: "nonsense" } });
  const script = 'echo "$TASK_ID ${TRACEPARENT-none}"';
  const { stderr } = await finish("worker", ["--exit-when-empty", "--", "sh", "-c", script], {
    ...target,
    env,
  });
  assertEquals(
    stderr.split("\n").filter((line) => line.startsWith("[")),
    [`[in] in ${traceparent}`, "[own] own none", "[out] out none"],
  );
});
