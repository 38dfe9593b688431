/** What a queue without duplicates has had, it knows after a restart, and after a power cut. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { Case } from "../contract/contract.ts";
import { type EmbeddedBroker, startBroker } from "../support/embedded.ts";
import { replayMessages, sendTask } from "../../src/broker/admin/actions.ts";
import { compose } from "../../src/broker/admin/compose.ts";
import { startHere } from "./harness.ts";
import { openPeer, type PeerChannel } from "../support/protocol_peer.ts";
import { tempDir } from "../support/temp.ts";

const QUEUE = { queue: "once", durable: true };
const ARGUMENTS = { "x-message-deduplication": true, "x-cache-size": 1_000 };

function propertiesOf(key: string) {
  return { deliveryMode: 2, headers: { "x-deduplication-header": key } };
}

function publish(channel: PeerChannel, key: string): Promise<void> {
  return channel.publish({ routingKey: "once" }, key, propertiesOf(key));
}

/** Publishes all, and waits until they are confirmed. */
async function publishAll(broker: EmbeddedBroker, keys: readonly string[]): Promise<void> {
  await using peer = await openPeer(broker.port);
  const messages = keys.map((key) => ({ body: key, properties: propertiesOf(key) }));
  await new Case("broker", broker.port)
    .publish(await peer.open(), { routingKey: "once" }, ...messages);
}

async function drain(broker: EmbeddedBroker): Promise<string[]> {
  await using peer = await openPeer(broker.port);
  return await new Case("broker", broker.port).drain(await peer.open(), "once");
}

async function declare(broker: EmbeddedBroker): Promise<void> {
  await using peer = await openPeer(broker.port);
  await (await peer.open()).call("queue.declare", { ...QUEUE, arguments: ARGUMENTS });
}

Deno.test("over an orderly restart and a kill the values are remembered, and end with the queue", async () => {
  await using broker = await startBroker();
  await declare(broker);
  await publishAll(broker, ["a", "b"]);
  assertEquals(await drain(broker), ["a", "b"]);
  await broker.restart();
  await publishAll(broker, ["a", "c"]);
  await broker.kill();
  await broker.start();
  await publishAll(broker, ["b", "c", "d"]);
  assertEquals(await drain(broker), ["c", "d"]);
  {
    await using peer = await openPeer(broker.port);
    await (await peer.open()).call("queue.delete", { queue: "once" });
  }
  await declare(broker);
  await publishAll(broker, ["a"]);
  assertEquals(await drain(broker), ["a"]);
  await broker.stop();
  const database = new DatabaseSync(`${broker.data}/broker.db`, { readOnly: true });
  assertEquals(database.prepare("SELECT count(*) n FROM seen").get()!["n"], 1);
  database.close();
});

Deno.test("killed at any moment, it has every message that is sent again exactly once", async () => {
  await using broker = await startBroker();
  await declare(broker);
  const keys = Array.from({ length: 900 }, (_, i) => `${i}`);
  for (let round = 0; round < 3; round++) {
    await using peer = await openPeer(broker.port);
    const channel = await peer.open();
    await channel.call("confirm.select");
    const mine = keys.slice(0, 300 * (round + 1));
    // One after the other, so that there are many commits.
    const sending = (async () => {
      for (const key of mine) await publish(channel, key);
    })().catch(() => {});
    for (let confirmed = 0; confirmed < 100 * round + 50;) {
      const ack = await channel.expect("basic.ack");
      confirmed = ack.multiple ? ack.deliveryTag : confirmed + 1;
    }
    await broker.kill();
    await sending;
    await broker.start();
  }
  await publishAll(broker, keys);
  const bodies = await drain(broker);
  assertEquals(bodies.toSorted((a, b) => Number(a) - Number(b)), keys);
});

Deno.test("a duplicate is confirmed when the first one is on disk", async () => {
  await using broker = await startBroker();
  await declare(broker);
  for (let round = 0; round < 5; round++) {
    await using first = await openPeer(broker.port);
    await using second = await openPeer(broker.port);
    const [without, confirmed] = [await first.open(), await second.open()];
    await confirmed.call("confirm.select");
    // Without confirms it waits for company.
    await Promise.all([publish(without, `${round}`), publish(confirmed, `${round}`)]);
    await confirmed.expect("basic.ack");
    await broker.kill();
    await broker.start();
    assertEquals(await drain(broker), [`${round}`]);
  }
  assert(broker.running);
});

Deno.test("a dead message stays where it is when its queue would drop it as a duplicate", async () => {
  await using broker = await startHere({});
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  const args = { "x-message-deduplication": true, "x-deduplication-header": "key" };
  await channel.call("queue.declare", { queue: "once", arguments: args });
  await channel.call("queue.declare", { queue: "once.dead" });
  await channel.call("confirm.select");
  for (const routingKey of ["once", "once.dead"]) {
    await channel.publish({ routingKey }, "x", { deliveryMode: 2, headers: { key: "a" } });
    await channel.expect("basic.ack");
  }
  const vhost = broker.inside.vhosts.get("/")!;
  const dead = vhost.findQueue("once.dead")!;
  const replay = replayMessages(vhost, dead, { all: true });
  let step = replay.next();
  while (!step.done) step = replay.next();
  const { failed, reason } = await step.value.whenSafe(broker.inside.groupCommit);
  assertEquals(failed, 1);
  assertEquals(reason, "queue once has had it, and drops duplicates");
  const record = {
    body: new Uint8Array(),
    extra: new Map(),
    properties: { headers: { key: "a" } },
  };
  assertThrows(
    () => sendTask(vhost, "once", record, { queue: dead, key: "0-1" }),
    Error,
    'queue "once" has had it, and drops duplicates: the message stays as it is',
  );
  assertEquals(dead.readyCount, 1);
});

Deno.test("the memory of a large message that its queue does not take is free at once", async () => {
  await using broker = await startHere({});
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  const full = { "x-max-length": 0, "x-overflow": "reject-publish" };
  const dying = { ...full, "x-overflow": "reject-publish-dlx", "x-dead-letter-exchange": "" };
  for (const [queue, args] of Object.entries({ once: ARGUMENTS, full, dying })) {
    await channel.call("queue.declare", { queue, arguments: args });
  }
  const vhost = broker.inside.vhosts.get("/")!;
  /** Bytes that are left of it in memory, when it was published to one queue. */
  const left = (name: string) => {
    const headers = { "x-deduplication-header": "a" };
    const publication = compose(name, new Uint8Array(100_000), { headers });
    vhost.findQueue(name)!.publish(publication);
    return publication.content.size;
  };
  assert(left("once") > 100_000);
  assertEquals([left("once"), left("full")], [0, 0]);
  // A dead letter has it.
  assert(left("dying") > 100_000);
});

Deno.test("what was dropped by hand is remembered as well", async () => {
  await using broker = await startHere({});
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  await channel.call("queue.declare", { queue: "once", arguments: ARGUMENTS });
  await channel.call("confirm.select");
  await publish(channel, "a");
  await channel.expect("basic.ack");
  const queue = broker.inside.vhosts.get("/")!.findQueue("once")!;
  assert(queue.remove(queue.messages.after(undefined, 1)[0]!));
  assertEquals([queue.readyCount, queue.messages.bytes], [0, 0]);
  await publish(channel, "a");
  await channel.expect("basic.ack");
  assertEquals(queue.readyCount, 0);
});

Deno.test("when all queues together remember too much, the one that has most forgets its oldest", async () => {
  await using broker = await startHere({ limits: { keyBytes: 300 * 300 } });
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  const publishTo = async (routingKey: string, keys: readonly string[]) => {
    const messages = keys.map((key) => ({ body: key, properties: propertiesOf(key) }));
    await new Case("broker", broker.port).publish(channel, { routingKey }, ...messages);
  };
  for (const queue of ["small", "large"]) {
    await channel.call("queue.declare", { queue, durable: true, arguments: ARGUMENTS });
  }
  const few = Array.from({ length: 20 }, (_, i) => `${i}`);
  const many = Array.from({ length: 900 }, (_, i) => `${i}`);
  await publishTo("small", few);
  await publishTo("large", many);
  await publishTo("small", few);
  await publishTo("large", [...many.slice(-100), "0"]);
  const counts = ["small", "large"].map(async (queue) =>
    (await channel.call("queue.purge", { queue })).messageCount
  );
  assertEquals(await Promise.all(counts), [20, 901]);
});

Deno.test("a value that a damaged file has twice is remembered once", async () => {
  await using dir = await tempDir();
  const publishTo = async ({ port }: { port: number }, ...keys: string[]) => {
    await using peer = await openPeer(port);
    const channel = await peer.open();
    await channel.call("queue.declare", { ...QUEUE, arguments: ARGUMENTS });
    const messages = keys.map((key) => ({ body: key, properties: propertiesOf(key) }));
    await new Case("broker", port).publish(channel, { routingKey: "once" }, ...messages);
  };
  {
    await using broker = await startHere({ folder: dir.path });
    await publishTo(broker, "a", "b");
  }
  const open = () => new DatabaseSync(`${dir.path}/broker.db`);
  const damaged = open();
  damaged.exec("INSERT INTO seen SELECT queue, id + 9, key, expires_at FROM seen");
  damaged.close();
  {
    await using broker = await startHere({ folder: dir.path });
    await publishTo(broker, "a", "c");
    assertEquals(broker.inside.vhosts.get("/")!.findQueue("once")!.readyCount, 3);
  }
  const database = open();
  assertEquals(database.prepare("SELECT count(*) n FROM seen").get()!["n"], 3);
  database.close();
});

/** @returns how many of what a queue had are still there when the broker is killed after it */
async function deleteAndKill(broker: EmbeddedBroker): Promise<number> {
  if (!broker.running) await broker.start();
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  const many = { ...ARGUMENTS, "x-cache-size": 100_000 };
  await channel.call("queue.declare", { ...QUEUE, arguments: many });
  await publishAll(broker, Array.from({ length: 4_000 }, (_, i) => `${i}`));
  await channel.call("queue.delete", { queue: "once" });
  await broker.kill();
  const database = new DatabaseSync(`${broker.data}/broker.db`);
  const count = (table: string) =>
    Number(database.prepare(`SELECT count(*) n FROM ${table}`).get()!["n"]);
  const left = count("seen");
  assertEquals(count("queue"), 0);
  // Closing would write what the kill has left in the log.
  database.close();
  return left;
}

Deno.test("what a deleted queue has had is deleted in pieces, over a kill too, and is not another's", async () => {
  await using broker = await startBroker();
  let left = 0;
  // The kill may come when all of them are gone.
  for (let tries = 0; left === 0; tries++) {
    assert(tries < 20, "all were deleted in one piece");
    left = await deleteAndKill(broker);
  }
  await broker.start();
  await declare(broker);
  await publishAll(broker, ["1"]);
  assertEquals(await drain(broker), ["1"]);
  await broker.stop();
});
