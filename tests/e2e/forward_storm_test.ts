/**
 * `worker forward` through a storm: the link is cut, swallows everything, is slow, refuses, and both
 * brokers are killed, while tasks are put on the broker here. `deno task siege:forward` is the long
 * form (FORWARD_TASKS, FORWARD_SECONDS, FORWARD_SEED).
 */
import { assert, assertEquals } from "@std/assert";
import { brokerTest, startNode } from "../support/broker.ts";
import { startBroker } from "../support/embedded.ts";
import { Proxy } from "../support/proxy.ts";
import { Random } from "../support/random.ts";
import { uniqueName } from "../support/temp.ts";
import { waitUntil } from "../support/wait.ts";
import { look, onChannel, takeAll } from "./queue_view.ts";
import { start, stop } from "./tools.ts";

const TASKS = Number(Deno.env.get("FORWARD_TASKS") ?? 600);
const SECONDS = Number(Deno.env.get("FORWARD_SECONDS") ?? 6);
const SEED = Number(Deno.env.get("FORWARD_SEED") ?? 1);
/** A RabbitMQ that is killed takes half a minute of the short form to come back. */
const LIMIT = Deno.env.get("FORWARD_TASKS") === undefined
  ? { only: "embedded", because: "the short form has no time for RabbitMQ's start" } as const
  : undefined;
/** The end of a storm takes as long as a slow broker needs. */
const PATIENCE_MS = 180_000;
const BATCH = 50;

/** Puts tasks on a queue in their order, over as many connections as it takes. */
class Producer {
  /** How often tasks were sent again, because a connection ended before they were confirmed. */
  readonly again = new Map<number, number>();
  #confirmed = 0;

  constructor(readonly url: string, readonly queue: string, readonly pauseMs: number) {}

  async run(): Promise<void> {
    while (this.#confirmed < TASKS) {
      try {
        await onChannel(this.url, async (channel) => {
          await channel.confirmSelect();
          while (this.#confirmed < TASKS) await this.#batch(channel);
        });
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 200)); // killed; not there again yet
      }
    }
  }

  async #batch(channel: Parameters<Parameters<typeof onChannel>[1]>[0]): Promise<void> {
    const first = this.#confirmed;
    const count = Math.min(BATCH, TASKS - first);
    const numbers = Array.from({ length: count }, (_, i) => first + i);
    try {
      await Promise.all(numbers.map(async (number) => {
        await channel.basicPublish("", this.queue, String(number), {
          deliveryMode: 2,
          messageId: String(number),
        });
      }));
      this.#confirmed += count;
    } catch (error) {
      // The whole batch comes again.
      for (const number of numbers) this.again.set(number, (this.again.get(number) ?? 0) + 1);
      throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, this.pauseMs));
  }
}

/** What the header of a copy says of its way. */
interface Way {
  readonly at: string;
  readonly sent: number;
  readonly redelivered: boolean;
}

/**
 * Why each copy beyond the first is there. What was put once leaves the forwarder once without a
 * sign; whatever else it sends says that it was sent before, or delivered before.
 *
 * @param again how often it was put again
 * @returns undefined: nothing explains one of them
 */
function explain(ways: readonly Way[], again: number): string[] | undefined {
  const [, ...others] = ways.map(({ sent, redelivered }) => {
    if (sent > 1) return "sent again: the link ended before the confirm";
    return redelivered ? "delivered again: the broker here ended before the ack was on disk" : "";
  }).sort();
  const more = others.map((why) => why || "put again: the producer's connection ended");
  return more.filter((why) => why.startsWith("put")).length <= again ? more : undefined;
}

brokerTest("tasks pass a storm: all there, in order, and each copy is explained", async () => {
  await using here = await startBroker();
  await using there = await startNode();
  await using proxy = await Proxy.start(there.port);
  const random = new Random(SEED);
  const queue = uniqueName("storm");
  const to = new URL(there.url);
  to.port = String(proxy.port);
  to.searchParams.set("heartbeat", "2");
  await onChannel(
    here.url,
    (channel) => channel.queueDeclare(queue, { durable: true }, { "x-queue-type": "quorum" }),
  );
  await using worker = start("worker", ["forward", "--queue", queue], {
    url: here.url,
    env: { TO_AMQP_URL: to.href },
  });
  await worker.waitForLine(/Forwarding/);
  const producer = new Producer(here.url, queue, SECONDS * 1_000 * BATCH / TASKS);
  const produced = producer.run();

  const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
  const blows: Record<string, () => Promise<void>> = {
    cut: () => proxy.cut(),
    swallow: async () => {
      proxy.blackHole();
      await pause(500 + random.below(4_000));
      // TCP loses the end of what was sent, and nothing in the midst of it.
      await proxy.cut();
    },
    // 64 kbit/s
    slow: async () => {
      proxy.throttle(8_000, "toServer");
      await pause(500 + random.below(SECONDS * 50));
    },
    refuse: async () => {
      proxy.refuse();
      await proxy.cut();
      await pause(random.below(2_000));
    },
    "kill there": async () => {
      await there.kill();
      await pause(random.below(500));
      await there.start();
    },
    "kill here": async () => {
      await here.kill();
      await pause(random.below(500));
      await here.start();
    },
  };
  const names = Object.keys(blows);
  const history: string[] = [];
  const endsAt = performance.now() + SECONDS * 1_000;
  for (let i = 0; i < names.length || performance.now() < endsAt; i++) {
    // Each at least once.
    const name = i < names.length ? names[i]! : random.pick(names);
    const begun = new Date().toISOString();
    await blows[name]!();
    proxy.heal();
    history.push(`${begun} to ${new Date().toISOString()}: ${name}`);
    await pause(random.below(SECONDS * 40));
  }
  await produced;
  await waitUntil("all to be forwarded", async () => {
    return (await look(here.url, queue)).ready === 0 &&
      (await look(there.url, queue)).ready >= TASKS;
  }, PATIENCE_MS);
  const output = await stop(worker);
  assertEquals((await takeAll(here.url, queue)).length, 0, output.stderr);

  const copies = new Map<number, Way[]>();
  let newest = -1;
  for (const { properties, ...message } of await takeAll(there.url, queue)) {
    const number = Number(properties.messageId);
    assertEquals(new TextDecoder().decode(message.body!), String(number));
    const forwarded = properties.headers!["task-forwarded"] as never;
    const known = copies.get(number);
    if (known === undefined) {
      assertEquals(number, ++newest, "the first copies are in order");
      copies.set(number, [forwarded]);
    } else known.push(forwarded);
  }
  assertEquals(copies.size, TASKS, output.stderr);
  const reasons = new Map<string, number>();
  for (const [number, ways] of copies) {
    const explained = explain(ways, producer.again.get(number) ?? 0);
    assert(
      explained !== undefined,
      `seed ${SEED}: nothing explains that ${number} came as ${JSON.stringify(ways, null, 1)}\n` +
        `${history.join("\n")}\n${output.stderr}`,
    );
    for (const why of explained) reasons.set(why, (reasons.get(why) ?? 0) + 1);
  }
  const told = [...reasons].map(([why, count]) => `\n  ${count} ${why}`).join("");
  await Deno.stderr.write(new TextEncoder().encode(
    `${TASKS} tasks, seed ${SEED}, copies beyond the first:${told || " none"}\n`,
  ));
}, LIMIT);
