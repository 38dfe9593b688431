import { assertEquals } from "@std/assert";
import type { PeerChannel } from "../support/protocol_peer.ts";
import { waitUntil } from "../support/wait.ts";
import { type Case, contract } from "./contract.ts";

/** Declares a queue that expired messages of another one go to. */
async function graveyard(t: Case, channel: PeerChannel): Promise<string> {
  const queue = await t.queue(channel);
  await channel.call("basic.consume", { queue, noAck: true });
  return queue;
}

function deadLetterTo(queue: string): Record<string, unknown> {
  return { "x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue };
}

for (const type of ["classic", "quorum"]) {
  contract(`x-message-ttl expires the messages of a ${type} queue`, async (t) => {
    const channel = await t.channel();
    const dead = await graveyard(t, channel);
    const queue = await t.queue(channel, {
      "x-queue-type": type,
      "x-message-ttl": 50,
      ...deadLetterTo(dead),
    });
    await t.fill(channel, queue, "a", "b");
    assertEquals([(await channel.expectContent()).text, (await channel.expectContent()).text], [
      "a",
      "b",
    ]);
    assertEquals((await t.counts(channel, queue)).ready, 0);
  });

  contract(`The shorter of expiration and x-message-ttl holds on a ${type} queue`, async (t) => {
    const channel = await t.channel();
    const dead = await graveyard(t, channel);
    const queue = await t.queue(channel, {
      "x-queue-type": type,
      "x-message-ttl": 60_000,
      ...deadLetterTo(dead),
    });
    await t.publish(channel, { routingKey: queue }, {
      body: "short",
      properties: { expiration: "30" },
    }, { body: "long", properties: { expiration: "90000" } });
    assertEquals((await channel.expectContent()).text, "short");
    assertEquals(await t.drain(channel, queue), ["long"]);
  });
}

contract(
  "basic.get counts none that is over, however many there are behind its message",
  async (t) => {
    const channel = await t.channel();
    const dead = await graveyard(t, channel);
    const queue = await t.queue(channel);
    const waiting = await t.queue(channel, { "x-message-ttl": 50, ...deadLetterTo(dead) });
    const over = { body: "", properties: { expiration: "1" } };
    const messages = [{ body: "stays" }, ...Array(3_000).fill(over), { body: "stays, too" }];
    await t.publish(channel, { routingKey: queue }, ...messages);
    // By the time this one is dead all of those before it are over.
    await t.fill(channel, waiting, "waits");
    await channel.expectContent();
    await channel.send("basic.get", { queue, noAck: true });
    const { text, args } = await channel.expectContent("basic.get-ok");
    assertEquals([text, args.messageCount], ["stays", 1]);
  },
);

contract(
  "expiration alone expires a message, without a dead-letter exchange for good",
  async (t) => {
    const channel = await t.channel();
    const queue = await t.queue(channel);
    await t.publish(channel, { routingKey: queue }, {
      body: "a",
      properties: { expiration: "20" },
    });
    await waitUntil(
      "the message to expire",
      async () => (await t.counts(channel, queue)).ready === 0,
    );
  },
);

contract("A message behind one that lives longer expires when it comes to the head", async (t) => {
  const channel = await t.channel();
  const dead = await graveyard(t, channel);
  const queue = await t.queue(channel, deadLetterTo(dead));
  await t.publish(channel, { routingKey: queue }, { body: "head" }, {
    body: "behind",
    properties: { expiration: "1" },
  }, { body: "mark" });
  await channel.send("basic.get", { queue, noAck: true });
  assertEquals((await channel.expectContent("basic.get-ok")).text, "head");
  assertEquals((await channel.expectContent()).text, "behind");
  assertEquals(await t.drain(channel, queue), ["mark"]);
});

for (const how of ["expiration", "x-message-ttl"]) {
  contract(`${how} 0 expires at once unless a consumer takes the message`, async (t) => {
    const channel = await t.channel();
    const byQueue = how === "x-message-ttl";
    const queue = await t.queue(channel, byQueue ? { "x-message-ttl": 0 } : {});
    const properties = byQueue ? {} : { expiration: "0" };
    await t.publish(channel, { routingKey: queue }, { body: "nobody", properties });
    assertEquals(await t.drain(channel, queue), []);
    await channel.call("basic.consume", { queue, noAck: true });
    await t.publish(channel, { routingKey: queue }, { body: "somebody", properties });
    assertEquals((await channel.expectContent()).text, "somebody");
  });
}

contract(
  "A delivered message does not expire; requeued, it expires if its time is over",
  async (t) => {
    const channel = await t.channel();
    const consumer = await channel.peer.open(2);
    const dead = await graveyard(t, channel);
    const queue = await t.queue(channel, deadLetterTo(dead));
    const clock = await t.queue(channel, { "x-message-ttl": 150, ...deadLetterTo(dead) });
    // Who is there has it at once, however long the way to him takes.
    await consumer.call("basic.consume", { queue, consumerTag: "c" });
    await t.publish(channel, { routingKey: queue }, {
      body: "held",
      properties: { expiration: "100" },
    });
    assertEquals((await consumer.expectContent()).text, "held");
    await t.fill(channel, clock, "tick");
    assertEquals((await channel.expectContent()).text, "tick"); // by now it is over
    await consumer.call("basic.cancel", { consumerTag: "c" });
    await consumer.send("basic.nack", { deliveryTag: 1, requeue: true });
    assertEquals((await channel.expectContent()).text, "held");
  },
);

contract("A queue that expires drops its messages without dead-lettering them", async (t) => {
  const channel = await t.channel();
  const dead = await graveyard(t, channel);
  const queue = await t.queue(channel, { "x-expires": 50, ...deadLetterTo(dead) });
  const clock = await t.queue(channel, { "x-message-ttl": 400, ...deadLetterTo(dead) });
  await t.fill(channel, queue, "lost");
  await t.fill(channel, clock, "tick");
  assertEquals((await channel.expectContent()).text, "tick");
});

/** More than our broker lets die at once. */
const COUNT = 1_500;

contract(
  "basic.get does not count what has expired behind the message that it gives",
  async (t) => {
    const channel = await t.channel();
    const dead = await graveyard(t, channel);
    const queue = await t.queue(channel, deadLetterTo(await t.queue(channel)));
    const clock = await t.queue(channel, { "x-message-ttl": 100, ...deadLetterTo(dead) });
    const gone = { properties: { expiration: "1" } };
    await t.publish(channel, { routingKey: queue }, { body: "head" }, ...Array(COUNT).fill(gone));
    await t.fill(channel, clock, "tick");
    await channel.expectContent();
    await channel.send("basic.get", { queue, noAck: true });
    const { args, text } = await channel.expectContent("basic.get-ok");
    assertEquals([text, args.messageCount], ["head", 0]);
  },
);

/** How a message that has a time to live comes to the head of a queue with x-max-length. */
const ARRIVALS: [how: string, length: number, arrive: (t: Case, queue: string) => Promise<void>][] =
  [
    ["it pushed the head out itself", 1, async (t, queue) => {
      await t.publish(await t.channel(), { routingKey: queue }, { body: "keep" }, BRIEF);
    }],
    ["one behind it pushed the head out", 2, async (t, queue) => {
      const last = { body: "last" };
      await t.publish(await t.channel(), { routingKey: queue }, { body: "keep" }, BRIEF, last);
    }],
    ["the head was pushed out by what came back", 2, async (t, queue) => {
      const channel = await t.channel();
      await t.fill(channel, queue, "taken", "keep");
      await channel.send("basic.get", { queue });
      await channel.expectContent("basic.get-ok");
      await t.publish(channel, { routingKey: queue }, BRIEF);
      await channel.send("basic.get", { queue });
      await channel.expectContent("basic.get-ok");
      await t.fill(channel, queue, "last");
      await channel.send("basic.nack", { deliveryTag: 0, multiple: true, requeue: true });
    }],
    ["the head was taken and acknowledged", 9, async (t, queue) => {
      const channel = await t.channel();
      await t.publish(channel, { routingKey: queue }, { body: "keep" }, BRIEF);
      await channel.send("basic.get", { queue });
      await channel.expectContent("basic.get-ok");
      await channel.send("basic.ack", { deliveryTag: 1 });
    }],
    ["it came back", 9, async (t, queue) => {
      const channel = await t.channel();
      await t.publish(channel, { routingKey: queue }, BRIEF, { body: "last" });
      await channel.send("basic.get", { queue });
      await channel.expectContent("basic.get-ok");
      await channel.send("basic.reject", { deliveryTag: 1, requeue: true });
    }],
    ["its consumer vanished", 9, async (t, queue) => {
      const channel = await t.channel();
      await channel.call("basic.consume", { queue });
      await t.publish(channel, { routingKey: queue }, BRIEF);
      await channel.expectContent();
      channel.peer.cut();
    }],
    ["the queue was purged before it came", 9, async (t, queue) => {
      const channel = await t.channel();
      const long = { body: "long", properties: { expiration: "90000" } };
      await t.publish(channel, { routingKey: queue }, long);
      await channel.call("queue.purge", { queue });
      await t.publish(channel, { routingKey: queue }, BRIEF);
    }],
  ];

const BRIEF = { body: "brief", properties: { expiration: "400" } };

for (const [how, length, arrive] of ARRIVALS) {
  contract(`A message at the head expires by itself when ${how}`, async (t) => {
    const channel = await t.channel();
    const dead = await t.queue(channel);
    const queue = await t.queue(channel, { "x-max-length": length, ...deadLetterTo(dead) });
    await arrive(t, queue);
    await channel.call("basic.consume", { queue: dead, noAck: true });
    for (;;) {
      const { text, properties } = await channel.expectContent();
      if (text === "brief") {
        return assertEquals(properties.headers!["x-first-death-reason"], "expired");
      }
    }
  });
}
