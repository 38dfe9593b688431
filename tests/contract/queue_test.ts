import { assert, assertEquals, assertMatch } from "@std/assert";
import { waitUntil } from "../support/wait.ts";
import { contract } from "./contract.ts";

contract("A queue can be declared, declared again alike, found, and deleted", async (t) => {
  const channel = await t.channel();
  const queue = t.name();
  const args = { queue, durable: true, arguments: { "x-expires": 60_000 } };
  assertEquals(await channel.call("queue.declare", args), {
    queue,
    messageCount: 0,
    consumerCount: 0,
  });
  await t.fill(channel, queue, "a", "b");
  assertEquals(await channel.call("queue.declare", args), {
    queue,
    messageCount: 2,
    consumerCount: 0,
  });
  assertEquals(await channel.call("queue.declare", { queue, passive: true }), {
    queue,
    messageCount: 2,
    consumerCount: 0,
  });
  assertEquals(await channel.call("queue.delete", { queue }), { messageCount: 2 });
  await channel.send("queue.declare", { queue, passive: true });
  await channel.expectClose(404, `NOT_FOUND - no queue '${queue}' in vhost '/'`);
});

contract("Deleting a queue that is not there is answered", async (t) => {
  const channel = await t.channel();
  assertEquals(await channel.call("queue.delete", { queue: t.name() }), { messageCount: 0 });
});

contract("A server-named queue begins with amq.gen- and is different each time", async (t) => {
  const channel = await t.channel();
  const one = await channel.call("queue.declare", { exclusive: true });
  const two = await channel.call("queue.declare", { exclusive: true });
  assertMatch(one.queue, /^amq\.gen-.{16,}/);
  assert(one.queue !== two.queue);
});

contract("The empty name means the queue declared last on the channel", async (t) => {
  const peer = await t.peer();
  const channel = await peer.open(1);
  const { queue } = await channel.call("queue.declare", { exclusive: true });
  await channel.call("queue.bind", { exchange: "amq.direct", routingKey: queue });
  await channel.publish({ exchange: "amq.direct", routingKey: queue }, "a");
  assertEquals((await t.drain(channel, "")).length, 1);
  await channel.call("basic.consume", { consumerTag: "c" });
  await channel.call("basic.cancel", { consumerTag: "c" });
  await channel.call("queue.unbind", { exchange: "amq.direct", routingKey: queue });
  await channel.call("queue.purge");
  await channel.call("queue.delete");
  const fresh = await peer.open(2);
  await fresh.send("queue.purge");
  await fresh.expectClose(404, "NOT_FOUND - no previously declared queue");
});

contract(
  "An empty name and an empty key bind the queue declared last by its own name",
  async (t) => {
    const channel = await t.channel();
    const { queue } = await channel.call("queue.declare", { exclusive: true });
    await channel.call("queue.bind", { exchange: "amq.direct" });
    await channel.publish({ exchange: "amq.direct", routingKey: queue }, "a");
    assertEquals(await t.drain(channel, queue), ["a"]);
  },
);

contract("A queue named amq.* can be deleted but not declared", async (t) => {
  const channel = await t.channel();
  await channel.call("queue.delete", { queue: "amq.mine" });
  await channel.send("queue.declare", { queue: "amq.mine" });
  await channel.expectClose(
    403,
    "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'",
  );
});

contract("An exclusive queue is locked for other connections and goes with its own", async (t) => {
  const owner = await t.channel();
  const queue = await t.queue(owner, {}, { exclusive: true });
  const text =
    `RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '${queue}' in vhost '/'. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration.`;
  const other = await t.peer();
  for (
    const [method, args] of [
      ["queue.declare", { queue, durable: true, exclusive: true }],
      ["queue.declare", { queue, passive: true }],
      ["queue.bind", { queue, exchange: "amq.fanout" }],
      ["queue.purge", { queue }],
      ["queue.delete", { queue }],
      ["basic.consume", { queue }],
      ["basic.get", { queue }],
    ] as const
  ) {
    const channel = await other.open(1);
    await channel.send(method, args);
    await channel.expectClose(405, text);
  }
  await owner.peer.close();
  const channel = await other.open(1);
  await channel.send("queue.declare", { queue, passive: true });
  await channel.expectClose(404, /no queue/);
});

contract("An exclusive queue goes when its connection is cut", async (t) => {
  const owner = await t.channel();
  const queue = await t.queue(owner, {}, { exclusive: true });
  owner.peer.cut();
  const other = await t.peer();
  for (let gone = false; !gone;) {
    const channel = await other.open(1);
    await channel.send("queue.declare", { queue, passive: true });
    const { replyCode } = await channel.expect("channel.close");
    await channel.send("channel.close-ok");
    gone = replyCode === 404; // until then 405
  }
});

contract("Declaring one's exclusive queue again as not exclusive is 405", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel, {}, { exclusive: true });
  await channel.send("queue.declare", { queue, durable: true });
  await channel.expectClose(
    405,
    /^RESOURCE_LOCKED - cannot obtain exclusive access to locked queue/,
  );
});

contract("An auto-delete queue goes with its last consumer, not before its first", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel, {}, { autoDelete: true });
  await t.fill(channel, queue, "a");
  await channel.send("basic.get", { queue, noAck: true });
  await channel.expectContent("basic.get-ok");
  for (const consumerTag of ["one", "two"]) {
    await channel.call("basic.consume", { queue, consumerTag });
  }
  await channel.call("basic.cancel", { consumerTag: "one" });
  assertEquals(await t.counts(channel, queue), { ready: 0, consumers: 1 });
  await channel.call("basic.cancel", { consumerTag: "two" });
  await channel.send("queue.declare", { queue, passive: true });
  await channel.expectClose(404, /no queue/);
});

contract("Declaring a queue again as exclusive is 405", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  await channel.send("queue.declare", { queue, durable: true, exclusive: true });
  await channel.expectClose(
    405,
    /^RESOURCE_LOCKED - cannot obtain exclusive access to locked queue/,
  );
});

contract("Purging gives the number of ready messages and leaves the unacknowledged", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  await t.fill(channel, queue, "a", "b", "c");
  await channel.send("basic.get", { queue });
  const { args } = await channel.expectContent("basic.get-ok");
  assertEquals(await channel.call("queue.purge", { queue }), { messageCount: 2 });
  await channel.send("basic.nack", { deliveryTag: args.deliveryTag, requeue: true });
  assertEquals(await t.drain(channel, queue), ["a"]);
});

for (const method of ["queue.purge", "basic.get", "basic.consume"]) {
  contract(`${method} on a queue that is not there is 404`, async (t) => {
    const channel = await t.channel();
    const queue = t.name();
    await channel.send(method, { queue });
    await channel.expectClose(404, `NOT_FOUND - no queue '${queue}' in vhost '/'`);
  });
}

contract("if-empty keeps a queue with messages, if-unused one with consumers", async (t) => {
  const peer = await t.peer();
  const channel = await peer.open(1);
  const queue = await t.queue(channel);
  await t.fill(channel, queue, "a");
  await channel.send("queue.delete", { queue, ifEmpty: true });
  await channel.expectClose(406, `PRECONDITION_FAILED - queue '${queue}' in vhost '/' not empty`);
  await peer.open(1);
  await channel.call("queue.purge", { queue });
  await channel.call("basic.consume", { queue, consumerTag: "c" });
  await channel.send("queue.delete", { queue, ifUnused: true });
  await channel.expectClose(406, `PRECONDITION_FAILED - queue '${queue}' in vhost '/' in use`);
  await peer.open(1);
  await channel.call("queue.delete", { queue, ifUnused: true, ifEmpty: true });
});

contract(
  "x-expires deletes a queue without consumers and what it holds, not one with consumers",
  async (t) => {
    const channel = await t.channel();
    const used = await t.queue(channel, { "x-expires": 1_000 });
    await channel.call("basic.consume", { queue: used });
    // Goes with its last binding: tells that the queue is gone without renewing the queue's lease.
    const sign = await t.exchange(channel, "fanout", {}, { autoDelete: true });
    const unused = await t.queue(channel, { "x-expires": 1_000 });
    await channel.call("queue.bind", { queue: unused, exchange: sign });
    await t.fill(channel, unused, "a");
    const peer = await t.peer();
    await waitUntil("the queue to expire", async () => {
      const probe = await peer.open(2);
      await probe.send("exchange.declare", { exchange: sign, passive: true });
      const { name } = await probe.method();
      if (name === "channel.close") await probe.send("channel.close-ok");
      else await probe.call("channel.close");
      return name === "channel.close";
    });
    assertEquals((await t.counts(channel, used)).consumers, 1);
    await channel.send("queue.declare", { queue: unused, passive: true });
    await channel.expectClose(404, `NOT_FOUND - no queue '${unused}' in vhost '/'`);
  },
);

contract("if-empty is looked at before if-unused", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  await t.fill(channel, queue, "a", "b");
  await channel.call("basic.qos", { prefetchCount: 1 });
  await channel.call("basic.consume", { queue });
  await channel.expectContent();
  await channel.send("queue.delete", { queue, ifUnused: true, ifEmpty: true });
  await channel.expectClose(406, `PRECONDITION_FAILED - queue '${queue}' in vhost '/' not empty`);
});
