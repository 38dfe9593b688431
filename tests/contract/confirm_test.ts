import { assertEquals } from "@std/assert";
import type { PeerChannel } from "../support/protocol_peer.ts";
import { encodeFrame, encodeHeader, encodeMethod, FRAME } from "../support/methods.ts";
import { concat } from "../broker/strangers.ts";
import { contract } from "./contract.ts";

/** Reads confirms until all of `count` publishes have one; gives their outcomes by tag. */
async function confirms(channel: PeerChannel, count: number): Promise<string[]> {
  const outcome = new Map<number, string>();
  let floor = 0;
  while (outcome.size < count) {
    const { name, args } = await channel.method();
    const from = args.multiple ? floor + 1 : args.deliveryTag;
    for (let tag = from; tag <= args.deliveryTag; tag++) {
      if (!outcome.has(tag)) outcome.set(tag, name.replace("basic.", ""));
    }
    if (args.multiple) floor = args.deliveryTag;
  }
  return Array.from({ length: count }, (_, i) => outcome.get(i + 1)!);
}

contract("Every publish is confirmed exactly once, counted from 1", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  await channel.call("confirm.select");
  for (let i = 0; i < 200; i++) {
    await channel.publish({ routingKey: queue }, `${i}`, { deliveryMode: 2 });
  }
  assertEquals(await confirms(channel, 200), Array(200).fill("ack"));
  await channel.publish({ routingKey: queue }, "last", { deliveryMode: 2 });
  assertEquals((await channel.expect("basic.ack")).deliveryTag, 201);
  assertEquals((await t.counts(channel, queue)).ready, 201);
});

contract("confirm.select twice is answered and does not restart the count", async (t) => {
  const channel = await t.channel();
  await channel.call("confirm.select");
  await channel.publish({ routingKey: "nowhere" });
  assertEquals((await channel.expect("basic.ack")).deliveryTag, 1);
  await channel.call("confirm.select");
  await channel.publish({ routingKey: "nowhere" });
  assertEquals((await channel.expect("basic.ack")).deliveryTag, 2);
});

contract("confirm.select with no-wait is not answered", async (t) => {
  const channel = await t.channel();
  await channel.send("confirm.select", { noWait: true });
  await channel.publish({ routingKey: "nowhere" });
  assertEquals((await channel.expect("basic.ack")).deliveryTag, 1);
});

contract("Publishes before confirm.select are not confirmed", async (t) => {
  const channel = await t.channel();
  await channel.publish({ routingKey: "nowhere" });
  await channel.call("confirm.select");
  await channel.publish({ routingKey: "nowhere" });
  assertEquals((await channel.expect("basic.ack")).deliveryTag, 1);
});

contract("The count belongs to the channel and begins again on a new one", async (t) => {
  const peer = await t.peer();
  for (let round = 0; round < 2; round++) {
    const channel = await peer.open(1);
    await channel.call("confirm.select");
    await channel.publish({ routingKey: "nowhere" });
    assertEquals((await channel.expect("basic.ack")).deliveryTag, 1);
    await channel.call("channel.close");
  }
});

for (const type of ["classic", "quorum"]) {
  contract(
    `A full ${type} queue with reject-publish nacks, and takes messages again when there is room`,
    async (t) => {
      const channel = await t.channel();
      const queue = await t.queue(channel, {
        "x-queue-type": type,
        "x-max-length": 2,
        "x-overflow": "reject-publish",
      });
      await channel.call("confirm.select");
      const outcomes: string[] = [];
      for (let i = 0; i < 6; i++) {
        await channel.publish({ routingKey: queue }, `${i}`, { deliveryMode: 2 });
        outcomes.push((await channel.method()).name);
      }
      assertEquals(outcomes.at(-1), "basic.nack");
      const held = await t.drain(channel, queue);
      assertEquals(held.length, outcomes.filter((name) => name === "basic.ack").length);
      if (type === "classic") assertEquals(held, ["0", "1"]);
      await channel.publish({ routingKey: queue }, "later", { deliveryMode: 2 });
      await channel.expect("basic.ack");
    },
  );
}

contract(
  "A publish to several queues of which one is full is nacked and reaches the others",
  async (t) => {
    const channel = await t.channel();
    const exchange = await t.exchange(channel, "fanout");
    const full = await t.queue(channel, { "x-max-length": 0, "x-overflow": "reject-publish" });
    const open = await t.queue(channel);
    for (const queue of [full, open]) await channel.call("queue.bind", { queue, exchange });
    await channel.call("confirm.select");
    await channel.publish({ exchange }, "a");
    assertEquals((await channel.expect("basic.nack")).deliveryTag, 1);
    assertEquals(await t.drain(channel, open), ["a"]);
  },
);

contract("A transaction and confirms exclude each other on a channel", async (t) => {
  const peer = await t.peer();
  const one = await peer.open(1);
  await one.call("tx.select");
  await one.send("confirm.select");
  await one.expectClose(406, "PRECONDITION_FAILED - cannot switch from tx to confirm mode");
  const two = await peer.open(2);
  await two.call("confirm.select");
  await two.send("tx.select");
  await two.expectClose(406, "PRECONDITION_FAILED - cannot switch from confirm to tx mode");
});

contract("What no queue takes is confirmed at once, one by one, after its return", async (t) => {
  const channel = await t.channel();
  await channel.call("confirm.select");
  for (let tag = 1; tag <= 4; tag++) {
    const mandatory = tag % 2 === 0;
    await channel.publish({ routingKey: "nowhere", mandatory });
    if (mandatory) await channel.expectContent("basic.return");
    assertEquals(await channel.expect("basic.ack"), { deliveryTag: tag, multiple: false });
  }
});

contract(
  "What was published on a channel that is closed is not confirmed on the next one (RabbitMQ ends the connection of who does not wait for channel.close-ok)",
  async (t) => {
    const channel = await t.channel();
    const full = await t.queue(channel, { "x-max-length": 0, "x-overflow": "reject-publish" });
    const queue = await t.queue(channel);
    await channel.call("confirm.select");
    const publish = (routingKey: string) => [
      encodeFrame(FRAME.method, 1, encodeMethod("basic.publish", { routingKey })),
      encodeFrame(FRAME.header, 1, encodeHeader(0, { deliveryMode: 2 })),
    ];
    const next = ["channel.close", "channel.open", "confirm.select"]
      .map((name) => encodeFrame(FRAME.method, 1, encodeMethod(name)));
    await channel.peer.sendBytes(concat([...publish(queue), ...publish(full), ...next]));
    for (const name of ["channel.close-ok", "channel.open-ok", "confirm.select-ok"]) {
      await channel.expect(name);
    }
    await t.silent(channel, queue);
  },
  { only: "broker" },
);
