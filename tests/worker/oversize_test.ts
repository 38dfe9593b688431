/** Tasks whose bodies do not fit into the memory of a worker's host. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { BodyStream } from "../../src/amqp/body_stream.ts";
import { ConnectionError } from "../../src/errors.ts";
import { parseUrls } from "../../src/amqp/url.ts";
import { createLogger } from "../../src/observe/log.ts";
import { DONE } from "../../src/task/handler.ts";
import { readHistory } from "../../src/task/headers.ts";
import type { TaskProperties } from "../../src/task/task.ts";
import { deadQueue } from "../../src/task/topology.ts";
import { TaskRoom } from "../../src/worker/task_room.ts";
import { Worker } from "../../src/worker/worker.ts";
import { brokerTest, sharedNode } from "../support/broker.ts";
import { within } from "../support/wait.ts";
import { connectorFor, QueueBench } from "./bench.ts";

const { url } = await sharedNode();
/** Of several frames, the last of which is not full. */
const LARGE = "0123456789".repeat(40_001);
const LIMITED = { "x-delivery-limit": 1 };
const NEVER = new AbortController().signal;

interface Ended {
  readonly status: number;
  readonly done: string[];
  readonly counts: Readonly<Record<string, number>>;
  readonly log: string;
}

/** Runs a worker with room for bodies of 20 KB until its queue is empty. */
async function runUntilEmpty(bench: QueueBench, maxAttempts: number): Promise<Ended> {
  const done: string[] = [];
  let log = "";
  const worker = new Worker({
    endpoints: parseUrls(url),
    identity: { name: "test", version: "0" },
    queues: [{
      policy: { name: bench.name, type: "quorum", strict: false, create: true },
      prefetch: 8,
    }],
    room: TaskRoom.of(20_000),
    retries: { maxAttempts, backoffMs: [10], jitter: 0, maxCrashes: 3 },
    hostname: "small",
    exitWhenEmpty: true,
    handler: ({ id }) => {
      done.push(id);
      return Promise.resolve(DONE);
    },
    log: createLogger({ name: "test", write: (line) => log += line }),
  });
  const status = await within("the worker to end", worker.run());
  return { status, done, counts: worker.describe(), log };
}

for (const type of ["quorum", "classic"] as const) {
  brokerTest(
    `a task that is too large for a worker is dead in the end, with its body (${type} queue)`,
    async () => {
      // A second return would be the last, whatever number of attempts is asked for.
      const declaration = { "x-queue-type": type, ...(type === "quorum" ? LIMITED : {}) };
      const maxAttempts = type === "quorum" ? 5 : 1;
      await using bench = await QueueBench.open(url, declaration);
      const headers = { kept: "yes", number: 3_000_000_000n };
      const large = { messageId: "large", priority: 3, type: "t", headers };
      await bench.send(LARGE, large);
      const bodies = [LARGE, ...["a", "b", "c"].map((end) => LARGE + end)];
      for (const body of bodies.slice(1)) await bench.send(body);
      await bench.send("small", { messageId: "small" });
      const { status, done, counts, log } = await runUntilEmpty(bench, maxAttempts);
      assertEquals([status, done], [0, ["small"]], log);
      assertEquals([counts["dead"], counts["returned"]], [bodies.length, bodies.length], log);
      assert(log.includes(`a task of ${LARGE.length} bytes is too large for the memory of`), log);
      const dead = new Map<string, TaskProperties>();
      for (const _ of bodies) {
        const { body, properties } = (await bench.take(`${bench.name}.dead`))!;
        dead.set(body, properties);
      }
      assertEquals([...dead.keys()].sort(), bodies);
      const { headers: found, ...properties } = dead.get(LARGE)!;
      assertEquals([properties.messageId, properties.priority, properties.type], ["large", 3, "t"]);
      assertEquals([found!["kept"], BigInt(found!["number"] as number)], ["yes", 3_000_000_000n]);
      assertEquals(found!["task-dead-reason"], "rejected");
      assertEquals(
        found!["task-error"],
        `a task of ${LARGE.length} bytes is too large for the memory of this host`,
      );
      assertEquals([found!["task-host"], found!["task-origin-queue"]], ["small", bench.name]);
      await bench.holds(0);
    },
  );
}

brokerTest("returns to the queue by other workers count, too", async () => {
  await using bench = await QueueBench.open(url);
  await bench.send(LARGE, { messageId: "large" });
  const channel = await bench.transport.openChannel();
  for (let i = 0; i < 6; i++) {
    const message = await channel.basicGet(bench.name, { noAck: false });
    const { losses } = readHistory({ properties: message!.properties, redelivered: i > 0 });
    assertEquals(losses, i);
    await channel.basicNack(message!.deliveryTag, true);
  }
  // By itself it would give it back five times, which takes half a minute.
  const { counts, log } = await runUntilEmpty(bench, 5);
  assertEquals([counts["dead"], counts["returned"]], [1, 1], log);
  assertEquals((await bench.take(`${bench.name}.dead`))!.body, LARGE);
});

brokerTest("half a body that is passed on is nowhere", async () => {
  await using bench = await QueueBench.open(url);
  const task = {
    exchange: "",
    routingKey: `${bench.name}.dead`,
    body: new Uint8Array(),
    properties: { messageId: "m", deliveryMode: 2 },
  };
  const halves = [1, 2].map((fill) => new Uint8Array(200_000).fill(fill));
  const open = () => BodyStream.open(connectorFor(url), deadQueue(bench.name), NEVER);
  const half = await open();
  half.begin(task, 400_000);
  await half.write(halves[0]!);
  half.abandon("enough");
  await assertRejects(() => half.finish(), ConnectionError, "enough");
  const whole = await open();
  whole.begin(task, 400_000);
  for (const part of halves) await whole.write(part);
  await whole.finish();
  assertEquals(whole.isEnded, true);
  const found = await bench.take(task.routingKey);
  assertEquals([found!.body.length, found!.properties.messageId], [400_000, "m"]);
  await bench.holds(0, task.routingKey);
});
