import { assert, assertEquals, assertGreater } from "@std/assert";
import type { PeerChannel } from "../support/protocol_peer.ts";
import {
  type Arguments,
  encodeFrame,
  encodeHeader,
  encodeMethod,
  FRAME,
  type Properties,
} from "../support/methods.ts";
import { waitUntil } from "../support/wait.ts";
import { concat } from "../broker/strangers.ts";
import { type Table, Typed } from "../support/wire.ts";
import { contract } from "./contract.ts";

/** The x-death header without its timestamps, which are checked and removed. */
function deaths(properties: Properties): Record<string, unknown>[] {
  const entries = properties.headers!["x-death"] as Record<string, unknown>[];
  return entries.map(({ time, ...rest }) => {
    assertGreater(time as number, 1_600_000_000);
    return rest;
  });
}

async function getAck(channel: PeerChannel, queue: string): Promise<void> {
  await channel.send("basic.get", { queue });
  await channel.expectContent("basic.get-ok");
}

contract("A rejected message goes to the dead-letter exchange with its history", async (t) => {
  const channel = await t.channel();
  const dlx = await t.exchange(channel, "fanout");
  const dead = await t.queue(channel);
  await channel.call("queue.bind", { queue: dead, exchange: dlx });
  const queue = await t.queue(channel, { "x-dead-letter-exchange": dlx });
  await channel.call("queue.bind", { queue, exchange: "amq.direct", routingKey: queue });
  const properties = { messageId: "m", headers: { mine: 1 }, deliveryMode: 2, priority: 3 };
  await t.publish(channel, { exchange: "amq.direct", routingKey: queue }, {
    body: "a",
    properties,
  });
  await getAck(channel, queue);
  await channel.send("basic.reject", { deliveryTag: 1 });
  await channel.call("basic.consume", { queue: dead, noAck: true });
  const message = await channel.expectContent();
  assertEquals([
    message.text,
    message.args.exchange,
    message.args.routingKey,
    message.args.redelivered,
  ], ["a", dlx, queue, false]);
  assertEquals(deaths(message.properties), [
    { count: 1, reason: "rejected", queue, exchange: "amq.direct", "routing-keys": [queue] },
  ]);
  const { headers, ...rest } = message.properties;
  assertEquals(rest, { messageId: "m", deliveryMode: 2, priority: 3 });
  const { "x-death": _, ...others } = headers!;
  assertEquals(others, {
    mine: 1,
    "x-first-death-exchange": "amq.direct",
    "x-first-death-queue": queue,
    "x-first-death-reason": "rejected",
  });
});

contract("x-dead-letter-routing-key replaces the key, and the CC header goes", async (t) => {
  const channel = await t.channel();
  const [dead, other] = [await t.queue(channel), await t.queue(channel)];
  const queue = await t.queue(channel, {
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": dead,
  });
  await t.publish(channel, { routingKey: queue }, {
    body: "a",
    properties: { headers: { CC: [other] } },
  });
  await getAck(channel, queue);
  await channel.send("basic.nack", { deliveryTag: 1 });
  await channel.call("basic.consume", { queue: dead, noAck: true });
  const message = await channel.expectContent();
  assertEquals(message.args.routingKey, dead);
  assertEquals(message.properties.headers!.CC, undefined);
  assertEquals(deaths(message.properties), [
    { count: 1, reason: "rejected", queue, exchange: "", "routing-keys": [queue, other] },
  ]);
});

contract("An expired message loses its expiration and keeps it in its history", async (t) => {
  const channel = await t.channel();
  const dead = await t.queue(channel);
  const queue = await t.queue(channel, {
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": dead,
  });
  await channel.call("basic.consume", { queue: dead, noAck: true });
  await t.publish(channel, { routingKey: queue }, { body: "a", properties: { expiration: "10" } });
  const message = await channel.expectContent();
  assertEquals(message.properties.expiration, undefined);
  assertEquals(deaths(message.properties), [
    {
      count: 1,
      reason: "expired",
      queue,
      exchange: "",
      "routing-keys": [queue],
      "original-expiration": "10",
    },
  ]);
});

contract(
  "A second death in another queue is put first; a second one in the same queue counts",
  async (t) => {
    const channel = await t.channel();
    const [one, two] = [t.name(), t.name()];
    for (const [queue, next] of [[one, two], [two, one]]) {
      await channel.call("queue.declare", {
        queue,
        durable: true,
        arguments: { "x-dead-letter-exchange": "", "x-dead-letter-routing-key": next },
      });
    }
    await t.fill(channel, one, "a");
    for (const queue of [one, two, one]) {
      await channel.call("basic.consume", { queue, consumerTag: queue });
      const { args } = await channel.expectContent();
      await channel.send("basic.reject", { deliveryTag: args.deliveryTag });
      await channel.call("basic.cancel", { consumerTag: queue });
    }
    await channel.call("basic.consume", { queue: two, noAck: true });
    const { properties } = await channel.expectContent();
    assertEquals(deaths(properties), [
      { count: 2, reason: "rejected", queue: one, exchange: "", "routing-keys": [one] },
      { count: 1, reason: "rejected", queue: two, exchange: "", "routing-keys": [two] },
    ]);
    assertEquals(properties.headers!["x-first-death-queue"], one);
  },
);

contract("Different reasons in one queue are different entries", async (t) => {
  const channel = await t.channel();
  const dead = await t.queue(channel);
  const queue = await t.queue(channel, {
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": dead,
  });
  await t.fill(channel, queue, "a");
  await getAck(channel, queue);
  await channel.send("basic.reject", { deliveryTag: 1 });
  await channel.call("basic.consume", { queue: dead, noAck: true });
  const once = await channel.expectContent();
  await t.publish(channel, { routingKey: queue }, {
    body: "a",
    properties: { ...once.properties, expiration: "1" },
  });
  const twice = await channel.expectContent();
  assertEquals(deaths(twice.properties).map(({ reason, count }) => [reason, count]), [[
    "expired",
    1,
  ], ["rejected", 1]]);
});

contract("A cycle of automatic deaths is broken: the message is dropped", async (t) => {
  const channel = await t.channel();
  const [one, two] = [t.name(), t.name()];
  for (const [queue, next] of [[one, two], [two, one]]) {
    await channel.call("queue.declare", {
      queue,
      durable: true,
      arguments: {
        "x-message-ttl": 20,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": next,
      },
    });
  }
  const clockTo = await t.queue(channel);
  const clock = await t.queue(channel, {
    "x-message-ttl": 500,
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": clockTo,
  });
  await t.fill(channel, one, "a");
  await channel.call("basic.consume", { queue: clockTo, noAck: true });
  let left = 1;
  // On a busy machine one timer may be late, and the clock's on time.
  for (let ticks = 0; left > 0 && ticks < 3; ticks++) {
    await t.fill(channel, clock, "tick");
    assertEquals((await channel.expectContent()).text, "tick");
    left = (await t.counts(channel, one)).ready + (await t.counts(channel, two)).ready;
  }
  assertEquals(left, 0);
});

contract("A death that causes deaths goes every way once that is no cycle", async (t) => {
  const channel = await t.channel();
  const exchange = await t.exchange(channel, "fanout");
  const args = { "x-max-length": 0, "x-dead-letter-exchange": exchange };
  const queues = [await t.queue(channel, args), await t.queue(channel, args)];
  queues.push(await t.queue(channel, args));
  const all = await t.queue(channel);
  for (const queue of [...queues, all]) await channel.call("queue.bind", { queue, exchange });
  await t.fill(channel, queues[0]!, "work");
  // After one death, two in two queues, two in three.
  const paths: string[] = [];
  await channel.call("basic.consume", { queue: all, noAck: true });
  for (let n = 0; n < 5; n++) {
    const { properties } = await channel.expectContent();
    const path = deaths(properties).map(({ queue }) => queues.indexOf(queue as string));
    // RabbitMQ 3.10 turns the older entries round with each death.
    paths.push(path.sort().join(""));
  }
  assertEquals(paths.sort(), ["0", "01", "012", "012", "02"]);
  await t.silent(channel, all);
});

contract("A cycle with a rejection in it is not broken", async (t) => {
  const channel = await t.channel();
  const [main, delay] = [t.name(), t.name()];
  await channel.call("queue.declare", {
    queue: main,
    durable: true,
    arguments: { "x-dead-letter-exchange": "", "x-dead-letter-routing-key": delay },
  });
  await channel.call("queue.declare", {
    queue: delay,
    durable: true,
    arguments: {
      "x-message-ttl": 20,
      "x-dead-letter-exchange": "",
      "x-dead-letter-routing-key": main,
    },
  });
  await t.fill(channel, main, "a");
  await channel.call("basic.consume", { queue: main });
  for (let round = 1; round <= 3; round++) {
    const { args, properties } = await channel.expectContent();
    if (round > 1) {
      assertEquals(deaths(properties).map(({ queue, reason, count }) => [queue, reason, count]), [[
        delay,
        "expired",
        round - 1,
      ], [main, "rejected", round - 1]]);
    }
    await channel.send(round < 3 ? "basic.reject" : "basic.ack", { deliveryTag: args.deliveryTag });
  }
});

contract(
  "A queue that dead-letters to itself drops what expires and requeues what is rejected",
  async (t) => {
    const channel = await t.channel();
    const queue = t.name();
    await channel.call("queue.declare", {
      queue,
      durable: true,
      arguments: { "x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue },
    });
    await t.publish(channel, { routingKey: queue }, {
      body: "expires",
      properties: { expiration: "0" },
    }, { body: "a" });
    await channel.call("basic.consume", { queue });
    const first = await channel.expectContent();
    assertEquals(first.text, "a");
    await channel.send("basic.reject", { deliveryTag: first.args.deliveryTag });
    assertEquals((await channel.expectContent()).text, "a");
  },
);

contract(
  "A dead-letter exchange that is missing, or routes nowhere, drops the message",
  async (t) => {
    const channel = await t.channel();
    const queue = await t.queue(channel, { "x-dead-letter-exchange": t.name("x") });
    await t.fill(channel, queue, "a");
    await getAck(channel, queue);
    await channel.send("basic.reject", { deliveryTag: 1 });
    assertEquals(await t.counts(channel, queue), { ready: 0, consumers: 0 });
  },
);

contract("Deleting or purging a queue dead-letters nothing", async (t) => {
  const channel = await t.channel();
  const dead = await t.queue(channel);
  const queue = await t.queue(channel, {
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": dead,
  });
  await t.fill(channel, queue, "a");
  await channel.call("queue.purge", { queue });
  await t.fill(channel, queue, "b");
  await channel.call("queue.delete", { queue });
  assertEquals(await t.drain(channel, dead), []);
});

contract(
  "A message dies into every queue that the dead-letter exchange routes it to",
  async (t) => {
    const channel = await t.channel();
    const dlx = await t.exchange(channel, "topic");
    const [one, two] = [await t.queue(channel), await t.queue(channel)];
    for (const queue of [one, two]) {
      await channel.call("queue.bind", {
        queue,
        exchange: dlx,
        routingKey: "#",
      });
    }
    const queue = await t.queue(channel, { "x-dead-letter-exchange": dlx });
    await t.fill(channel, queue, "a", "b");
    for (let i = 0; i < 2; i++) await getAck(channel, queue);
    await channel.send("basic.nack", { deliveryTag: 2, multiple: true });
    for (const dead of [one, two]) {
      await channel.call("basic.consume", { queue: dead, noAck: true });
      assertEquals([(await channel.expectContent()).text, (await channel.expectContent()).text], [
        "a",
        "b",
      ]);
    }
  },
);

contract("A dead letter that cannot be kept at least once stays until it can", async (t) => {
  const channel = await t.channel();
  const target = t.name();
  const queue = await t.queue(channel, {
    "x-queue-type": "quorum",
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": target,
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
  });
  await t.fill(channel, queue, "a");
  await getAck(channel, queue);
  await channel.send("basic.reject", { deliveryTag: 1 });
  assertEquals((await t.counts(channel, queue)).ready, 0);
  const { messageCount } = await channel.call("queue.delete", { queue });
  assert(messageCount <= 1); // RabbitMQ does not count it, though it holds it
});

contract("Deaths without a count, one entry each, are put together", async (t) => {
  const channel = await t.channel();
  const dead = await t.queue(channel);
  const queue = await t.queue(channel, {
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": dead,
  });
  const old = (queue: string) => ({ queue, reason: "expired", exchange: "", "routing-keys": [] });
  const deaths = [old("one"), old("one"), old("two"), old("one"), old("two")];
  await t.publish(channel, { routingKey: queue }, {
    properties: { headers: { "x-death": deaths } },
  });
  await channel.send("basic.get", { queue });
  await channel.expectContent("basic.get-ok");
  await channel.send("basic.reject", { deliveryTag: 1 });
  await channel.call("basic.consume", { queue: dead, noAck: true });
  const { headers } = (await channel.expectContent()).properties;
  const counts = (headers!["x-death"] as { queue: string; count: bigint }[])
    .map((death) => `${death.queue} ${death.count}`).sort();
  assertEquals(counts, [`${queue} 1`, "one 3", "two 2"].sort());
  assertEquals(headers!["x-first-death-queue"], undefined);
});

contract("An x-death that is no array is replaced", async (t) => {
  const channel = await t.channel();
  const dead = await t.queue(channel);
  const queue = await t.queue(channel, {
    "x-max-length": 0,
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": dead,
  });
  await channel.call("basic.consume", { queue: dead, noAck: true });
  const properties = { headers: { "x-death": "[I, am, not, array]" } };
  await t.publish(channel, { routingKey: queue }, { properties });
  const deaths = (await channel.expectContent()).properties.headers!["x-death"] as Table[];
  assertEquals(deaths.map(({ reason }) => reason), ["maxlen"]);
});

contract("What died before its queue, or the way to its target, went is not lost", async (t) => {
  const channel = await t.channel();
  const dead = await t.queue(channel);
  const dlx = await t.exchange(channel, "fanout");
  const ends: [what: string, method: string, args: (queue: string) => Arguments, id?: number][] = [
    ["cancel", "basic.cancel", () => ({ consumerTag: "c" })],
    ["close the channel", "channel.close", () => ({ replyCode: 200 })],
    ["close the connection", "connection.close", () => ({ replyCode: 200 }), 0],
    ["delete the queue", "queue.delete", (queue) => ({ queue })],
    ["unbind", "queue.unbind", () => ({ queue: dead, exchange: dlx })],
    ["delete the exchange", "exchange.delete", () => ({ exchange: dlx })],
  ];
  for (const [what, method, args, id = 1] of ends) {
    await channel.call("queue.bind", { queue: dead, exchange: dlx });
    const worker = await t.channel();
    const queue = await t.queue(
      channel,
      { "x-dead-letter-exchange": dlx },
      { autoDelete: true },
    );
    await t.fill(channel, queue, what);
    await worker.call("basic.consume", { queue, consumerTag: "c" });
    await worker.expectContent();
    const reject = encodeMethod("basic.reject", { deliveryTag: 1 });
    const end = encodeMethod(method, args(queue));
    await worker.peer.sendBytes(
      concat([encodeFrame(FRAME.method, 1, reject), encodeFrame(FRAME.method, id, end)]),
    );
    // The deleted queue's consumer is canceled, before or after the answer.
    while ((await worker.peer.channel(id).method()).name !== `${method}-ok`);
    const take = async () => (await t.drain(channel, dead))[0];
    assertEquals(await waitUntil(`the letter of ${what}`, take), what);
  }
});

contract(
  "A header that its history made longer than a frame is cut to the latest deaths (RabbitMQ sends a frame that is too long)",
  async (t) => {
    const channel = await t.channel({ frameMax: 8_192 });
    const dead = await t.queue(channel);
    const queue = await t.queue(channel, {
      "x-dead-letter-exchange": "",
      "x-dead-letter-routing-key": dead,
    });
    const long = "x".repeat(200);
    const history = Array.from({ length: 27 }, (_, i) => ({
      count: 1,
      reason: "rejected",
      queue: `${i} ${long}`,
      exchange: "",
      "routing-keys": [""],
    }));
    const headers = { "x-death": history, pad: "p".repeat(90) };
    await t.publish(channel, { routingKey: queue }, {
      body: "work",
      properties: { headers, expiration: "1", messageId: long },
    });
    await channel.call("basic.consume", { queue: dead, noAck: true });
    const { properties, header, text } = await channel.expectContent();
    const kept = properties.headers!["x-death"] as Table[];
    assertEquals([text, properties.messageId, kept[0]!.queue], ["work", long, queue]);
    assertEquals(
      kept.slice(1).map(({ queue }) => queue),
      history.slice(0, kept.length - 1).map(({ queue }) => queue),
    );
    assert(kept.length > 20 && kept.length <= history.length, `${kept.length}`);
    assert(header.length <= 8_192 - 8, `${header.length}`);
  },
  { only: "broker" },
);

/** No UTF-8, in different ways; as many bytes as {@link PLACEHOLDER} has characters. */
const NO_TEXT = Uint8Array.of(0xff, 0x2e, 0xe9, 0xed, 0xa0, 0x80);
const PLACEHOLDER = "ABCDEF";

/** Puts bytes that are no text where {@link PLACEHOLDER} stands in encoded ones. */
function withNoText(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const at = new TextDecoder("latin1").decode(bytes).indexOf(PLACEHOLDER);
  assertGreater(at, 0);
  const changed = Uint8Array.from(bytes);
  changed.set(NO_TEXT, at);
  return changed;
}

function countOf(bytes: Uint8Array, wanted: Uint8Array): number {
  const text = (part: Uint8Array) => new TextDecoder("latin1").decode(part);
  return text(bytes).split(text(wanted)).length - 1;
}

contract("A routing key that is no UTF-8 dies as the bytes that it is", async (t) => {
  const channel = await t.channel();
  const [exchange, dead] = [t.name(), await t.queue(channel)];
  await channel.call("exchange.declare", { exchange, type: "fanout" });
  await channel.call("queue.bind", { queue: dead, exchange });
  const mortal = await t.queue(channel, {
    "x-dead-letter-exchange": exchange,
    "x-message-ttl": 0,
  });
  await channel.call("queue.bind", { queue: mortal, exchange: "amq.fanout" });
  const method = encodeMethod("basic.publish", {
    exchange: "amq.fanout",
    routingKey: PLACEHOLDER,
  });
  await channel.peer.sendFrame(FRAME.method, channel.id, withNoText(method));
  await channel.peer.sendFrame(FRAME.header, channel.id, encodeHeader(0, {}));
  await channel.send("basic.consume", { queue: dead, noAck: true });
  await channel.frame(); // consume-ok
  const deliver = await channel.frame();
  assertEquals(countOf(deliver.payload, NO_TEXT), 1);
  const header = await channel.frame();
  assertEquals(countOf(header.payload, NO_TEXT), 1, "x-death names it");
  await channel.call("queue.unbind", { queue: mortal, exchange: "amq.fanout" });
});

contract("A dead-letter routing key that is no UTF-8 is no other one", async (t) => {
  const channel = await t.channel();
  const exchange = t.name();
  await channel.call("exchange.declare", { exchange, type: "topic" });
  const [lossy, any] = [await t.queue(channel), await t.queue(channel)];
  // What is left of the key's first word when it is decoded.
  await channel.call("queue.bind", { queue: lossy, exchange, routingKey: "\ufffd.#" });
  await channel.call("queue.bind", { queue: any, exchange, routingKey: "*.*" });
  const mortal = await t.queue(channel, {
    "x-dead-letter-exchange": exchange,
    "x-dead-letter-routing-key": new Typed("S", NO_TEXT),
    "x-message-ttl": 0,
  });
  await channel.publish({ routingKey: mortal }, "a");
  await channel.send("basic.consume", { queue: any, noAck: true });
  await channel.frame(); // consume-ok
  const deliver = await channel.frame();
  assertEquals(countOf(deliver.payload, NO_TEXT), 1);
  for (let n = 0; n < 2; n++) await channel.frame();
  assertEquals((await t.counts(channel, lossy)).ready, 0);
});
