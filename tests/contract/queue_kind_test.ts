import { assertEquals } from "@std/assert";
import type { PeerChannel } from "../support/protocol_peer.ts";
import { contract } from "./contract.ts";

async function texts(channel: PeerChannel, count: number): Promise<string[]> {
  const seen: string[] = [];
  while (seen.length < count) seen.push((await channel.expectContent()).text);
  return seen;
}

contract(
  "x-max-priority: higher priorities first, within one in order, above the maximum like the maximum",
  async (t) => {
    const channel = await t.channel();
    const queue = await t.queue(channel, { "x-max-priority": 5 });
    const sent: [string, number | undefined][] = [
      ["none", undefined],
      ["0", 0],
      ["3a", 3],
      ["5", 5],
      ["9", 9],
      ["3b", 3],
      ["1", 1],
    ];
    await t.publish(
      channel,
      { routingKey: queue },
      ...sent.map(([body, priority]) => ({
        body,
        properties: priority === undefined ? {} : { priority },
      })),
    );
    assertEquals(await t.drain(channel, queue), ["5", "9", "3a", "3b", "1", "none", "0"]);
  },
);

contract("Without x-max-priority the priority means nothing", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  await t.publish(channel, { routingKey: queue }, { body: "a", properties: { priority: 1 } }, {
    body: "b",
    properties: { priority: 9 },
  });
  assertEquals(await t.drain(channel, queue), ["a", "b"]);
});

contract("A requeued message of a priority queue returns to its priority's head", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel, { "x-max-priority": 5 });
  await t.publish(channel, { routingKey: queue }, { body: "low" }, {
    body: "high 1",
    properties: { priority: 5 },
  }, { body: "high 2", properties: { priority: 5 } });
  await channel.send("basic.get", { queue });
  assertEquals((await channel.expectContent("basic.get-ok")).text, "high 1");
  await channel.send("basic.reject", { deliveryTag: 1, requeue: true });
  assertEquals(await t.drain(channel, queue), ["high 1", "high 2", "low"]);
});

for (const type of ["classic", "quorum"]) {
  contract(
    `x-single-active-consumer on a ${type} queue: one consumer at a time, the next one follows`,
    async (t) => {
      const peer = await t.peer();
      const [one, two, three] = [await peer.open(1), await peer.open(2), await peer.open(3)];
      const queue = await t.queue(one, { "x-queue-type": type, "x-single-active-consumer": true });
      await one.call("basic.consume", { queue, consumerTag: "one" });
      await two.call("basic.consume", { queue, consumerTag: "two" });
      await three.call("basic.consume", { queue, consumerTag: "three" });
      await t.fill(one, queue, "a", "b");
      assertEquals(await texts(one, 2), ["a", "b"]);
      await one.send("basic.ack", { deliveryTag: 1 });
      await one.call("channel.close");
      assertEquals(await texts(two, 1), ["b"]);
      await two.call("basic.cancel", { consumerTag: "two" });
      await t.fill(two, queue, "c");
      assertEquals(await texts(three, 1), ["c"]);
    },
  );
}

contract("basic.get is not for quorum queues with a single active consumer", async (t) => {
  const channel = await t.channel();
  const single = { "x-single-active-consumer": true };
  const classic = await t.queue(channel, single);
  await t.fill(channel, classic, "a");
  await channel.send("basic.get", { queue: classic });
  assertEquals((await channel.expectContent("basic.get-ok")).text, "a");
  const queue = await t.queue(channel, { ...single, "x-queue-type": "quorum" });
  await channel.send("basic.get", { queue });
  await channel.expectClose(
    405,
    `RESOURCE_LOCKED - cannot obtain access to locked queue '${queue}' in vhost '/'. ` +
      `basic.get operations are not supported by quorum queues with single active consumer`,
  );
});

contract("A single active consumer cannot be exclusive", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel, { "x-single-active-consumer": true });
  await channel.send("basic.consume", { queue, exclusive: true });
  await channel.expectClose(403, `ACCESS_REFUSED - queue '${queue}' in vhost '/' in exclusive use`);
});

contract("A quorum queue counts deliveries in x-delivery-count, absent at first", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel, { "x-queue-type": "quorum" });
  await t.fill(channel, queue, "a");
  await channel.call("basic.consume", { queue });
  const counts = [];
  for (let i = 0; i < 3; i++) {
    const { args, properties } = await channel.expectContent();
    counts.push(properties.headers?.["x-delivery-count"]);
    await channel.send("basic.reject", { deliveryTag: args.deliveryTag, requeue: true });
  }
  assertEquals(counts, [undefined, 1, 2]);
});

contract("basic.get on a quorum queue shows x-delivery-count 0 at first", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel, { "x-queue-type": "quorum" });
  await t.fill(channel, queue, "a");
  for (let i = 0; i < 2; i++) {
    await channel.send("basic.get", { queue });
    const { args, properties } = await channel.expectContent("basic.get-ok");
    assertEquals([properties.headers?.["x-delivery-count"], args.redelivered], [i, i > 0]);
    await channel.send("basic.reject", { deliveryTag: args.deliveryTag, requeue: true });
  }
});

contract("A lost connection counts as a delivery too", async (t) => {
  const first = await t.channel();
  const queue = await t.queue(first, { "x-queue-type": "quorum" });
  await t.fill(first, queue, "a");
  await first.call("basic.consume", { queue });
  await first.expectContent();
  first.peer.cut();
  const second = await t.channel();
  await second.call("basic.consume", { queue });
  const { properties, args } = await second.expectContent();
  assertEquals([properties.headers?.["x-delivery-count"], args.redelivered], [1, true]);
});

contract(
  "x-delivery-limit N allows N+1 deliveries, then dead-letters with reason delivery_limit",
  async (t) => {
    const channel = await t.channel();
    const dead = await t.queue(channel);
    const queue = await t.queue(channel, {
      "x-queue-type": "quorum",
      "x-delivery-limit": 2,
      "x-dead-letter-exchange": "",
      "x-dead-letter-routing-key": dead,
    });
    await t.fill(channel, queue, "a");
    await channel.call("basic.consume", { queue, consumerTag: "main" });
    for (let i = 0; i < 3; i++) {
      const { args } = await channel.expectContent();
      assertEquals(args.consumerTag, "main");
      await channel.send("basic.nack", { deliveryTag: args.deliveryTag, requeue: true });
    }
    await channel.call("basic.consume", { queue: dead, consumerTag: "dead", noAck: true });
    const { args, properties } = await channel.expectContent();
    assertEquals(args.consumerTag, "dead");
    assertEquals(properties.headers!["x-first-death-reason"], "delivery_limit");
  },
);

contract("x-delivery-limit without a dead-letter exchange drops the message", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel, { "x-queue-type": "quorum", "x-delivery-limit": 1 });
  await t.fill(channel, queue, "a", "b");
  await channel.call("basic.qos", { prefetchCount: 1 });
  await channel.call("basic.consume", { queue });
  for (let i = 0; i < 2; i++) {
    const { args } = await channel.expectContent();
    await channel.send("basic.reject", { deliveryTag: args.deliveryTag, requeue: true });
  }
  const seen = new Set<string>();
  for (let i = 0; i < 2; i++) {
    const { args, text } = await channel.expectContent();
    seen.add(text);
    await channel.send("basic.reject", {
      deliveryTag: args.deliveryTag,
      requeue: text === "b" && i === 0,
    });
  }
  assertEquals(seen.has("b"), true);
});

contract("A quorum queue refuses global prefetch with 540", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel, { "x-queue-type": "quorum" });
  await channel.call("basic.qos", { prefetchCount: 1, global: true });
  await channel.send("basic.consume", { queue });
  await channel.peer.channel(0).expectClose(
    540,
    /^NOT_IMPLEMENTED - queue .* does not support global qos/,
  );
});
