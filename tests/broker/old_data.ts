/**
 * What lies in the data files of tests/broker/fixtures, one of every version of the schema, each
 * written by the broker of its time and killed. A change of the schema adds a file:
 *
 *   deno run -A tests/broker/old_data.ts
 */
import { assertEquals } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { Case } from "../contract/contract.ts";
import { startBroker } from "../support/embedded.ts";
import { openPeer, type PeerChannel } from "../support/protocol_peer.ts";

export const FIXTURES = new URL("fixtures/", import.meta.url).pathname;

const PERSISTENT = { deliveryMode: 2 };
const LONG = 20_000;
const BYTES = Uint8Array.from({ length: 256 }, (_, i) => i);
const PRIORITIES = [1, 3, 5, 3];

/** Declares and publishes; some messages are delivered, returned, purged. */
async function fill(port: number): Promise<void> {
  const t = new Case("broker", port);
  await using peer = await openPeer(port);
  const channel = await peer.open();
  const alternate = { "alternate-exchange": "old.y" };
  await channel.call("exchange.declare", { exchange: "old.y", type: "fanout", durable: true });
  await channel.call("exchange.declare", {
    exchange: "old.x",
    type: "topic",
    durable: true,
    arguments: alternate,
  });
  const queues: [string, Record<string, string | number>][] = [
    ["old.work", { "x-queue-type": "quorum", "x-delivery-limit": 20 }],
    ["old.priority", { "x-max-priority": 5 }],
    ["old.purged", {}],
    ["old.fanout", {}],
  ];
  for (const [queue, args] of queues) {
    await channel.call("queue.declare", { queue, durable: true, arguments: args });
  }
  await fillNul(t, channel);
  await channel.call("queue.bind", { queue: "old.work", exchange: "old.x", routingKey: "a.#" });
  await channel.call("queue.bind", { queue: "old.fanout", exchange: "old.y" });
  await channel.call("exchange.bind", { source: "old.x", destination: "old.y", routingKey: "b" });

  const headers = { k: [1, "two"], empty: {} };
  await t.publish(
    channel,
    { exchange: "old.x", routingKey: "a.b" },
    { body: "first", properties: { ...PERSISTENT, messageId: "m1", headers } },
    { body: BYTES, properties: PERSISTENT },
    { body: new Uint8Array(LONG).fill(0x61), properties: PERSISTENT },
    { body: "", properties: { ...PERSISTENT, expiration: "300000000000" } },
  );
  await channel.send("basic.get", { queue: "old.work" });
  const { args } = await channel.expectContent("basic.get-ok");
  await channel.send("basic.nack", { deliveryTag: args.deliveryTag, requeue: true });
  const numbered = PRIORITIES.map((priority, i) => (
    { body: `${i}`, properties: { ...PERSISTENT, priority } }
  ));
  await t.publish(channel, { routingKey: "old.priority" }, ...numbered);
  await t.publish(channel, { routingKey: "old.purged" }, ...numbered);
  await channel.call("queue.purge", { queue: "old.purged" });
  await t.publish(channel, { routingKey: "old.purged" }, { body: "after", properties: PERSISTENT });
}

/** Names and keys with a NUL, which the files hold whole since ever, and old brokers read cut. */
const NUL_QUEUES = ["old.nul", "old.nul\0", "old.nul\0\0x"];
const NUL_KEYS = ["", "\0\0\0\x05", "\0"];
const FIRST_WITH_NUL = 3;

async function fillNul(t: Case, channel: PeerChannel): Promise<void> {
  await channel.call("exchange.declare", { exchange: "old\0x", type: "direct", durable: true });
  for (const [index, queue] of NUL_QUEUES.entries()) {
    await channel.call("queue.declare", { queue, durable: true });
    const routingKey = NUL_KEYS[index]!;
    await channel.call("queue.bind", { queue, exchange: "old\0x", routingKey });
    await t.publish(channel, { routingKey: queue }, { body: `${index}`, properties: PERSISTENT });
  }
}

async function checkNul(t: Case, channel: PeerChannel): Promise<void> {
  for (const routingKey of NUL_KEYS) {
    await channel.publish({ exchange: "old\0x", routingKey }, "routed");
  }
  for (const [index, queue] of NUL_QUEUES.entries()) {
    assertEquals(await t.drain(channel, queue), [`${index}`, "routed"]);
    await channel.call("queue.delete", { queue });
    await channel.call("queue.declare", { queue, durable: true });
  }
}

/**
 * Finds everything of {@link fill} again.
 * @param version of the schema, when the file was written
 */
export async function check(port: number, version: number): Promise<void> {
  const t = new Case("broker", port);
  await using peer = await openPeer(port);
  const channel = await peer.open();
  const next = async (queue: string) => {
    await channel.send("basic.get", { queue, noAck: true });
    return await channel.expectContent("basic.get-ok");
  };
  const first = await next("old.work");
  assertEquals([first.text, first.args.redelivered], ["first", true]);
  assertEquals([first.args.exchange, first.args.routingKey], ["old.x", "a.b"]);
  assertEquals(first.properties, {
    ...PERSISTENT,
    messageId: "m1",
    headers: { k: [1, "two"], empty: {}, "x-delivery-count": 1 },
  });
  assertEquals((await next("old.work")).body, BYTES);
  assertEquals((await next("old.work")).body.length, LONG);
  const empty = await next("old.work");
  assertEquals([empty.text, empty.properties.expiration], ["", "300000000000"]);
  assertEquals(await t.drain(channel, "old.work"), []);
  assertEquals(await t.drain(channel, "old.priority"), ["2", "1", "3", "0"]);
  assertEquals(await t.drain(channel, "old.purged"), ["after"]);
  await channel.publish({ exchange: "old.x", routingKey: "a.z" }, "routed");
  await channel.publish({ exchange: "old.x", routingKey: "b" }, "by exchange");
  await channel.publish({ exchange: "old.x", routingKey: "?" }, "by alternate");
  assertEquals(await t.drain(channel, "old.work"), ["routed"]);
  assertEquals(await t.drain(channel, "old.fanout"), ["by exchange", "by alternate"]);
  if (version >= FIRST_WITH_NUL) await checkNul(t, channel);
}

/** Makes the file of the present version, or replaces it. */
async function makeFixture(): Promise<void> {
  await using broker = await startBroker();
  await fill(broker.port);
  await broker.kill();
  const database = new DatabaseSync(`${broker.data}/broker.db`);
  database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  // It is copied while it is as it was when the broker was killed.
  database.exec("DELETE FROM in_use");
  const { user_version: version } = database.prepare("PRAGMA user_version").get()!;
  database.close();
  await Deno.copyFile(`${broker.data}/broker.db`, `${FIXTURES}v${version}.db`);
}

if (import.meta.main) await makeFixture();
