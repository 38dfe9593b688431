/**
 * Memory does not grow with what is stored, what is not read, and what is not acknowledged. Each
 * load is larger than what the broker may take while it has it.
 */
import { assertEquals, assertLess } from "@std/assert";
import { memoryUnknown, peakBytes } from "../support/memory.ts";
import { openPeer } from "../support/protocol_peer.ts";
import { tempDir } from "../support/temp.ts";
import { byThisDeno } from "../support/tools.ts";
import { unless } from "../support/unless.ts";
import { portOf, startProcess } from "./harness.ts";
import { concat, content, LOGIN, method, sendAll } from "./strangers.ts";

const MB = 1_000_000;
/** What a broker may take at its worst moment, on a slow disk too, and what the tests give it. */
const PEAK_BYTES = (byThisDeno ? 265 : 300) * MB; // Deno 2.4 frees garbage later
const LOAD_BYTES = PEAK_BYTES + 50 * MB;

/** Messages of 1 MB that a connection may hold which nobody reads: what the kernel and we buffer. */
const IN_THE_PIPE = 20;

const PERSISTENT = { deliveryMode: 2 };
const TRANSIENT = { deliveryMode: 1 };

function memoryTest(name: string, fn: (port: number) => Promise<void>): void {
  Deno.test({
    ...unless(memoryUnknown, name),
    async fn() {
      await using dir = await tempDir();
      await using broker = startProcess(["--data", dir.path]);
      await fn(await portOf(broker));

      assertLess(peakBytes(broker), PEAK_BYTES);
      broker.kill();
      assertEquals((await broker.ended()).code, 0);
    },
  });
}

/** Publishes bodies of equal size; returns when all are confirmed. */
async function fill(
  port: number,
  queue: string,
  size: number,
  properties: { deliveryMode: number },
): Promise<number> {
  await using peer = await openPeer(port);
  const channel = await peer.open();
  await channel.call("queue.declare", { queue, durable: true });
  await channel.call("confirm.select");
  const count = Math.ceil(LOAD_BYTES / size);
  const body = new Uint8Array(size);
  for (let sent = 0, confirmed = 0; confirmed < count;) {
    if (sent < count && sent - confirmed < 50) {
      await channel.publish({ routingKey: queue }, body, properties);
      sent++;
    } else confirmed = (await channel.expect("basic.ack")).deliveryTag;
  }
  await peer.close();
  return count;
}

/** Takes `count` messages without acknowledging any, then closes. */
async function hold(port: number, queue: string, count: number): Promise<void> {
  await using peer = await openPeer(port);
  const channel = await peer.open();
  await channel.call("basic.consume", { queue });
  for (let i = 0; i < count; i++) await channel.expectContent();
  await channel.call("channel.close");
  const back = await (await peer.open(2)).call("queue.declare", { queue, passive: true });
  assertEquals(back.messageCount, count);
  await peer.close();
}

for (const [kind, properties] of [["persistent", PERSISTENT], ["transient", TRANSIENT]] as const) {
  for (const [name, size] of [["1 MB", MB], ["10 KB", 10_000]] as const) {
    memoryTest(
      `a backlog of ${kind} messages of ${name}, delivered and not acknowledged`,
      async (port) => {
        await hold(port, "tasks", await fill(port, "tasks", size, properties));
      },
    );
  }
}

memoryTest("channels keep nothing of what is deleted that they have published to", async (port) => {
  const argument = "x".repeat(120_000);
  await using peer = await openPeer(port);
  const admin = await peer.open();
  for (let load = 0, number = 2; load < LOAD_BYTES; number++) {
    const [exchange, queue] = [`exchange ${number}`, `queue ${number}`];
    const args = { arguments: { "x-note": argument } };
    await admin.call("exchange.declare", { exchange, type: "fanout", ...args });
    await admin.call("queue.declare", { queue, ...args });
    await admin.call("queue.bind", { queue, exchange });
    const channel = await peer.open(number);
    await channel.call("confirm.select");
    await channel.publish({ exchange }, "one");
    await channel.expect("basic.ack");
    await admin.call("queue.delete", { queue });
    await admin.call("exchange.delete", { exchange });
    load += 2 * argument.length;
  }
});

/** What each of many channels has of small contents, which lie in memory side by side. */
const LITTLE: [name: string, little: (channel: number) => Uint8Array[]][] = [
  ["contents that never end", (channel) => [
    method(channel, "basic.publish", { routingKey: "nowhere" }),
    ...content(channel, "x").slice(0, 1),
  ]],
  ["channels that have published once", (channel) => [
    method(channel, "basic.publish", { routingKey: "nowhere" }),
    ...content(channel, "x"),
  ]],
  ["transactions that wait", (channel) => [
    method(channel, "tx.select"),
    method(channel, "basic.publish", { routingKey: "nowhere" }),
    ...content(channel, "x"),
  ]],
];

for (const [name, little] of LITTLE) {
  memoryTest(`${name} keep nothing of what came beside them`, async (port) => {
    const beside = Array.from({ length: 17 }, () => [
      method(1, "basic.publish", { routingKey: "nowhere" }),
      ...content(1, "x".repeat(3_900)),
    ]);
    await using peers = new AsyncDisposableStack();
    for (let load = 0; load < LOAD_BYTES;) {
      const peer = peers.use(await openPeer(port));
      const first = await peer.open();
      for (let number = 2; number < 1_000; number++) {
        const bytes = concat([
          method(number, "channel.open"),
          ...little(number),
          ...beside.flat(),
        ]);
        await peer.sendBytes(bytes);
        load += bytes.length;
      }
      await first.call("queue.declare", { queue: "done" });
    }
  });
}

memoryTest("a flood of publishes that nobody wants to be confirmed", async (port) => {
  await using peer = await openPeer(port);
  const channel = await peer.open();
  await channel.call("queue.declare", { queue: "tasks", durable: true });
  const count = LOAD_BYTES / 10_000;
  for (let i = 0; i < count; i++) {
    await channel.publish({ routingKey: "tasks" }, new Uint8Array(10_000), PERSISTENT);
  }
  const { messageCount } = await channel.call("queue.declare", { queue: "tasks", passive: true });
  assertEquals(messageCount, count);
  await peer.close();
});

memoryTest("a backlog of messages of 16 MB, each confirmed before the next", async (port) => {
  const size = 16 * 1024 * 1024;
  const count = Math.ceil(LOAD_BYTES / size);
  await using peer = await openPeer(port);
  const channel = await peer.open();
  await channel.call("queue.declare", { queue: "tasks", durable: true });
  await channel.call("confirm.select");
  for (let i = 0; i < count; i++) {
    await channel.publish({ routingKey: "tasks" }, new Uint8Array(size), PERSISTENT);
    await channel.expect("basic.ack");
  }
  await channel.call("basic.consume", { queue: "tasks" });
  for (let i = 0; i < count; i++) assertEquals((await channel.expectContent()).body.length, size);
  await peer.close();
});

/** A connection that says something on channel 1 and reads nothing: TCP holds the broker back. */
async function talkMutely(port: number, ...methods: Uint8Array[]): Promise<Deno.TcpConn> {
  const connection = await Deno.connect({ hostname: "127.0.0.1", port });
  const tune = { channelMax: 10, frameMax: 131_072, heartbeat: 0 };
  await sendAll(
    connection,
    concat([
      ...LOGIN.slice(0, 2),
      method(0, "connection.tune-ok", tune),
      LOGIN[3]!,
      method(1, "channel.open"),
      ...methods,
    ]),
  );
  return connection;
}

function consumeMutely(port: number, queue: string): Promise<Deno.TcpConn> {
  return talkMutely(port, method(1, "basic.consume", { queue }));
}

memoryTest("a consumer that reads nothing holds up neither memory nor others", async (port) => {
  const count = await fill(port, "tasks", MB, PERSISTENT);
  const mute = await consumeMutely(port, "tasks");
  await using peer = await openPeer(port);
  const channel = await peer.open();
  await channel.call("basic.consume", { queue: "tasks" });
  const take = async () => {
    const { args } = await channel.expectContent();
    await channel.send("basic.ack", { deliveryTag: args.deliveryTag });
  };
  for (let i = 0; i < count - IN_THE_PIPE; i++) await take();
  mute.close();
  for (let i = 0; i < IN_THE_PIPE; i++) await take();
  await peer.close();
});

memoryTest("a requester that reads nothing loses answers, others get theirs", async (port) => {
  await using peer = await openPeer(port);
  const channel = await peer.open();
  await channel.call("queue.declare", { queue: "requests" });
  await channel.call("basic.consume", { queue: "requests", noAck: true });
  const replyTo = "amq.rabbitmq.reply-to";
  const mute = await talkMutely(
    port,
    method(1, "basic.consume", { queue: replyTo, noAck: true }),
    method(1, "basic.publish", { routingKey: "requests" }),
    ...content(1, "", { replyTo }).slice(0, 1),
  );
  const asked = await channel.expectContent();
  const flooded = { routingKey: asked.properties.replyTo, mandatory: true };
  for (let i = 0; i < LOAD_BYTES / MB; i++) await channel.publish(flooded, new Uint8Array(MB));
  // What is dropped is returned, like an answer to a requester that is gone.
  await channel.expectContent("basic.return");

  await using other = await openPeer(port);
  const honest = await other.open();
  await honest.call("queue.declare", { queue: "others" });
  await honest.call("basic.consume", { queue: "others", noAck: true });
  await honest.call("basic.consume", { queue: replyTo, noAck: true });
  await honest.publish({ routingKey: "others" }, "ping", { replyTo });
  const request = await honest.expectContent();
  await honest.publish({ routingKey: request.properties.replyTo }, "pong");
  assertEquals((await honest.expectContent()).text, "pong");
  mute.close();
  await other.close();
  await peer.close();
});
