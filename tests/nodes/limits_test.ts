/** What the tools make of a broker that takes small tasks only, and of one that blocks publishers. */
import { assertEquals, assertMatch } from "@std/assert";
import { BodyStream } from "../../src/amqp/body_stream.ts";
import { deadQueue } from "../../src/task/topology.ts";
import { Front } from "../e2e/http_front.ts";
import { takeAll } from "../e2e/queue_view.ts";
import { finish } from "../e2e/tools.ts";
import { brokerKind, type BrokerNode, brokerTest, startNode } from "../support/broker.ts";
import { tempDir, uniqueName } from "../support/temp.ts";
import { byThisDeno } from "../support/tools.ts";
import { unless } from "../support/unless.ts";
import { waitUntil } from "../support/wait.ts";
import { connectorFor } from "../worker/bench.ts";

const NDJSON_TYPE = { "content-type": "application/x-ndjson" };

type Check = (node: BrokerNode) => Promise<void>;

/** A step about what node:http does since Deno 2.9. @param unfit why not on this broker */
async function httpStep(
  t: Deno.TestContext,
  node: BrokerNode,
  name: string,
  check: Check,
  unfit?: string,
): Promise<void> {
  await t.step({
    ...unless(byThisDeno ? unfit : "not with Deno 2.4", name),
    fn: () => check(node),
  });
}

brokerTest("a broker that takes small tasks only", async (t) => {
  await using node = await startNode({ maxMessageSize: 2_000 });
  await t.step(
    "--rejects takes what is none and what the broker refuses, and the rest is sent",
    () => rejects(node),
  );
  await httpStep(
    t,
    node,
    "a task over its limit costs the answers of others once at most",
    tooLarge,
  );
});

brokerTest("a broker that blocks publishers", async (t) => {
  await using node = await startNode({ diskFreeLimit: 2 ** 50 });
  await httpStep(t, node, "is told of over HTTP, from the start", told);
  await httpStep(
    t,
    node,
    "bounds what waits for its confirm; more gets 429 until there is room",
    bounded,
    brokerKind === "embedded" ? undefined : "RabbitMQ takes some before it blocks the connection",
  );
  await t.step("gets no part of a large body", () => noBody(node));
});

async function rejects(node: BrokerNode): Promise<void> {
  await using dir = await tempDir("bulk-");
  const target = { url: node.url, queue: uniqueName("bulk-rejects") };
  const large = JSON.stringify({ body: "x".repeat(2_001) });
  const lines = ['{"body": "1"}', "nonsense", '{"body": "2"}', large, '{"body": "3"}', '"\ud800'];
  const args = ["--ndjson", "--rejects", dir.file("left"), "--timeout", "1m"];
  const sent = await finish("new_task", args, { ...target, stdin: lines.join("\n") });
  assertEquals(sent.code, 0, sent.stderr);
  assertEquals([sent.stdout, sent.stderr], [" [x] Sent 3 tasks, rejected 3\n", ""]);
  const bodies = new Set((await takeAll(target.url, target.queue)).map((t) => t.bodyString()));
  assertEquals([...bodies].sort(), ["1", "2", "3"]);
  const left = (await Deno.readTextFile(dir.file("left"))).trimEnd().split("\n")
    .map((line) => JSON.parse(line)).sort((a, b) => a.line - b.line);
  assertEquals(left.map(({ line }) => line), [2, 4, 6]);
  assertEquals(left.map(({ record }) => record), ["nonsense", large, '"\ufffd']);
  assertMatch(left[0].reason, /^a record must be JSON, and is not: /);
  assertMatch(left[1].reason, /^the broker refused the task: /);

  const without = await finish("new_task", ["--ndjson"], { ...target, stdin: `${large}\n` });
  assertEquals([without.code, without.stdout], [65, ""]);
  assertMatch(without.stderr, /^new_task: line 1: the broker refused the task: .*--skip 0 /);
  const nowhere = ["--ndjson", "--rejects", dir.file("no/such/folder")];
  const closed = await finish("new_task", nowhere, { ...target, stdin: "{}" });
  assertEquals([closed.code, closed.stdout], [66, ""]);
  assertMatch(closed.stderr, /^new_task: cannot write the file ".*": no such file.*\n$/);
}

async function tooLarge(node: BrokerNode): Promise<void> {
  const queue = uniqueName("http");
  await using front = await Front.start([], { url: node.url, queue });
  const large = "x".repeat(2_500);
  const first = await front.post(large);
  assertEquals(first.status, 413);
  assertMatch(first.json.detail, /^the broker refused the task: .*message size 2500 is larger/);
  const { json: { id } } = await front.post("small");
  const lines = `{"body": "a"}\n{"body": "${large}"}\n`;
  const refused = await front.post(lines, NDJSON_TYPE);
  assertEquals([refused.status, refused.json.line], [413, 2]);
  assertEquals((await front.post(large)).status, 413);
  // The way of its answer is still there, and none of the others was sent.
  assertEquals((await front.ask(`/tasks/${id}`)).json.state, "waiting");
  assertEquals((await takeAll(node.url, queue)).length, 1);
  await front.end();
}

async function told(node: BrokerNode): Promise<void> {
  const queue = uniqueName("http");
  await using front = await Front.start(["--timeout", "500ms"], { url: node.url, queue });
  const refused = await front.post("x");
  assertEquals([refused.status, refused.headers.get("retry-after")], [503, "2"]);
  await waitUntil("it is known", async () => {
    return /blocks publishers/.test((await front.post("x")).json.detail);
  });
  const ready = await front.ask("/readyz");
  assertEquals(ready.status, 503);
  assertMatch(ready.text, /^the broker blocks publishers: /);
  await front.end();
}

async function bounded(node: BrokerNode): Promise<void> {
  const queue = uniqueName("http");
  await using front = await Front.start(["--timeout", "1m"], { url: node.url, queue });
  const leaving = new AbortController();
  const send = (body: string, headers: Record<string, string> = {}) =>
    fetch(`${front.url}/tasks`, { method: "POST", body, headers, signal: leaving.signal });
  const large = "x".repeat(16 * 1024 * 1024);
  const waiting = [send('{"body":""}\n'.repeat(9_998), NDJSON_TYPE), send(large), send(large)];
  const answers: string[] = [];
  const gone = Promise.allSettled(waiting.map(async (response) => {
    answers.push(await (await response).text());
  }));
  await waitUntil("they are here", async () => {
    const { text } = await front.ask("/metrics");
    const count = /^workqueue_http_tasks_under_way (\d+)$/m.exec(text)?.[1];
    if (count !== "10000") throw new Error(`${count} are, and answered is [${answers}]`);
    return true;
  });
  const refused: [string, RegExp][] = [
    ["z", /^at most 10000 tasks may wait for their confirm, and 10000 do$/],
    // The last quarter of the memory is for small ones.
    [large, /^bodies that wait .* all the memory/],
  ];
  for (const [body, detail] of refused) {
    const { status, headers, json } = await front.post(body);
    assertEquals([status, headers.get("retry-after")], [429, "1"]);
    assertMatch(json.detail, detail);
  }
  leaving.abort();
  await gone;
  front.process.kill("SIGKILL");
  await front.process.ended();
}

async function noBody(node: BrokerNode): Promise<void> {
  const giveUp = new AbortController();
  const opening = BodyStream.open(connectorFor(node.url), deadQueue("any"), giveUp.signal);
  const opened = opening.then(() => "open", () => "given up");
  const transport = await connectorFor(node.url).connect();
  // By then it would be open.
  for (let look = 0; look < 5; look++) await (await transport.openChannel()).close();
  giveUp.abort();
  assertEquals(await opened, "given up");
  await transport.shutdown();
}
