import { assertEquals } from "@std/assert";
import type { PeerChannel } from "../support/protocol_peer.ts";
import { contract } from "./contract.ts";

async function take(channel: PeerChannel, count: number): Promise<[string, boolean][]> {
  const seen: [string, boolean][] = [];
  while (seen.length < count) {
    const { text, args } = await channel.expectContent();
    seen.push([text, args.redelivered]);
  }
  return seen;
}

contract("An acknowledged message is gone, an unacknowledged one comes back", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  await t.fill(channel, queue, "a", "b", "c", "d");
  await channel.call("basic.consume", { queue });
  await take(channel, 4);
  await channel.send("basic.ack", { deliveryTag: 2, multiple: true });
  await channel.send("basic.ack", { deliveryTag: 4 });
  await channel.call("channel.close");
  assertEquals(await t.drain(await t.channel(), queue), ["c"]);
});

contract("A rejected message that is not requeued is gone", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  await t.fill(channel, queue, "a", "b", "c", "d");
  await channel.call("basic.consume", { queue });
  await take(channel, 4);
  await channel.send("basic.reject", { deliveryTag: 1, requeue: false });
  await channel.send("basic.nack", { deliveryTag: 3, multiple: true, requeue: false });
  await channel.call("channel.close");
  assertEquals(await t.drain(await t.channel(), queue), ["d"]);
});

for (
  const [method, args] of [
    ["basic.reject", { deliveryTag: 1, requeue: true }],
    ["basic.nack", { deliveryTag: 1, requeue: true }],
  ] as const
) {
  contract(`${method} with requeue gives the message again, marked as redelivered`, async (t) => {
    const channel = await t.channel();
    const queue = await t.queue(channel);
    await t.fill(channel, queue, "a");
    await channel.call("basic.consume", { queue });
    assertEquals(await take(channel, 1), [["a", false]]);
    await channel.send(method, args);
    const again = await channel.expectContent();
    assertEquals([again.text, again.args.redelivered, again.args.deliveryTag], ["a", true, 2]);
  });
}

contract("Requeued messages return to their place", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  await t.fill(channel, queue, "a", "b", "c", "d", "e");
  for (let i = 0; i < 4; i++) {
    await channel.send("basic.get", { queue });
    await channel.expectContent("basic.get-ok");
  }
  await channel.send("basic.reject", { deliveryTag: 3, requeue: true });
  await channel.send("basic.nack", { deliveryTag: 1, requeue: true });
  assertEquals(await t.drain(channel, queue), ["a", "c", "e"]);
  await channel.send("basic.nack", { deliveryTag: 0, multiple: true, requeue: true });
  assertEquals(await t.drain(channel, queue), ["b", "d"]);
});

for (
  const [method, args] of [
    ["basic.ack", { deliveryTag: 1 }],
    ["basic.ack", { deliveryTag: 7 }],
    ["basic.ack", { deliveryTag: 7, multiple: true }],
    ["basic.nack", { deliveryTag: 7, requeue: true }],
    ["basic.reject", { deliveryTag: 7 }],
  ] as const
) {
  contract(
    `${method} of ${JSON.stringify(args)} that is unknown, or was settled, is 406`,
    async (t) => {
      const channel = await t.channel();
      const queue = await t.queue(channel);
      await t.fill(channel, queue, "a", "b");
      await channel.call("basic.consume", { queue });
      await take(channel, 2);
      await channel.send("basic.ack", { deliveryTag: 1 });
      await channel.send(method, args);
      await channel.expectClose(
        406,
        `PRECONDITION_FAILED - unknown delivery tag ${args.deliveryTag}`,
      );
      assertEquals(await t.drain(await t.channel(), queue), ["b"]);
    },
  );
}

contract("Settling all (tag 0, multiple) with nothing to settle is fine", async (t) => {
  const channel = await t.channel();
  await channel.send("basic.ack", { deliveryTag: 0, multiple: true });
  await channel.send("basic.nack", { deliveryTag: 0, multiple: true });
  await channel.call("basic.qos", { prefetchCount: 1 });
});

contract("A delivery belongs to its channel: another one cannot settle it", async (t) => {
  const peer = await t.peer();
  const [channel, other] = [await peer.open(1), await peer.open(2)];
  const queue = await t.queue(channel);
  await t.fill(channel, queue, "a");
  await channel.call("basic.consume", { queue });
  await take(channel, 1);
  await other.send("basic.ack", { deliveryTag: 1 });
  await other.expectClose(406, "PRECONDITION_FAILED - unknown delivery tag 1");
  await channel.send("basic.ack", { deliveryTag: 1 });
  await channel.call("basic.qos", { prefetchCount: 1 });
});

contract("no-ack deliveries cannot be acknowledged", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  await t.fill(channel, queue, "a");
  await channel.call("basic.consume", { queue, noAck: true });
  await take(channel, 1);
  await channel.send("basic.ack", { deliveryTag: 1 });
  await channel.expectClose(406, "PRECONDITION_FAILED - unknown delivery tag 1");
});

contract("basic.recover gives everything unacknowledged again", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  await t.fill(channel, queue, "a", "b", "c");
  await channel.call("basic.consume", { queue });
  await take(channel, 3);
  await channel.send("basic.ack", { deliveryTag: 2 });
  await channel.call("basic.recover", { requeue: true });
  assertEquals(await take(channel, 2), [["a", true], ["c", true]]);
});

contract("basic.recover-async does the same without an answer", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  await t.fill(channel, queue, "a");
  await channel.call("basic.consume", { queue });
  await take(channel, 1);
  await channel.send("basic.recover-async", { requeue: true });
  assertEquals(await take(channel, 1), [["a", true]]);
});

contract("basic.recover without requeue closes the connection with 540", async (t) => {
  const channel = await t.channel();
  await channel.send("basic.recover", { requeue: false });
  await channel.peer.channel(0).expectClose(540, "NOT_IMPLEMENTED - requeue=false");
});

contract("A requeued message may go to another consumer", async (t) => {
  const peer = await t.peer();
  const [one, two] = [await peer.open(1), await peer.open(2)];
  const queue = await t.queue(one);
  await t.fill(one, queue, "a");
  await one.call("basic.consume", { queue, consumerTag: "c" });
  await take(one, 1);
  await one.call("basic.cancel", { consumerTag: "c" });
  await two.call("basic.consume", { queue });
  await one.send("basic.nack", { deliveryTag: 1, requeue: true });
  assertEquals(await take(two, 1), [["a", true]]);
});
