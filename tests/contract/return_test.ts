/** What a consumer held when it ended: it is back in its place before anybody else is served. */
import { assertEquals } from "@std/assert";
import type { PeerChannel } from "../support/protocol_peer.ts";
import { waitUntil } from "../support/wait.ts";
import { type Case, contract } from "./contract.ts";

const SIX = ["0", "1", "2", "3", "4", "5"];

/** Takes deliveries until `count`; gives their bodies. */
async function take(channel: PeerChannel, count: number): Promise<string[]> {
  const bodies: string[] = [];
  while (bodies.length < count) bodies.push((await channel.expectContent()).text);
  return bodies;
}

/** A consumer with a prefetch count on a connection of its own. */
async function consumer(t: Case, queue: string, prefetchCount: number): Promise<PeerChannel> {
  const channel = await t.channel();
  await channel.call("basic.qos", { prefetchCount });
  await channel.call("basic.consume", { queue, consumerTag: "c" });
  return channel;
}

/** How a consumer that holds deliveries ends. */
const ENDS: [name: string, end: (channel: PeerChannel) => unknown][] = [
  ["its socket is cut", (channel) => channel.peer.cut()],
  ["its connection is closed", (channel) => channel.peer.close()],
  ["its channel is closed", (channel) => channel.call("channel.close")],
  ["its channel is closed for a fault", async (channel) => {
    await channel.send("basic.ack", { deliveryTag: 99 });
    await channel.expectClose(406, /unknown delivery tag 99/);
  }],
];

for (const type of ["classic", "quorum"]) {
  for (const [how, end] of ENDS) {
    contract(
      `The next single active consumer of a ${type} queue goes on in order when ${how}`,
      async (t) => {
        const channel = await t.channel();
        const queue = await t.queue(channel, {
          "x-queue-type": type,
          "x-single-active-consumer": true,
        });
        const active = await consumer(t, queue, 3);
        const standby = await consumer(t, queue, 0);
        await t.fill(channel, queue, ...SIX);
        assertEquals(await take(active, 3), ["0", "1", "2"]);
        await end(active);
        assertEquals(await take(standby, 6), SIX);
      },
    );
  }

  contract(
    `A single active consumer of a ${type} queue that is canceled keeps what it holds` +
      (type === "classic" ? "; RabbitMQ's next one waits for another event" : ""),
    async (t) => {
      const channel = await t.channel();
      const queue = await t.queue(channel, {
        "x-queue-type": type,
        "x-single-active-consumer": true,
      });
      const active = await consumer(t, queue, 2);
      const standby = await consumer(t, queue, 2);
      await t.fill(channel, queue, ...SIX);
      assertEquals(await take(active, 2), ["0", "1"]);
      await active.call("basic.cancel", { consumerTag: "c" });
      assertEquals(await take(standby, 2), ["2", "3"]);
      await active.call("channel.close");
      await t.silent(standby, queue);
      await standby.send("basic.ack", { deliveryTag: 2, multiple: true });
      assertEquals(await take(standby, 2), ["0", "1"]);
    },
    type === "classic" ? { only: "broker" } : {},
  );

  contract(
    `Another consumer of a ${type} queue gets what comes back before what waits, in order`,
    async (t) => {
      const channel = await t.channel();
      const queue = await t.queue(channel, { "x-queue-type": type });
      const one = await consumer(t, queue, 3);
      await t.fill(channel, queue, ...SIX);
      assertEquals(await take(one, 3), ["0", "1", "2"]);
      const other = await consumer(t, queue, 1);
      assertEquals(await take(other, 1), ["3"]);
      one.peer.cut();
      const order: string[] = [];
      for (let tag = 1; order.length < 5; tag++) {
        // Not before the others are back: RabbitMQ learns of the end on its own time.
        if (tag === 1) await ready(t, channel, queue, 5);
        await other.send("basic.ack", { deliveryTag: tag });
        order.push(...await take(other, 1));
      }
      assertEquals(order, ["0", "1", "2", "4", "5"]);
    },
  );
}

contract("An exclusive consumer's deliveries come back before the next one's", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  const holder = await t.channel();
  await holder.call("basic.qos", { prefetchCount: 3 });
  await holder.call("basic.consume", { queue, exclusive: true });
  await t.fill(channel, queue, ...SIX);
  assertEquals(await take(holder, 3), ["0", "1", "2"]);
  await holder.call("channel.close");
  const next = await t.channel();
  await next.call("basic.consume", { queue, exclusive: true });
  assertEquals(await take(next, 6), SIX);
});

contract("Priorities hold for what comes back from a consumer that ended", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel, { "x-max-priority": 2, "x-single-active-consumer": true });
  const active = await consumer(t, queue, 3);
  const standby = await consumer(t, queue, 0);
  const send = (body: string, priority: number) => ({ body, properties: { priority } });
  await t.publish(channel, { routingKey: queue }, send("low 1", 0), send("high 1", 2));
  assertEquals((await take(active, 2)).toSorted(), ["high 1", "low 1"]);
  await t.publish(channel, { routingKey: queue }, send("low 2", 0));
  assertEquals(await take(active, 1), ["low 2"]);
  await t.publish(channel, { routingKey: queue }, send("high 2", 2), send("low 3", 0));
  active.peer.cut();
  assertEquals(await take(standby, 5), ["high 1", "high 2", "low 1", "low 2", "low 3"]);
});

for (const [type, order] of [["classic", "the highest priority"], ["quorum", "its turn"]]) {
  contract(`The waiting consumer with ${order} is active next on a ${type} queue`, async (t) => {
    const channel = await t.channel();
    const queue = await t.queue(channel, {
      "x-queue-type": type,
      "x-single-active-consumer": true,
    });
    const waiting: PeerChannel[] = [];
    for (const priority of [0, 0, 5, 5]) {
      const one = await t.channel();
      await one.call("basic.consume", { queue, arguments: { "x-priority": priority } });
      waiting.push(one);
    }
    await t.fill(channel, queue, "0");
    assertEquals(await take(waiting[0]!, 1), ["0"]);
    await waiting[0]!.call("channel.close");
    assertEquals(await take(waiting[type === "classic" ? 2 : 1]!, 1), ["0"]);
  });
}

contract(
  "Two channels of one connection that ends give a queue back in order; RabbitMQ's end one by one",
  async (t) => {
    const channel = await t.channel();
    const queue = await t.queue(channel, {
      "x-single-active-consumer": true,
    });
    const peer = await t.peer();
    const [one, two] = [await peer.open(1), await peer.open(2)];
    for (const holder of [one, two]) {
      await holder.call("basic.qos", { prefetchCount: 2 });
      await holder.call("basic.consume", { queue, consumerTag: "c" });
    }
    const standby = await consumer(t, queue, 0);
    await t.fill(channel, queue, ...SIX);
    assertEquals(await take(one, 2), ["0", "1"]);
    await one.call("basic.cancel", { consumerTag: "c" });
    assertEquals(await take(two, 2), ["2", "3"]);
    peer.cut();
    assertEquals(await take(standby, 6), SIX);
  },
  { only: "broker" },
);

/** Waits until so many messages of a queue are ready. */
async function ready(t: Case, channel: PeerChannel, queue: string, count: number): Promise<void> {
  await waitUntil(
    `${count} ready messages`,
    async () => (await t.counts(channel, queue)).ready === count,
  );
}
