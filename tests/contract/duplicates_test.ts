/** Queues that drop duplicates. RabbitMQ has that with a plugin, in part. */
import { assertEquals } from "@std/assert";
import type { PeerChannel } from "../support/protocol_peer.ts";
import type { Properties } from "../support/methods.ts";
import { waitUntil } from "../support/wait.ts";
import type { Table } from "../support/wire.ts";
import { type Case, contract } from "./contract.ts";

const HEADER = "x-deduplication-header";
const ONLY = { only: "broker" } as const;

/** Publishes a body for each key, which it is. */
async function put(
  t: Case,
  channel: PeerChannel,
  queue: string,
  keys: readonly (string | number)[],
  headers: Table = {},
  properties: Properties = {},
): Promise<void> {
  await t.publish(
    channel,
    { routingKey: queue, mandatory: true },
    ...keys.map((key) => ({
      body: `${key}`,
      properties: { deliveryMode: 2, ...properties, headers: { [HEADER]: key, ...headers } },
    })),
  );
}

contract("A message that the queue has had is confirmed, and dropped", async (t) => {
  const channel = await t.channel();
  for (const type of ["classic", "quorum"]) {
    const args = { "x-queue-type": type, "x-message-deduplication": true };
    const queue = await t.queue(channel, args);
    await put(t, channel, queue, ["a", "b", "a"]);
    await t.fill(channel, queue, "no key", "no key");
    assertEquals(await t.drain(channel, queue), ["a", "b", "no key", "no key"]);
    // It is remembered when its message has gone.
    await put(t, channel, queue, ["a", "c", "b", "c"]);
    assertEquals(await t.drain(channel, queue), ["c"]);
    await channel.call("queue.purge", { queue });
    await put(t, channel, queue, ["c", 1, "1", 1]);
    assertEquals(await t.drain(channel, queue), ["1", "1"]);
  }
}, ONLY);

contract("x-cache-size values are remembered, and 128 by default", async (t) => {
  const channel = await t.channel();
  const dedupe = { "x-message-deduplication": true };
  const small = await t.queue(channel, { ...dedupe, "x-cache-size": 2 });
  await put(t, channel, small, ["a", "b", "a", "c", "b", "a", "c"]);
  assertEquals(await t.drain(channel, small), ["a", "b", "c", "a"]);
  const queue = await t.queue(channel, dedupe);
  const keys = Array.from({ length: 129 }, (_, i) => i);
  await put(t, channel, queue, [...keys, ...keys.slice(1), ...keys.slice(0, 1)]);
  assertEquals((await t.drain(channel, queue)).length, 130);
}, ONLY);

contract("x-cache-ttl, of the queue or of a message, ends the remembering", async (t) => {
  const channel = await t.channel();
  const dedupe = { "x-message-deduplication": true };
  const queue = await t.queue(channel, { ...dedupe, "x-cache-ttl": 1 });
  await waitUntil("the value to be forgotten", async () => {
    await put(t, channel, queue, ["a"]);
    return (await t.counts(channel, queue)).ready >= 3;
  });
  await put(t, channel, queue, ["b"], { "x-cache-ttl": 1_000_000 });
  await put(t, channel, queue, ["b"]);
  assertEquals((await t.drain(channel, queue)).filter((body) => body === "b").length, 1);
}, ONLY);

contract("x-deduplication-header, as an argument, names another header", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel, { "x-message-deduplication": true, [HEADER]: "order" });
  await put(t, channel, queue, ["a", "a"]);
  await put(t, channel, queue, ["b", "c"], { order: 7 });
  assertEquals(await t.drain(channel, queue), ["a", "a", "b"]);
}, ONLY);

contract("A longer value than 255 bytes tells nothing", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel, { "x-message-deduplication": true });
  const [longest, longer] = ["x".repeat(255), "x".repeat(256)];
  await put(t, channel, queue, [longest, longest, longer, longer]);
  assertEquals((await t.drain(channel, queue)).map((body) => body.length), [255, 256, 256]);
}, ONLY);

contract("What is refused is not remembered, and a full queue drops a duplicate", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel, {
    "x-message-deduplication": true,
    "x-max-length": 1,
    "x-overflow": "reject-publish",
  });
  await put(t, channel, queue, ["a", "a"]);
  await channel.call("confirm.select");
  const publish = (key: string) =>
    channel.publish({ routingKey: queue }, key, { headers: { [HEADER]: key } });
  await publish("b");
  await channel.expect("basic.nack");
  assertEquals(await t.drain(channel, queue), ["a"]);
  await publish("b");
  await channel.expect("basic.ack");
  assertEquals(await t.drain(channel, queue), ["b"]);
}, ONLY);

contract("A dead letter that comes back is no duplicate; one from elsewhere may be", async (t) => {
  const channel = await t.channel();
  const queue = t.name();
  const back = { "x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue };
  const waiting = await t.queue(channel, { ...back, "x-message-ttl": 1 });
  await channel.call("queue.declare", {
    queue,
    durable: true,
    arguments: {
      "x-message-deduplication": true,
      "x-dead-letter-exchange": "",
      "x-dead-letter-routing-key": waiting,
    },
  });
  await channel.call("basic.consume", { queue, noAck: false });
  await put(t, channel, queue, ["a"]);
  const first = await channel.expectContent();
  await channel.send("basic.nack", { deliveryTag: first.args.deliveryTag, requeue: false });
  const again = await channel.expectContent();
  assertEquals(again.text, "a");
  await channel.send("basic.nack", { deliveryTag: again.args.deliveryTag, requeue: true });
  assertEquals((await channel.expectContent()).text, "a");
  await put(t, channel, waiting, ["a", "b"]);
  assertEquals((await channel.expectContent()).text, "b");
  await t.silent(channel, queue);
}, ONLY);

contract("A message that is stored is no duplicate of one that is not", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel, { "x-message-deduplication": true });
  await put(t, channel, queue, ["a", "a"], {}, { deliveryMode: 1 });
  await put(t, channel, queue, ["a", "a"]);
  await put(t, channel, queue, ["a"], {}, { deliveryMode: 1 });
  assertEquals(await t.drain(channel, queue), ["a", "a"]);
}, ONLY);

contract("The arguments of remembering are checked, and compared", async (t) => {
  const refused: [Table, string][] = [
    [{ "x-message-deduplication": 1 }, "x-message-deduplication"],
    [{ "x-cache-size": 0 }, "x-cache-size"],
    [{ "x-cache-size": 100_001 }, "x-cache-size"],
    [{ "x-cache-ttl": -1 }, "x-cache-ttl"],
    [{ [HEADER]: 3 }, HEADER],
  ];
  for (const [args, name] of refused) {
    const channel = await t.channel();
    await channel.send("queue.declare", { queue: t.name(), durable: true, arguments: args });
    await channel.expectClose(406, new RegExp(`^PRECONDITION_FAILED - invalid arg '${name}' for `));
  }
  const channel = await t.channel();
  const queue = await t.queue(channel, { "x-message-deduplication": true });
  await channel.send("queue.declare", { queue, durable: true });
  await channel.expectClose(406, /inequivalent arg 'x-message-deduplication'/);
}, ONLY);
