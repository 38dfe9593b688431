/**
 * What survives kill -9 and what does not. Each broker is prepared once, killed once and started
 * again on its data; each case then looks at one part of what it finds.
 */
import { assert, assertEquals, assertGreaterOrEqual } from "@std/assert";
import { openPeer, type PeerChannel } from "../support/protocol_peer.ts";
import { Typed } from "../support/wire.ts";
import { type BrokerName, Case } from "./case.ts";

/** A broker of one test, with its own data. */
export interface Restartable {
  readonly port: number;
  kill(): Promise<void>;
  start(): Promise<void>;
  stop(): Promise<void>;
}

const PERSISTENT = { deliveryMode: 2 };
const TRANSIENT = { deliveryMode: 1 };

/** Tells what a broker keeps, as steps of a test. @param save makes sure of what it only promises */
export async function checkDurability(
  name: BrokerName,
  test: Deno.TestContext,
  broker: Restartable,
  save: () => Promise<void> = async () => {},
): Promise<void> {
  await prepare(new Case(name, broker.port));
  await save();
  await broker.kill();
  await broker.start();
  const t = new Case(name, broker.port);
  for (const [promise, check] of checks(name)) {
    await test.step(promise, async () => {
      await using peer = await openPeer(broker.port);
      await check(t, await peer.open(1));
    });
  }
  await test.step("an orderly end closes connections with 320", async () => {
    await using peer = await openPeer(broker.port);
    const stopped = broker.stop();
    const { replyCode, replyText } = await peer.channel(0).expect("connection.close");
    assertEquals(
      [replyCode, replyText],
      [320, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'"],
    );
    await stopped;
  });
}

const LIMITS = { "x-max-length": 7, "x-dead-letter-exchange": "kept.x" };

/** At-least-once dead letters, to a queue that does not exist. */
const LETTERS = {
  "x-queue-type": "quorum",
  "x-dead-letter-exchange": "",
  "x-dead-letter-routing-key": "letters.to",
  "x-dead-letter-strategy": "at-least-once",
  "x-overflow": "reject-publish",
};

/** Fills a broker through connections that are still open when it is killed. */
async function prepare(t: Case): Promise<void> {
  const peer = await t.peer();
  const channel = await peer.open(1);
  for (const [exchange, durable] of [["kept.x", true], ["kept.y", true], ["lost.x", false]]) {
    await channel.call("exchange.declare", { exchange, type: "fanout", durable });
  }
  for (const queue of ["kept", "bound", "cold", "order", "settled", "dead"]) {
    await channel.call("queue.declare", { queue, durable: true });
  }
  await channel.call("queue.declare", { queue: "limited", durable: true, arguments: LIMITS });
  await channel.call("queue.declare", {
    queue: "counted",
    durable: true,
    arguments: { "x-queue-type": "quorum" },
  });
  await channel.call("queue.declare", {
    queue: "dying",
    durable: true,
    arguments: { "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead" },
  });
  await channel.call("queue.declare", { queue: "letters", durable: true, arguments: LETTERS });
  await prepareBytes(t, channel);
  await channel.call("queue.declare", { queue: "lost" });
  await channel.call("queue.declare", { queue: "exclusive", durable: true, exclusive: true });
  await channel.call("queue.bind", { queue: "bound", exchange: "kept.y" });
  await channel.call("exchange.bind", { source: "kept.x", destination: "kept.y" });
  await channel.call("queue.bind", { queue: "bound", exchange: "lost.x" });

  const properties = { ...PERSISTENT, messageId: "m", headers: { k: [1, "two"] } };
  await t.publish(
    channel,
    { routingKey: "kept" },
    { body: "persistent 1", properties },
    { body: "transient", properties: TRANSIENT },
    { body: "persistent 2", properties: PERSISTENT },
    { body: new Uint8Array(300_000).fill(0x61), properties: PERSISTENT },
  );
  await t.publish(
    channel,
    { routingKey: "cold" },
    { body: "expires", properties: { ...PERSISTENT, expiration: "1500" } },
    { body: "stays", properties: PERSISTENT },
  );
  const numbers = Array.from({ length: 300 }, (_, i) => ({ body: `${i}`, properties: PERSISTENT }));
  await t.publish(channel, { routingKey: "order" }, ...numbers);
  await t.publish(channel, { routingKey: "dying" }, { body: "died", properties: PERSISTENT });
  await rejectOne(channel, "dying", false);
  // RabbitMQ does not sync a dead letter by itself; this confirm covers what is in the queue.
  await t.publish(channel, { routingKey: "dead" }, { body: "mark", properties: PERSISTENT });
  const quorum = { "x-queue-type": "quorum" };
  await channel.call("queue.declare", { queue: "quorum", durable: true, arguments: quorum });
  await t.publish(channel, { routingKey: "quorum" }, { body: "transient", properties: TRANSIENT });
  await t.publish(channel, { routingKey: "counted" }, { body: "a", properties: PERSISTENT });
  for (let i = 0; i < 2; i++) await rejectOne(channel, "counted", true);
  const bodies = ["first", "second", "third", "fourth"];
  await t.publish(channel, { routingKey: "letters" }, ...bodies.map((body) => ({ body })));
  for (let i = 0; i < 2; i++) await rejectOne(channel, "letters", false);

  await t.publish(channel, { routingKey: "settled" }, ...numbers.slice(0, 4));
  const consumer = await peer.open(2);
  await consumer.call("basic.consume", { queue: "settled" });
  for (let i = 0; i < 4; i++) await consumer.expectContent();
  await consumer.send("basic.ack", { deliveryTag: 1 });
  await consumer.send("basic.reject", { deliveryTag: 3 });
  await consumer.call("confirm.select");
  await consumer.publish({ routingKey: "settled" }, "after", PERSISTENT);
  // A delivery of the new message may come before or after its confirm.
  for (let acked = false; !acked;) {
    const { name, args } = await consumer.method();
    acked = name === "basic.ack";
    if (!acked) await consumer.readContent(args);
  }
  for (let i = 0; i < 7; i++) {
    await channel.send("basic.get", { queue: "order" });
    await channel.expectContent("basic.get-ok");
  }
}

/** Names, keys and arguments of bytes that are easily taken for an end, or for text. */
const NAMES = ["victim", "victim\0", "victim\0\0", "\0", "\u{10ffff}\0\ufeff", "\ufeffvictim"];
const KEYS = ["", "\0", "\0\0\0\x05", "\0\0\0\x06", "\0\0", "\ufeff"];
const NO_TEXT = { "x-any": new Typed("S", Uint8Array.of(0, 0xe9, 0xff, 0)) };

async function prepareBytes(t: Case, channel: PeerChannel): Promise<void> {
  await channel.call("exchange.declare", { exchange: "x\0y", type: "direct", durable: true });
  for (const [index, queue] of NAMES.entries()) {
    await channel.call("queue.declare", { queue, durable: true });
    const routingKey = KEYS[index]!;
    await channel.call("queue.bind", { queue, exchange: "x\0y", routingKey, arguments: NO_TEXT });
    const bodies = [1, 2, 3].map((body) => ({ body: `${index}.${body}`, properties: PERSISTENT }));
    await t.publish(channel, { routingKey: queue }, ...bodies);
  }
}

async function rejectOne(channel: PeerChannel, queue: string, requeue: boolean): Promise<void> {
  await channel.send("basic.get", { queue });
  const { args } = await channel.expectContent("basic.get-ok");
  await channel.send("basic.reject", { deliveryTag: args.deliveryTag, requeue });
  await channel.call("basic.qos"); // the reject was worked off
}

type Check = (t: Case, channel: PeerChannel) => Promise<void>;

function checks(broker: BrokerName): [string, Check][] {
  return [
    [
      "persistent messages come back, whole and with their properties, transient ones do not",
      async (t, channel) => {
        await channel.send("basic.get", { queue: "kept", noAck: true });
        const first = await channel.expectContent("basic.get-ok");
        assertEquals(first.text, "persistent 1");
        const headers = { k: [1, "two"] };
        assertEquals(first.properties, { ...PERSISTENT, messageId: "m", headers });
        const [second, large, ...more] = await t.drain(channel, "kept");
        assertEquals([second, large!.length, more], ["persistent 2", 300_000, []]);
      },
    ],
    ["a quorum queue keeps transient messages too", async (_t, channel) => {
      await channel.call("basic.consume", { queue: "quorum", noAck: true });
      const { text, properties } = await channel.expectContent();
      assertEquals([text, properties.deliveryMode], ["transient", 1]);
    }],
    ["durable exchanges, bindings and arguments come back", async (t, channel) => {
      await channel.publish({ exchange: "kept.x" }, "routed");
      assertEquals(await t.drain(channel, "bound"), ["routed"]);
      await channel.call("queue.declare", { queue: "limited", durable: true, arguments: LIMITS });
    }],
    ["names and keys come back as the bytes that they were", async (t, channel) => {
      for (const routingKey of KEYS) {
        await channel.publish({ exchange: "x\0y", routingKey }, "routed");
      }
      for (const [index, queue] of NAMES.entries()) {
        const bodies = [1, 2, 3].map((body) => `${index}.${body}`);
        assertEquals(await t.drain(channel, queue), [...bodies, "routed"], JSON.stringify(queue));
        // Unbinding is by key and arguments.
        const routingKey = KEYS[index]!;
        const binding = { queue, exchange: "x\0y", routingKey, arguments: NO_TEXT };
        await channel.call("queue.unbind", binding);
        await channel.publish({ exchange: "x\0y", routingKey }, "not routed");
        await channel.call("queue.delete", { queue });
        await channel.call("queue.declare", { queue, durable: true });
        assertEquals(await t.drain(channel, queue), []);
      }
    }],
    ["a transient exchange does not come back", async (_t, channel) => {
      await channel.send("exchange.declare", { exchange: "lost.x", passive: true });
      await channel.expectClose(404, /no exchange/);
    }],
    ["a transient queue does not come back", async (_t, channel) => {
      await channel.send("queue.declare", { queue: "lost", passive: true });
      await channel.expectClose(404, /no queue/);
    }],
    ["an exclusive queue does not come back, though durable", async (_t, channel) => {
      await channel.send("queue.declare", { queue: "exclusive", passive: true });
      await channel.expectClose(404, /no queue/);
    }],
    ["order is kept, what was unacknowledged comes back in its place", async (t, channel) => {
      const expected = Array.from({ length: 300 }, (_, i) => `${i}`);
      assertEquals(await t.drain(channel, "order"), expected);
    }],
    ["a death is kept with its history", async (_t, channel) => {
      await channel.send("basic.get", { queue: "dead", noAck: true });
      const { text, properties } = await channel.expectContent("basic.get-ok");
      assertEquals([text, properties.headers!["x-first-death-queue"]], ["died", "dying"]);
      assert(Array.isArray(properties.headers!["x-death"]));
    }],
    ["dead letters without a queue to go to do not become ready again", async (t, channel) => {
      assertEquals((await channel.call("queue.purge", { queue: "letters" })).messageCount, 2);
      await t.publish(channel, { routingKey: "letters" }, { body: "fifth" });
      assertEquals(await t.drain(channel, "letters"), ["fifth"]);
      if (broker === "RabbitMQ") return; // it tries again after three minutes
      await channel.call("queue.declare", { queue: "letters.to", durable: true });
      await channel.call("basic.consume", { queue: "letters.to", noAck: true });
      for (const body of ["first", "second"]) {
        const { text, properties } = await channel.expectContent();
        assertEquals([text, properties.headers!["x-first-death-reason"]], [body, "rejected"]);
      }
    }],
    ["delivery counts come back", async (_t, channel) => {
      await channel.call("basic.consume", { queue: "counted" });
      const { properties } = await channel.expectContent();
      assertGreaterOrEqual(properties.headers!["x-delivery-count"] as number, 2);
    }],
    ["what expired while the broker was down is gone", async (t, channel) => {
      if (broker === "broker") { // it may have come back before its time
        const clock = await t.queue(channel, {
          "x-message-ttl": 1500,
          "x-dead-letter-exchange": "",
          "x-dead-letter-routing-key": "ticks",
        });
        await channel.call("queue.declare", { queue: "ticks" });
        await channel.call("basic.consume", { queue: "ticks", noAck: true });
        await t.fill(channel, clock, "tick");
        await channel.expectContent();
      }
      assertEquals(await t.drain(channel, "cold"), ["stays"]);
    }],
    [
      broker === "broker"
        ? "what was acknowledged before a confirm does not come back"
        : "what was acknowledged before a confirm may come back (RabbitMQ writes acknowledgements later)",
      async (t, channel) => {
        const left = await t.drain(channel, "settled");
        if (broker === "broker") assertEquals(left, ["1", "3", "after"]);
        else assertEquals(left.filter((body) => ["1", "3", "after"].includes(body)).length, 3);
      },
    ],
  ];
}
