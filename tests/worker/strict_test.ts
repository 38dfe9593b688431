/** Queues that are served in strict order. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { parseUrls } from "../../src/amqp/url.ts";
import { createLogger } from "../../src/observe/log.ts";
import { DONE } from "../../src/task/handler.ts";
import { Worker } from "../../src/worker/worker.ts";
import { brokerTest, sharedNode } from "../support/broker.ts";
import { Proxy } from "../support/proxy.ts";
import { Random } from "../support/random.ts";
import { Mailbox, waitUntil, within } from "../support/wait.ts";
import { QueueBench } from "./bench.ts";

const node = await sharedNode();

/** A strict worker whose tasks end when the test says so. */
class Strict implements AsyncDisposable {
  readonly started = new Mailbox<string>("start of a task");
  readonly #ends = new Map<string, () => void>();
  readonly #worker: Worker;
  readonly #run: Promise<number>;

  constructor(places: number, queues: readonly string[], url = node.url) {
    this.#worker = new Worker({
      endpoints: parseUrls(url),
      identity: { name: "test", version: "0" },
      queues: queues.map((name) => ({
        policy: { name, type: "quorum", strict: false, create: true },
        prefetch: 1,
      })),
      strictPlaces: places,
      handler: async (task) => {
        const name = new TextDecoder().decode(task.body);
        const ended = Promise.withResolvers<void>();
        this.#ends.set(name, ended.resolve);
        this.started.put(name);
        await ended.promise;
        return DONE;
      },
      log: createLogger({ name: "test", write: () => {} }),
      hostname: "test",
      graceMs: 0,
    });
    this.#run = this.#worker.run();
  }

  end(name: string): void {
    this.#ends.get(name)!();
  }

  /** Lets the task that runs end, and gives the next one. */
  async next(name: string): Promise<string> {
    this.end(name);
    return await this.started.next();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const end of this.#ends.values()) end();
    await this.#worker.drain();
    assertEquals(await within("the worker to end", this.#run), 0);
  }
}

brokerTest("with one place a task comes from the first queue that has one", async () => {
  await using high = await QueueBench.open(node.url);
  await using low = await QueueBench.open(node.url);
  for (const body of ["l1", "l2", "l3"]) await low.send(body);
  for (const body of ["h1", "h2"]) await high.send(body);
  await using worker = new Strict(1, [high.name, low.name]);
  assertEquals(await worker.started.next(), "h1");
  assertEquals(await worker.next("h1"), "h2");
  assertEquals(await worker.next("h2"), "l1");
  await high.send("h3");
  await high.send("h4");
  // Nothing waits here that another worker could do.
  await waitUntil("all but one to be ready", async () => {
    return await high.ready() === 2 && await low.ready() === 2;
  });
  assertEquals(await worker.next("l1"), "h3");
  assertEquals(await worker.next("h3"), "h4");
  assertEquals(await worker.next("h4"), "l2");
  assertEquals(await worker.next("l2"), "l3");
  worker.end("l3");
  // Now it waits for whatever comes.
  for (const [bench, body] of [[low, "l4"], [high, "h5"], [low, "l5"], [low, "l6"]] as const) {
    await bench.send(body);
    assertEquals(await worker.started.next(), body);
    worker.end(body);
  }
});

brokerTest("with several places, all are used, and by the first queue first", async () => {
  await using high = await QueueBench.open(node.url);
  await using low = await QueueBench.open(node.url);
  await using worker = new Strict(3, [high.name, low.name]);
  // One after the other, into an idle worker.
  for (const body of ["h1", "h2"]) {
    await high.send(body);
    assertEquals(await worker.started.next(), body);
  }
  await low.send("l1");
  assertEquals(await worker.started.next(), "l1");
  await low.send("l2");
  await high.send("h3");
  assertEquals(await worker.next("h1"), "h3");
  assertEquals(await worker.next("l1"), "l2");
});

brokerTest("every task is done once over a connection that is cut again and again", async () => {
  await using high = await QueueBench.open(node.url);
  await using low = await QueueBench.open(node.url);
  await using proxy = await Proxy.start(node.port);
  const random = new Random(5);
  const wanted = new Set<string>();
  const done = new Set<string>();
  await using worker = new Strict(2, [high.name, low.name], proxy.url);
  for (let i = 0; i < 60; i++) {
    wanted.add(`${i}`);
    await random.pick([high, low]).send(`${i}`, { messageId: `${i}` });
    if (i % 20 === 19) await proxy.cut();
    const name = await worker.started.next();
    done.add(name);
    worker.end(name);
  }
  while (done.size < wanted.size) {
    const name = await worker.started.next();
    done.add(name);
    worker.end(name);
  }
  assertEquals(done, wanted);
  await waitUntil("empty queues", async () => await high.ready() + await low.ready() === 0);
});

brokerTest("--strict takes queues without parts, more than there are places", async () => {
  await using high = await QueueBench.open(node.url);
  await using low = await QueueBench.open(node.url);
  for (const body of ["one", "two"]) await low.send(body);
  const queues = ["--strict", "--queue", `${high.name},${low.name}`];
  await using worker = high.worker(...queues, "--exit-when-empty");
  assertEquals((await worker.ended()).code, 0);
  await low.holds(0);
  await using parts = high.worker("--strict", "--queue", `${high.name}=2,${low.name}`);
  const { code, stderr } = await parts.ended();
  assertEquals(code, 64);
  assertStringIncludes(stderr, "with --strict the queues have no parts of the concurrency");
});

brokerTest(
  "a queue that gives no single tasks ends a strict worker, and none is lost",
  async () => {
    const declaration = { "x-queue-type": "quorum", "x-single-active-consumer": true };
    await using single = await QueueBench.open(node.url, declaration);
    await single.send("one");
    await using worker = single.worker("--strict", "--", "true");
    const { code, stderr } = await worker.ended();
    assertEquals(code, 73, stderr);
    assertStringIncludes(stderr, "strict order needs queues that give single tasks (basic.get)");
    await waitUntil("the task to be ready", async () => await single.ready() === 1);
  },
);
