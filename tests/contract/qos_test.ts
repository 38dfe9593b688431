import { assert, assertEquals } from "@std/assert";
import type { PeerChannel } from "../support/protocol_peer.ts";
import { contract } from "./contract.ts";

/** Takes deliveries until `count`; gives bodies. */
async function take(channel: PeerChannel, count: number): Promise<string[]> {
  const bodies: string[] = [];
  while (bodies.length < count) bodies.push((await channel.expectContent()).text);
  return bodies;
}

const SEVEN = ["1", "2", "3", "4", "5", "6", "7"];

contract(
  "A prefetch count bounds what a consumer holds; each acknowledgement makes room",
  async (t) => {
    const channel = await t.channel();
    const queue = await t.queue(channel);
    await t.fill(channel, queue, ...SEVEN);
    await channel.call("basic.qos", { prefetchCount: 2 });
    await channel.call("basic.consume", { queue });
    assertEquals(await take(channel, 2), ["1", "2"]);
    await t.silent(channel, queue);
    await channel.send("basic.ack", { deliveryTag: 1 });
    assertEquals(await take(channel, 1), ["3"]);
    await channel.send("basic.reject", { deliveryTag: 2 });
    assertEquals(await take(channel, 1), ["4"]);
    await channel.send("basic.ack", { deliveryTag: 0, multiple: true });
    assertEquals(await take(channel, 2), ["5", "6"]);
    await t.silent(channel, queue);
  },
);

contract(
  "The prefetch count holds for consumers that start after it, each for itself",
  async (t) => {
    const channel = await t.channel();
    const [one, two, free] = [
      await t.queue(channel),
      await t.queue(channel),
      await t.queue(channel),
    ];
    for (const queue of [one, two, free]) await t.fill(channel, queue, ...SEVEN);
    await channel.call("basic.consume", { queue: free });
    assertEquals(await take(channel, 7), SEVEN);
    await channel.call("basic.qos", { prefetchCount: 1 });
    await channel.call("basic.consume", { queue: one });
    assertEquals(await take(channel, 1), ["1"]);
    await channel.call("basic.qos", { prefetchCount: 2 });
    await channel.call("basic.consume", { queue: two });
    assertEquals(await take(channel, 2), ["1", "2"]);
    await t.silent(channel, one);
    await t.silent(channel, two);
  },
);

contract("A global prefetch count is shared by the channel's consumers", async (t) => {
  const channel = await t.channel();
  const [one, two] = [await t.queue(channel), await t.queue(channel)];
  for (const queue of [one, two]) await t.fill(channel, queue, ...SEVEN);
  await channel.call("basic.qos", { prefetchCount: 3, global: true });
  await channel.call("basic.consume", { queue: one });
  assertEquals(await take(channel, 3), ["1", "2", "3"]);
  await channel.call("basic.consume", { queue: two });
  await t.silent(channel, two);
  await channel.send("basic.ack", { deliveryTag: 3, multiple: true });
  await take(channel, 3);
  await t.silent(channel, one);
});

contract("A global and a consumer's own prefetch count hold both", async (t) => {
  const channel = await t.channel();
  const [one, two] = [await t.queue(channel), await t.queue(channel)];
  for (const queue of [one, two]) await t.fill(channel, queue, ...SEVEN);
  await channel.call("basic.qos", { prefetchCount: 2 });
  await channel.call("basic.qos", { prefetchCount: 3, global: true });
  await channel.call("basic.consume", { queue: one });
  assertEquals(await take(channel, 2), ["1", "2"]);
  await t.silent(channel, one);
  await channel.call("basic.consume", { queue: two });
  assertEquals(await take(channel, 1), ["1"]);
  await t.silent(channel, two);
});

contract("Prefetch 0 is unlimited", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  await t.fill(channel, queue, ...SEVEN);
  await channel.call("basic.qos", { prefetchCount: 1 });
  await channel.call("basic.qos", { prefetchCount: 0 });
  await channel.call("basic.consume", { queue });
  assertEquals(await take(channel, 7), SEVEN);
});

contract("What is fetched with basic.get does not count", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  await t.fill(channel, queue, ...SEVEN);
  await channel.call("basic.qos", { prefetchCount: 1 });
  for (let i = 0; i < 2; i++) {
    await channel.send("basic.get", { queue });
    await channel.expectContent("basic.get-ok");
  }
  await channel.call("basic.consume", { queue });
  assertEquals(await take(channel, 1), ["3"]);
  await t.silent(channel, queue);
});

contract("A prefetch size closes the connection with 540", async (t) => {
  const channel = await t.channel();
  await channel.send("basic.qos", { prefetchSize: 1024 });
  await channel.peer.channel(0).expectClose(540, "NOT_IMPLEMENTED - prefetch_size!=0 (1024)");
});

contract("A full consumer does not hold back the others of its queue", async (t) => {
  const peer = await t.peer();
  const [full, free] = [await peer.open(1), await peer.open(2)];
  const queue = await t.queue(full);
  await full.call("basic.qos", { prefetchCount: 1 });
  await full.call("basic.consume", { queue });
  await free.call("basic.consume", { queue });
  await t.fill(full, queue, ...SEVEN);
  const [first] = await take(full, 1);
  assertEquals(await take(free, 6), SEVEN.filter((body) => body !== first));
});

contract("A global prefetch count that is reached holds no-ack consumers back too", async (t) => {
  const channel = await t.channel();
  const [held, free] = [await t.queue(channel), await t.queue(channel)];
  await channel.call("basic.qos", { prefetchCount: 1, global: true });
  await channel.call("basic.consume", { queue: held, consumerTag: "acks" });
  await t.fill(channel, held, "a");
  await channel.expectContent();
  await channel.call("basic.consume", { queue: free, consumerTag: "no acks", noAck: true });
  await t.fill(channel, free, "b", "c");
  await t.silent(channel, free);
  await channel.send("basic.ack", { deliveryTag: 1 });
  for (const text of ["b", "c"]) assertEquals((await channel.expectContent()).text, text);
});

contract("Under a global prefetch count all queues get their turn", async (t) => {
  const channel = await t.channel();
  await channel.call("basic.qos", { prefetchCount: 1, global: true });
  const waiting = new Set<string>();
  for (let i = 0; i < 3; i++) {
    const queue = await t.queue(channel);
    waiting.add(queue);
    await t.fill(channel, queue, ...Array.from({ length: 60 }, (_, n) => `${n}`));
  }
  for (const queue of waiting) await channel.send("basic.consume", { queue, consumerTag: queue });
  for (let deliveries = 0; waiting.size > 0; deliveries++) {
    const frame = await channel.method();
    if (frame.name === "basic.consume-ok") continue;
    assert(deliveries < 100, `never served: ${[...waiting].join()}`);
    const { deliveryTag, consumerTag } = (await channel.readContent(frame.args)).args;
    waiting.delete(consumerTag);
    await channel.send("basic.ack", { deliveryTag });
  }
});

contract("An acknowledgement makes room when its transaction is committed", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  await channel.call("tx.select");
  await channel.call("basic.qos", { prefetchCount: 1 });
  await channel.call("basic.consume", { queue });
  await t.fill(channel, queue, "a");
  await channel.expectContent();
  await channel.send("basic.ack", { deliveryTag: 1 });
  await t.fill(channel, queue, "b");
  const beside = await channel.peer.open(2);
  await beside.call("basic.consume", { queue, consumerTag: "beside", noAck: true });
  assertEquals((await beside.expectContent()).text, "b");
  await t.fill(channel, queue, "c");
  assertEquals((await beside.expectContent()).text, "c");
  await channel.call("tx.commit");
  await beside.call("basic.cancel", { consumerTag: "beside" });
  await t.fill(channel, queue, "d");
  assertEquals((await channel.expectContent()).text, "d");
});

for (const type of ["classic", "quorum"]) {
  contract(
    `To py-amqp a prefetch count holds for the channel, what runs on it included, on a ${type} ` +
      "queue; it asks RabbitMQ for that with global",
    async (t) => {
      const channel = await t.channel({ product: "py-amqp" });
      const one = await t.queue(channel, { "x-queue-type": type });
      const two = await t.queue(channel, { "x-queue-type": type });
      for (const queue of [one, two]) await t.fill(channel, queue, ...SEVEN);
      await channel.call("basic.qos", { prefetchCount: 2 });
      await channel.call("basic.consume", { queue: one });
      assertEquals(await take(channel, 2), ["1", "2"]);
      await channel.call("basic.consume", { queue: two });
      await t.silent(channel, two);
      await channel.send("basic.qos", { prefetchCount: 4 });
      await channel.expect("basic.qos-ok");
      assertEquals((await take(channel, 2)).length, 2);
      await t.silent(channel, two);
      await channel.send("basic.qos", { prefetchCount: 1 });
      await channel.expect("basic.qos-ok");
      await channel.send("basic.ack", { deliveryTag: 3, multiple: true });
      await t.silent(channel, two);
      await channel.send("basic.ack", { deliveryTag: 4 });
      assertEquals((await take(channel, 1)).length, 1);
      await t.silent(channel, two);
    },
    { only: "broker" },
  );
}
