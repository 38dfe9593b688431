import { assertEquals } from "@std/assert";
import { Consumer } from "../../src/amqp/consumer.ts";
import type { Delivery } from "../../src/amqp/consumption.ts";
import { declareQueue } from "../../src/amqp/declare.ts";
import { EXIT, TaskError } from "../../src/errors.ts";
import { createLogger } from "../../src/observe/log.ts";
import { readHistory } from "../../src/task/headers.ts";
import { delayQueue } from "../../src/task/topology.ts";
import { FinishedTasks } from "../../src/worker/finished.ts";
import { Copier } from "../../src/worker/copier.ts";
import { ReturnLimits } from "../../src/worker/return_limits.ts";
import { Settler } from "../../src/worker/settle.ts";
import { TaskRoom } from "../../src/worker/task_room.ts";
import { brokerTest, sharedNode } from "../support/broker.ts";
import { Mailbox, within } from "../support/wait.ts";
import { connectorFor, QueueBench } from "./bench.ts";

const { url } = await sharedNode();
const log = createLogger({ name: "test", write: () => {} });

interface Settling extends AsyncDisposable {
  /** What comes from the queue, one at a time. */
  readonly deliveries: Mailbox<Delivery>;
  readonly settler: Settler;
}

/** Takes the tasks of a queue that is there; the test settles them. */
function startSettling(
  queue: string,
  copier = new Copier({ connector: connectorFor(url), log }),
  room?: TaskRoom,
  returnLimits = new ReturnLimits(connectorFor(url)),
): Settling {
  const deliveries = new Mailbox<Delivery>("delivery");
  const consumer = new Consumer({
    connector: connectorFor(url),
    prefetch: 1,
    room,
    log,
    queue: { name: queue, type: "quorum", strict: false, create: false },
    onDelivery: (delivery) => deliveries.put(delivery),
  });
  const running = consumer.run();
  return {
    deliveries,
    settler: new Settler({
      copier,
      finished: new FinishedTasks(),
      returnLimits,
      queueType: "quorum",
      host: "h",
      log,
      onRefused: () => Promise.resolve(),
    }),
    async [Symbol.asyncDispose]() {
      await consumer.close();
      await running;
      await copier.close();
    },
  };
}

brokerTest("a task that finds its delay queue full is not taken for one that crashes", async () => {
  await using bench = await QueueBench.open(url);
  const full = delayQueue(bench.name, 60_000, "classic");
  await declareQueue(bench.transport, {
    name: full.name,
    arguments: { ...full.arguments, "x-max-length": 1, "x-overflow": "reject-publish" },
  });
  await bench.send("", {}, full.name);
  await bench.send("x", { messageId: "t" });
  await using settling = startSettling(bench.name);
  const { deliveries, settler } = settling;
  const losses: number[] = [];
  for (let round = 0; round < 5; round++) {
    const delivery = await deliveries.next();
    losses.push(readHistory(delivery.task).losses);
    // Aborted: it is tried once, without the pauses.
    const decision = { kind: "park", tierMs: 60_000, attempts: 1 } as const;
    await settler.settle(delivery, decision, AbortSignal.abort());
  }
  assertEquals(losses, [0, 1, 0, 1, 0]);
});

brokerTest("a task that is given back while it waits for its time waits on", async () => {
  await using bench = await QueueBench.open(url);
  const headers = { "task-wait": 4_000, "task-attempt": 2 };
  await bench.send("x", { messageId: "t", headers });
  await using settling = startSettling(bench.name);
  const { deliveries, settler } = settling;
  await settler.settle(await deliveries.next(), { kind: "renew" }, AbortSignal.abort());
  const { attempts, waitMs } = readHistory((await deliveries.next()).task);
  assertEquals([attempts, waitMs], [2, 4_000]);
});

brokerTest("a task whose body was left out is given back itself, never as a copy", async () => {
  await using bench = await QueueBench.open(url);
  await bench.send("x".repeat(100), { messageId: "t" });
  await using settling = startSettling(bench.name, undefined, TaskRoom.of(10));
  const { deliveries, settler } = settling;
  const decisions = [
    { kind: "renew" },
    { kind: "park", tierMs: 60_000, attempts: 1 },
    { kind: "requeue" },
  ] as const;
  for (const decision of decisions) {
    const delivery = await deliveries.next();
    assertEquals(delivery.leftOut, 100);
    await settler.settle(delivery, decision, AbortSignal.abort());
  }
  assertEquals((await deliveries.next()).leftOut, 100);
});

brokerTest("a queue that drops what comes back too often gets a copy before it does", async () => {
  const limits = new ReturnLimits(connectorFor(url));
  for (const [limit, most] of [[3, 2], [undefined, Infinity]] as const) {
    await using bench = await QueueBench.open(url, {
      "x-queue-type": "quorum",
      "x-dead-letter-exchange": "",
      "x-dead-letter-routing-key": "nowhere",
      ...(limit === undefined ? {} : { "x-delivery-limit": limit }),
    });
    await limits.learn(bench.name);
    assertEquals(limits.of(bench.name), most);
    await bench.send("x", { messageId: "t" });
    await using settling = startSettling(bench.name, undefined, undefined, limits);
    const { deliveries, settler } = settling;
    const losses: number[] = [];
    for (let round = 0; round < 5; round++) {
      const delivery = await deliveries.next();
      losses.push(readHistory(delivery.task).losses);
      await settler.settle(delivery, { kind: "requeue" }, AbortSignal.abort());
    }
    assertEquals(losses, limit === undefined ? [0, 1, 2, 3, 4] : [0, 1, 2, 0, 1]);
  }
});

brokerTest("more tasks at a time are asked for without any coming late, or twice", async () => {
  await using bench = await QueueBench.open(url);
  const all = Array.from({ length: 1_200 }, (_, i) => String(i));
  await Promise.all(all.map((body) => bench.send(body, { messageId: body })));
  const came: string[] = [];
  const last = Promise.withResolvers<void>();
  const consumer = new Consumer({
    connector: connectorFor(url),
    prefetch: 100,
    log,
    queue: { name: bench.name, type: "quorum", strict: false, create: false },
    onDelivery: (delivery) => {
      const { id } = delivery.task;
      // With others on their way.
      if (id === "3") consumer.prefetch = 400;
      if (id === "150") consumer.prefetch = 600;
      came.push(id);
      delivery.ack();
      if (id === all.at(-1)) last.resolve();
    },
  });
  const running = consumer.run();
  await within("the last one", last.promise);
  await consumer.close();
  await running;
  assertEquals(came, all);
});

brokerTest("a queue whose arguments may not be asked for, or has gone, has no limit", async () => {
  await using bench = await QueueBench.open(url, { "x-queue-type": "classic" });
  const limits = new ReturnLimits(connectorFor(url));
  await limits.learn(bench.name);
  await limits.learn("nobody-has-it");
  assertEquals([limits.of(bench.name), limits.of("nobody-has-it")], [Infinity, Infinity]);
  assertEquals(await bench.ready(), 0);
});

/** Stands for a broker that does not take a task, whatever is tried. */
class RefusingCopier extends Copier {
  override publish(): Promise<void> {
    return Promise.reject(new TaskError("it is refused", EXIT.badData));
  }
}

brokerTest("a task that nothing takes is kept for a while before it goes back", async () => {
  await using bench = await QueueBench.open(url);
  await bench.send("x", { messageId: "t" });
  const copier = new RefusingCopier({ connector: connectorFor(url), log });
  await using settling = startSettling(bench.name, copier);
  const { deliveries, settler } = settling;
  const giveUp = new AbortController();
  let settled = false;
  const decision = { kind: "park", tierMs: 60_000, attempts: 1 } as const;
  const settlement = settler.settle(await deliveries.next(), decision, giveUp.signal)!
    .then(() => settled = true);
  // Going back at once it would have come again by now.
  for (let look = 0; look < 5; look++) assertEquals(await bench.ready(), 0);
  assertEquals(settled, false);
  giveUp.abort();
  await settlement;
  assertEquals((await deliveries.next()).task.id, "t");
});
