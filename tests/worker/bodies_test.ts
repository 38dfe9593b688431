/** What a worker keeps of large tasks that are done. */
import { assertEquals, assertRejects } from "@std/assert";
import { inspectQueue } from "../../src/amqp/declare.ts";
import { parseUrls } from "../../src/amqp/url.ts";
import { ChannelError } from "../../src/errors.ts";
import { createLogger } from "../../src/observe/log.ts";
import { DONE, type Outcome } from "../../src/task/handler.ts";
import type { Task } from "../../src/task/task.ts";
import { Starts } from "../../src/worker/starts.ts";
import { TaskRoom } from "../../src/worker/task_room.ts";
import type { WorkerOptions } from "../../src/worker/options.ts";
import { Worker } from "../../src/worker/worker.ts";
import { brokerTest, sharedNode } from "../support/broker.ts";
import { within } from "../support/wait.ts";
import { QueueBench } from "./bench.ts";

const { url } = await sharedNode();
const log = createLogger({ name: "test", write: () => {} });
const LARGE = "large".repeat(100_000);
/** The largest of which a worker knows, when it comes back, that it was acknowledged. */
const KNOWN = "k".repeat(64 * 1024);
const FAILED: Outcome = { kind: "failed", reason: "first" };

/** @param more in place of the options that all of these have */
function workerOn(
  bench: QueueBench,
  more: Pick<WorkerOptions, "handler" | "freeBodies" | "maxTasks"> & Partial<WorkerOptions>,
): Worker {
  return new Worker({
    endpoints: parseUrls(url),
    identity: { name: "test", version: "0" },
    queues: [{
      policy: { name: bench.name, type: "quorum", strict: false, create: true },
      prefetch: 1,
    }],
    log,
    retries: { maxAttempts: 2, backoffMs: [10], jitter: 0, maxCrashes: 3 },
    hostname: "test",
    ...more,
  });
}

for (const freeBodies of [true, false]) {
  const what = freeBodies ? "given back" : "left to a handler that may keep it";
  brokerTest(`the memory of a large body is ${what} when its task is done`, async () => {
    await using bench = await QueueBench.open(url);
    await bench.send(KNOWN, { messageId: "known" });
    await bench.send(LARGE, { messageId: "large" });
    const tasks: Task[] = [];
    const bodies: string[] = [];
    const worker = workerOn(bench, {
      handler: (task) => {
        tasks.push(task);
        bodies.push(new TextDecoder().decode(task.body));
        return Promise.resolve(tasks.length === 2 ? FAILED : DONE);
      },
      freeBodies,
      maxTasks: 3,
    });
    assertEquals(await within("the worker to end", worker.run()), 0);
    assertEquals(bodies, [KNOWN, LARGE, LARGE]);
    // Of the copy that is made of the first attempt parts may still be on their way.
    const kept = freeBodies ? 0 : LARGE.length;
    assertEquals(tasks.map(({ body }) => body.length), [KNOWN.length, LARGE.length, kept]);
  });
}

brokerTest("of a large task that is done the broker keeps no starts", async () => {
  await using bench = await QueueBench.open(url);
  await bench.send(LARGE, { messageId: "large" });
  let starts = "";
  const worker = workerOn(bench, {
    handler: async (task) => {
      const count = ({ name }: { readonly name: string }) => {
        starts = name;
        return Promise.resolve(0);
      };
      const nothing = () => Promise.resolve();
      await new Starts({ count, note: nothing, takeBack: nothing, remove: nothing }, log)
        .count(task);
      assertEquals((await inspectQueue(bench.transport, starts)).messageCount, 1);
      return DONE;
    },
    freeBodies: true,
    maxTasks: 1,
    // Every start is written down.
    retries: { maxAttempts: 1, backoffMs: [10], jitter: 0, maxCrashes: 1 },
  });
  assertEquals(await within("the worker to end", worker.run()), 0);
  await assertRejects(() => inspectQueue(bench.transport, starts), ChannelError, "NOT_FOUND");
});

for (const freeBodies of [true, false]) {
  const what = freeBodies
    ? "share memory"
    : "have memory of their own for a handler that may take it";
  brokerTest(`small bodies ${what}`, async () => {
    await using bench = await QueueBench.open(url);
    const sent = ["", "a".repeat(100), "b".repeat(100), "c".repeat(5_000), "d".repeat(100)];
    for (const body of sent) await bench.send(body);
    const bodies: Uint8Array[] = [];
    const worker = workerOn(bench, {
      handler: (task) => {
        bodies.push(task.body);
        return Promise.resolve(DONE);
      },
      freeBodies,
      maxTasks: sent.length,
    });
    assertEquals(await within("the worker to end", worker.run()), 0);
    assertEquals(bodies.map((body) => new TextDecoder().decode(body)), sent);
    const shared = bodies.filter(({ buffer, length }) => buffer.byteLength > length);
    assertEquals(shared.length > 0, freeBodies);
  });
}

brokerTest("a worker that ends waits for no task that is too large for it", async () => {
  const tasks = 10;
  await using bench = await QueueBench.open(url);
  for (let i = 0; i < tasks; i++) await bench.send("x".repeat(30_000), { messageId: `t${i}` });
  const all = Promise.withResolvers<void>();
  let refused = 0;
  const worker = workerOn(bench, {
    queues: [{
      policy: { name: bench.name, type: "quorum", strict: false, create: true },
      prefetch: tasks,
    }],
    room: TaskRoom.of(20_000),
    handler: () => Promise.resolve(DONE),
    log: createLogger({
      name: "test",
      write: (line) => {
        if (line.includes("too large for the memory") && ++refused === tasks) all.resolve();
      },
    }),
    graceMs: 3_600_000,
  });
  const ended = worker.run();
  await within("all to be refused", all.promise);
  worker.drain();
  assertEquals(await within("the worker to end", ended), 0);
  for (let i = 0; i < tasks; i++) {
    assertEquals((await bench.arrival(bench.name)).body.length, 30_000);
  }
});
