import { assert, assertEquals, assertMatch } from "@std/assert";
import { contract } from "./contract.ts";

contract("A consumer gets what is there and what comes, with tag, exchange and key", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  await channel.call("queue.bind", { queue, exchange: "amq.direct", routingKey: queue });
  await t.fill(channel, queue, "old");
  assertEquals(await channel.call("basic.consume", { queue, consumerTag: "mine" }), {
    consumerTag: "mine",
  });
  const old = await channel.expectContent();
  assertEquals(old.args, {
    consumerTag: "mine",
    deliveryTag: 1,
    redelivered: false,
    exchange: "",
    routingKey: queue,
  });
  await t.publish(channel, { exchange: "amq.direct", routingKey: queue }, { body: "new" });
  const fresh = await channel.expectContent();
  assertEquals(fresh.args, {
    consumerTag: "mine",
    deliveryTag: 2,
    redelivered: false,
    exchange: "amq.direct",
    routingKey: queue,
  });
  assertEquals([old.text, fresh.text], ["old", "new"]);
});

contract("A consumer without a tag gets one of the server's", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  const one = await channel.call("basic.consume", { queue });
  const two = await channel.call("basic.consume", { queue });
  assertMatch(one.consumerTag, /^amq\.ctag-.{16,}/);
  assert(one.consumerTag !== two.consumerTag);
});

contract(
  "A tag that is taken on the channel closes the connection with 530; on another channel it is free",
  async (t) => {
    const peer = await t.peer();
    const [channel, other] = [await peer.open(1), await peer.open(2)];
    const queue = await t.queue(channel);
    await channel.call("basic.consume", { queue, consumerTag: "c" });
    await other.call("basic.consume", { queue, consumerTag: "c" });
    await channel.send("basic.consume", { queue, consumerTag: "c" });
    await peer.channel(0).expectClose(530, "NOT_ALLOWED - attempt to reuse consumer tag 'c'");
  },
);

contract("basic.cancel stops the deliveries; cancelling an unknown tag is answered", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  await channel.call("basic.consume", { queue, consumerTag: "c" });
  assertEquals(await channel.call("basic.cancel", { consumerTag: "c" }), { consumerTag: "c" });
  assertEquals(await channel.call("basic.cancel", { consumerTag: "never" }), {
    consumerTag: "never",
  });
  await t.fill(channel, queue, "a");
  await t.silent(channel, queue);
  assertEquals(await t.counts(channel, queue), { ready: 1, consumers: 0 });
});

contract("What a cancelled consumer holds can still be acknowledged", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  await t.fill(channel, queue, "a", "b");
  await channel.call("basic.qos", { prefetchCount: 1 });
  await channel.call("basic.consume", { queue, consumerTag: "c" });
  await channel.expectContent();
  await channel.call("basic.cancel", { consumerTag: "c" });
  await channel.send("basic.ack", { deliveryTag: 1 });
  assertEquals(await t.drain(channel, queue), ["b"]);
});

contract("no-ack consumers get everything at once and owe nothing", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  const bodies = Array.from({ length: 50 }, (_, i) => `${i}`);
  await t.fill(channel, queue, ...bodies);
  await channel.call("basic.qos", { prefetchCount: 1 });
  await channel.call("basic.consume", { queue, noAck: true });
  for (const body of bodies) assertEquals((await channel.expectContent()).text, body);
  await channel.call("channel.close");
  const again = await t.channel();
  assertEquals((await t.counts(again, queue)).ready, 0);
});

contract("consume with no-wait is not answered", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  await t.fill(channel, queue, "a");
  await channel.send("basic.consume", { queue, consumerTag: "c", noWait: true });
  assertEquals((await channel.expectContent()).args.consumerTag, "c");
  await channel.send("basic.cancel", { consumerTag: "c", noWait: true });
  await t.silent(channel, queue);
});

contract(
  "An exclusive consumer is alone: 403 for a second one, and for it where others are",
  async (t) => {
    const peer = await t.peer();
    const channel = await peer.open(1);
    const queue = await t.queue(channel);
    const text = `ACCESS_REFUSED - queue '${queue}' in vhost '/' in exclusive use`;
    await channel.call("basic.consume", { queue, exclusive: true, consumerTag: "c" });
    const other = await peer.open(2);
    await other.send("basic.consume", { queue });
    await other.expectClose(403, text);
    await channel.call("basic.cancel", { consumerTag: "c" });
    await peer.open(2);
    await other.call("basic.consume", { queue });
    await channel.send("basic.consume", { queue, exclusive: true });
    await channel.expectClose(403, text);
  },
);

contract("Consumers take turns", async (t) => {
  const peer = await t.peer();
  const channel = await peer.open(1);
  const queue = await t.queue(channel);
  for (const consumerTag of ["a", "b", "c"]) {
    await channel.call("basic.consume", { queue, consumerTag, noAck: true });
  }
  await t.fill(channel, queue, ...Array.from({ length: 9 }, (_, i) => `${i}`));
  const count: Record<string, number> = {};
  for (let i = 0; i < 9; i++) {
    const { args } = await channel.expectContent();
    count[args.consumerTag] = (count[args.consumerTag] ?? 0) + 1;
  }
  assertEquals(count, { a: 3, b: 3, c: 3 });
});

contract(
  "A consumer of higher priority gets messages first, the others when it is full",
  async (t) => {
    const peer = await t.peer();
    const [low, high] = [await peer.open(1), await peer.open(2)];
    const queue = await t.queue(low);
    await low.call("basic.consume", { queue, consumerTag: "low" });
    await high.call("basic.qos", { prefetchCount: 2 });
    await high.call("basic.consume", {
      queue,
      consumerTag: "high",
      arguments: { "x-priority": 5 },
    });
    await t.fill(low, queue, "1", "2", "3");
    assertEquals([(await high.expectContent()).text, (await high.expectContent()).text], [
      "1",
      "2",
    ]);
    assertEquals((await low.expectContent()).text, "3");
    await high.send("basic.ack", { deliveryTag: 2, multiple: true });
    await t.fill(low, queue, "4");
    assertEquals((await high.expectContent()).text, "4");
  },
);

contract("Deleting a queue cancels its consumers", async (t) => {
  const peer = await t.peer();
  const [consumer, other] = [await peer.open(1), await peer.open(2)];
  const queue = await t.queue(consumer);
  await consumer.call("basic.consume", { queue, consumerTag: "c" });
  await other.call("queue.delete", { queue });
  assertEquals(await consumer.expect("basic.cancel"), { consumerTag: "c", noWait: true });
  await consumer.call("basic.qos", { prefetchCount: 1 });
});

contract("A client without consumer_cancel_notify is not told", async (t) => {
  const peer = await t.peer({ capabilities: {} });
  const [consumer, other] = [await peer.open(1), await peer.open(2)];
  const queue = await t.queue(consumer);
  await consumer.call("basic.consume", { queue, consumerTag: "c" });
  await other.call("queue.delete", { queue });
  await consumer.call("basic.qos", { prefetchCount: 1 });
  await consumer.call("basic.qos", { prefetchCount: 1 });
});

contract("What a deleted queue had delivered can be acknowledged into nothing", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  await t.fill(channel, queue, "a", "b");
  await channel.call("basic.consume", { queue, consumerTag: "c" });
  await channel.expectContent();
  await channel.expectContent();
  await channel.send("queue.delete", { queue });
  const names = [(await channel.method()).name, (await channel.method()).name].sort();
  assertEquals(names, ["basic.cancel", "queue.delete-ok"]);
  await channel.send("basic.ack", { deliveryTag: 1 });
  await channel.send("basic.nack", { deliveryTag: 2, requeue: true });
  await channel.call("basic.qos", { prefetchCount: 1 });
});

contract("Closing a channel, or cutting the connection, requeues what it held", async (t) => {
  const watcher = await t.channel();
  const queue = await t.queue(watcher);
  await t.fill(watcher, queue, "a", "b", "c");
  const first = await t.channel();
  await first.call("basic.consume", { queue });
  for (let i = 0; i < 3; i++) assertEquals((await first.expectContent()).args.redelivered, false);
  await first.send("basic.ack", { deliveryTag: 2 });
  await first.call("channel.close");
  const second = await t.channel();
  await second.call("basic.consume", { queue });
  for (const text of ["a", "c"]) {
    const message = await second.expectContent();
    assertEquals([message.text, message.args.redelivered], [text, true]);
  }
  second.peer.cut();
  const third = await t.channel();
  await third.call("basic.consume", { queue });
  for (const text of ["a", "c"]) {
    const message = await third.expectContent();
    assertEquals([message.text, message.args.redelivered], [text, true]);
  }
});

contract("basic.get gives one message, how many remain, and get-empty at the end", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  await t.fill(channel, queue, "a", "b");
  for (const [i, text] of ["a", "b"].entries()) {
    await channel.send("basic.get", { queue });
    const message = await channel.expectContent("basic.get-ok");
    assertEquals(message.text, text);
    assertEquals(message.args, {
      deliveryTag: i + 1,
      redelivered: false,
      exchange: "",
      routingKey: queue,
      messageCount: 1 - i,
    });
  }
  await channel.send("basic.get", { queue });
  await channel.expect("basic.get-empty");
  await channel.send("basic.nack", { deliveryTag: 2, multiple: true, requeue: true });
  await channel.send("basic.get", { queue });
  const again = await channel.expectContent("basic.get-ok");
  assertEquals([again.text, again.args.redelivered], ["a", true]);
});

contract("A consumer count and a message count that others see follow the consumers", async (t) => {
  const peer = await t.peer();
  const [channel, other] = [await peer.open(1), await peer.open(2)];
  const queue = await t.queue(channel);
  await other.call("basic.consume", { queue, consumerTag: "c" });
  assertEquals(await t.counts(channel, queue), { ready: 0, consumers: 1 });
  await t.fill(channel, queue, "a");
  await other.expectContent();
  assertEquals(await t.counts(channel, queue), { ready: 0, consumers: 1 });
  await other.call("channel.close");
  assertEquals(await t.counts(channel, queue), { ready: 1, consumers: 0 });
});

contract("x-priority must be an integer", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  await channel.send("basic.consume", { queue, arguments: { "x-priority": "high" } });
  await channel.expectClose(
    406,
    `PRECONDITION_FAILED - invalid arg 'x-priority' for queue '${queue}' in vhost '/': ` +
      `"expected integer, got longstr"`,
  );
});

for (
  const [argument, type] of [
    ["x-stream-offset", "classic"],
    ["x-stream-offset", "quorum"],
    ["x-cancel-on-ha-failover", "quorum"],
  ] as const
) {
  contract(`${argument} is not for consumers of a ${type} queue`, async (t) => {
    const channel = await t.channel();
    const queue = await t.queue(channel, { "x-queue-type": type });
    await channel.send("basic.consume", { queue, arguments: { [argument]: true } });
    await channel.expectClose(
      406,
      `PRECONDITION_FAILED - invalid arg '${argument}' for queue '${queue}' in vhost '/' ` +
        `of queue type rabbit_${type}_queue`,
    );
  });
}
