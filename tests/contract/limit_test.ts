import { assertEquals } from "@std/assert";
import { concat, content, method } from "../broker/strangers.ts";
import { waitUntil } from "../support/wait.ts";
import { contract } from "./contract.ts";

contract("x-max-length drops from the head", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel, { "x-max-length": 2 });
  await t.fill(channel, queue, "a", "b", "c", "d");
  assertEquals(await t.drain(channel, queue), ["c", "d"]);
});

contract("x-max-length-bytes counts the bodies of the ready messages", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel, { "x-max-length-bytes": 10 });
  await t.publish(channel, { routingKey: queue }, {
    body: "12345",
    properties: { headers: { long: "x".repeat(100) } },
  }, { body: "67890" });
  assertEquals((await t.counts(channel, queue)).ready, 2);
  await t.fill(channel, queue, "b");
  assertEquals(await t.drain(channel, queue), ["67890", "b"]);
  await t.fill(channel, queue, "longer than the limit");
  assertEquals(await t.drain(channel, queue), []);
});

contract("Unacknowledged messages do not count; requeued ones push out the head", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel, { "x-max-length": 2 });
  await t.fill(channel, queue, "a", "b");
  await channel.send("basic.get", { queue });
  await channel.expectContent("basic.get-ok");
  await t.fill(channel, queue, "c");
  assertEquals((await t.counts(channel, queue)).ready, 2);
  await channel.send("basic.reject", { deliveryTag: 1, requeue: true });
  assertEquals(await t.drain(channel, queue), ["b", "c"]);
});

contract("x-max-length 0 keeps nothing but what a consumer takes", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel, { "x-max-length": 0 });
  await t.fill(channel, queue, "a");
  assertEquals(await t.drain(channel, queue), []);
  await channel.call("basic.consume", { queue, noAck: true });
  await t.fill(channel, queue, "b");
  assertEquals((await channel.expectContent()).text, "b");
});

contract("drop-head dead-letters what it drops, with reason maxlen", async (t) => {
  const channel = await t.channel();
  const dead = await t.queue(channel);
  const queue = await t.queue(channel, {
    "x-max-length": 1,
    "x-overflow": "drop-head",
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": dead,
  });
  await channel.call("basic.consume", { queue: dead, noAck: true });
  await t.fill(channel, queue, "a", "b");
  const { text, properties } = await channel.expectContent();
  assertEquals(text, "a");
  assertEquals(properties.headers!["x-first-death-reason"], "maxlen");
  assertEquals(await t.drain(channel, queue), ["b"]);
});

for (const type of ["classic", "quorum"]) {
  contract(`A ${type} queue with reject-publish drops nothing that comes back to it`, async (t) => {
    const channel = await t.channel();
    const queue = await t.queue(channel, {
      "x-queue-type": type,
      "x-max-length": 2,
      "x-overflow": "reject-publish",
    });
    await t.fill(channel, queue, "a", "b");
    for (let i = 0; i < 2; i++) {
      await channel.send("basic.get", { queue });
      await channel.expectContent("basic.get-ok");
    }
    await t.fill(channel, queue, "c", "d");
    await channel.send("basic.nack", { deliveryTag: 0, multiple: true, requeue: true });
    const texts = await t.drain(channel, queue);
    assertEquals(texts.toSorted(), ["a", "b", "c", "d"]);
  });
}

for (const overflow of ["reject-publish", "reject-publish-dlx"]) {
  contract(`${overflow} keeps what is there and refuses what comes`, async (t) => {
    const channel = await t.channel();
    const dead = await t.queue(channel);
    const queue = await t.queue(channel, {
      "x-max-length": 1,
      "x-overflow": overflow,
      "x-dead-letter-exchange": "",
      "x-dead-letter-routing-key": dead,
    });
    await t.fill(channel, queue, "a");
    await channel.call("confirm.select");
    await channel.publish({ routingKey: queue }, "b");
    assertEquals((await channel.expect("basic.nack")).deliveryTag, 1);
    assertEquals(await t.drain(channel, queue), ["a"]);
    if (overflow === "reject-publish") return assertEquals(await t.drain(channel, dead), []);
    await channel.call("basic.consume", { queue: dead, noAck: true });
    assertEquals((await channel.expectContent()).text, "b");
  });
}

contract("Without confirms a refused message is dropped silently", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel, { "x-max-length": 1, "x-overflow": "reject-publish" });
  for (const body of ["a", "b"]) await channel.publish({ routingKey: queue }, body);
  await t.silent(channel, queue);
  assertEquals(await t.drain(channel, queue), ["a"]);
});

contract("A quorum queue drops from the head too", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel, { "x-queue-type": "quorum", "x-max-length": 2 });
  await t.fill(channel, queue, "a", "b", "c", "d");
  await waitUntil("two to be dropped", async () => (await t.counts(channel, queue)).ready === 2);
  assertEquals(await t.drain(channel, queue), ["c", "d"]);
});

for (const type of ["classic", "quorum"]) {
  const order = type === "classic" ? "before" : "after";
  contract(
    `What comes back to a full ${type} queue pushes out its head ${order} a consumer is served`,
    async (t) => {
      const channel = await t.channel();
      const dead = await t.queue(channel);
      const queue = await t.queue(channel, {
        "x-queue-type": type,
        "x-max-length": 1,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": dead,
      });
      const holder = await t.channel();
      await holder.call("basic.consume", { queue, consumerTag: "c" });
      await t.fill(channel, queue, "a");
      await holder.expectContent();
      await t.fill(channel, queue, "b");
      await holder.expectContent();
      await holder.call("basic.cancel", { consumerTag: "c" });
      const consumer = await t.channel();
      await consumer.call("basic.qos", { prefetchCount: 1 });
      await consumer.call("basic.consume", { queue });
      await holder.send("basic.nack", { deliveryTag: 0, multiple: true, requeue: true });
      const served = (await consumer.expectContent()).text;
      assertEquals(served, type === "classic" ? "b" : "a");
    },
  );
}

contract("What has expired takes no place in a full queue", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel, { "x-max-length": 1, "x-overflow": "reject-publish" });
  const args = { routingKey: queue };
  const brief = { expiration: "0" };
  const publish = [method(1, "basic.publish", args), ...content(1, "x", brief)];
  await channel.call("confirm.select");
  const taken = async (last: number) => {
    while ((await channel.expect("basic.ack")).deliveryTag < last);
  };
  await channel.peer.sendBytes(concat([...publish, ...publish, ...publish]));
  await taken(3);
  await channel.call("basic.consume", { queue, consumerTag: "c" });
  await t.publish(channel, args, { properties: brief });
  await channel.expectContent();
  await channel.call("basic.cancel", { consumerTag: "c" });
  const nack = method(1, "basic.nack", { deliveryTag: 1, requeue: true });
  await channel.peer.sendBytes(concat([nack, ...publish]));
  await taken(4);
});
