import { assertEquals } from "@std/assert";
import { contract } from "./contract.ts";

contract("What a transaction publishes is there after commit, not before", async (t) => {
  const peer = await t.peer();
  const [channel, watcher] = [await peer.open(1), await peer.open(2)];
  const queue = await t.queue(channel);
  await channel.call("tx.select");
  await channel.publish({ routingKey: queue }, "a");
  await channel.publish({ routingKey: queue }, "b");
  assertEquals((await t.counts(channel, queue)).ready, 0);
  await channel.call("tx.commit");
  assertEquals(await t.drain(watcher, queue), ["a", "b"]);
});

contract(
  "What a transaction publishes is dropped by rollback, and by closing the channel",
  async (t) => {
    const peer = await t.peer();
    const [channel, watcher] = [await peer.open(1), await peer.open(2)];
    const queue = await t.queue(channel);
    await channel.call("tx.select");
    await channel.publish({ routingKey: queue }, "a");
    await channel.call("tx.rollback");
    await channel.publish({ routingKey: queue }, "b");
    await channel.call("tx.commit");
    await channel.publish({ routingKey: queue }, "c");
    await channel.call("channel.close");
    assertEquals(await t.drain(watcher, queue), ["b"]);
  },
);

contract(
  "Acknowledgements belong to the transaction: kept by commit, undone by rollback",
  async (t) => {
    const peer = await t.peer();
    const channel = await peer.open(1);
    const queue = await t.queue(channel);
    await t.fill(channel, queue, "a", "b", "c");
    await channel.call("tx.select");
    await channel.call("basic.consume", { queue });
    for (let i = 0; i < 3; i++) await channel.expectContent();
    await channel.send("basic.ack", { deliveryTag: 1 });
    await channel.call("tx.commit");
    await channel.send("basic.ack", { deliveryTag: 3 });
    await channel.call("tx.rollback");
    await channel.send("basic.ack", { deliveryTag: 2 });
    await channel.call("tx.commit");
    await channel.send("basic.reject", { deliveryTag: 3 });
    await channel.call("channel.close");
    assertEquals(await t.drain(await peer.open(2), queue), ["c"]);
  },
);

contract("nack with requeue within a transaction comes back after commit", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  await t.fill(channel, queue, "a");
  await channel.call("tx.select");
  await channel.call("basic.consume", { queue });
  await channel.expectContent();
  await channel.send("basic.nack", { deliveryTag: 1, requeue: true });
  await t.silent(channel, queue);
  await channel.send("tx.commit");
  const answers = []; // the delivery may come first
  for (let i = 0; i < 2; i++) {
    const { name, args } = await channel.method();
    answers.push(name);
    if (name === "basic.deliver") {
      assertEquals((await channel.readContent(args)).args.redelivered, true);
    }
  }
  assertEquals(answers.sort(), ["basic.deliver", "tx.commit-ok"]);
});

contract(
  "A mandatory message in a transaction is returned at commit, before commit-ok",
  async (t) => {
    const channel = await t.channel();
    const queue = await t.queue(channel);
    await channel.call("tx.select");
    await channel.publish({ routingKey: t.name(), mandatory: true }, "a");
    await t.silent(channel, queue);
    await channel.send("tx.commit");
    assertEquals((await channel.expectContent("basic.return")).args.replyCode, 312);
    await channel.expect("tx.commit-ok");
  },
);

contract(
  "Publishing to a missing exchange in a transaction closes the channel with 404",
  async (t) => {
    const channel = await t.channel();
    const queue = await t.queue(channel);
    await channel.call("tx.select");
    await channel.publish({ routingKey: queue }, "a");
    await channel.publish({ exchange: t.name("x") }, "b");
    await channel.send("tx.commit");
    await channel.expectClose(404, /no exchange/);
    assertEquals(await t.drain(await channel.peer.open(2), queue), []);
  },
);

for (const method of ["tx.commit", "tx.rollback"]) {
  contract(`${method} without tx.select is 406`, async (t) => {
    const channel = await t.channel();
    await channel.send(method);
    await channel.expectClose(406, "PRECONDITION_FAILED - channel is not transactional");
  });
}

contract("An empty commit, an empty rollback and a second tx.select are answered", async (t) => {
  const channel = await t.channel();
  await channel.call("tx.select");
  await channel.call("tx.select");
  await channel.call("tx.commit");
  await channel.call("tx.rollback");
});

contract(
  "A commit of which a full queue refuses a part closes the channel; the rest of it holds",
  async (t) => {
    const channel = await t.channel();
    const queue = await t.queue(channel, { "x-max-length": 1, "x-overflow": "reject-publish" });
    await channel.call("tx.select");
    await channel.publish({ routingKey: queue }, "a");
    await channel.publish({ routingKey: queue }, "b");
    await channel.send("tx.commit");
    await channel.expectClose(406, "PRECONDITION_FAILED - partial tx completion");
    assertEquals(await t.drain(await channel.peer.open(2), queue), ["a"]);
  },
);

contract("What a commit makes room for is delivered after commit-ok", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  await t.fill(channel, queue, "a", "b");
  await channel.call("tx.select");
  await channel.call("basic.qos", { prefetchCount: 1 });
  await channel.call("basic.consume", { queue });
  await channel.expectContent();
  await channel.send("basic.ack", { deliveryTag: 1 });
  await channel.call("tx.commit");
  assertEquals((await channel.expectContent()).text, "b");
});

contract(
  "More deliveries than are settled in one go: taken back together, settled together",
  async (t) => {
    const peer = await t.peer();
    const [channel, watcher] = [await peer.open(1), await peer.open(2)];
    const queue = await t.queue(channel);
    const bodies = Array.from({ length: 1_000 }, (_, n) => `${n}`);
    await t.fill(channel, queue, ...bodies);
    await channel.call("tx.select");
    await channel.call("basic.consume", { queue });
    for (let n = 0; n < 1_000; n++) await channel.expectContent();
    await channel.send("basic.ack", { deliveryTag: 0, multiple: true });
    await channel.call("tx.rollback");
    await channel.send("basic.ack", { deliveryTag: 900, multiple: true });
    await channel.call("tx.rollback");
    await channel.send("basic.ack", { deliveryTag: 800, multiple: true });
    await channel.send("basic.nack", { deliveryTag: 0, multiple: true, requeue: true });
    await channel.send("basic.cancel", { consumerTag: "x", noWait: true });
    await channel.call("tx.rollback");
    await channel.send("basic.ack", { deliveryTag: 700, multiple: true });
    await channel.call("tx.commit");
    await channel.call("channel.close");
    assertEquals(await t.drain(watcher, queue), bodies.slice(700));
  },
);

contract("What a transaction publishes goes where it led when it was published", async (t) => {
  const peer = await t.peer();
  const [channel, other] = [await peer.open(1), await peer.open(2)];
  const exchange = await t.exchange(channel, "fanout");
  const [before, later, anew] = [
    await t.queue(channel),
    await t.queue(channel),
    await t.queue(channel),
  ];
  await channel.call("queue.bind", { queue: before, exchange });
  await channel.call("tx.select");
  await channel.publish({ exchange }, "a");
  await channel.publish({ routingKey: anew }, "b");
  await other.call("queue.bind", { queue: later, exchange });
  await other.call("queue.delete", { queue: anew });
  await other.call("queue.declare", { queue: anew });
  await channel.call("tx.commit");
  assertEquals(await t.drain(other, before), ["a"]);
  assertEquals(await t.drain(other, later), []);
  assertEquals(await t.drain(other, anew), ["b"]);
});
