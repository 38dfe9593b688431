/**
 * Dead letters take little memory: those that were sent none, and of at-least-once letters without a
 * queue to go to it holds few; all come, in the order of their deaths, when there is a queue.
 */
import { assertEquals, assertLessOrEqual } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { Case } from "../contract/contract.ts";
import type { Store } from "../../src/broker/store/store.ts";
import { openPeer, type PeerChannel } from "../support/protocol_peer.ts";
import { tempDir } from "../support/temp.ts";
import { waitUntil } from "../support/wait.ts";
import { startHere } from "./harness.ts";

/** What memory may hold of them, and what it holds besides of each queue. */
const HERE = 100;
const OF_EACH = 16;

type Here = Awaited<ReturnType<typeof startHere>>;

function start(folder?: string): Promise<Here> {
  return startHere({
    ...(folder === undefined ? {} : { folder }),
    limits: { keptLetters: HERE },
  });
}

function argumentsTo(exchange: string, key?: string) {
  return {
    "x-queue-type": "quorum",
    "x-dead-letter-exchange": exchange,
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
    ...(key === undefined ? {} : { "x-dead-letter-routing-key": key }),
  };
}

function names(count: number, from = 0): string[] {
  return Array.from({ length: count }, (_, i) => `${i + from}`);
}

/** Publishes and rejects all, in an order of their own. */
async function kill(
  t: Case,
  channel: PeerChannel,
  queue: string,
  bodies: readonly string[],
  order = bodies,
  address: { exchange?: string; routingKey: string } = { routingKey: queue },
): Promise<void> {
  await t.publish(channel, address, ...bodies.map((body) => ({ body })));
  const { consumerTag } = await channel.call("basic.consume", { queue });
  const tags = new Map<string, number>();
  while (tags.size < bodies.length) {
    const { text, args } = await channel.expectContent();
    tags.set(text, args.deliveryTag as number);
  }
  if (order === bodies) {
    // All at once: many of them are on their way when memory has no room for more.
    await channel.send("basic.nack", { deliveryTag: 0, multiple: true, requeue: false });
  } else {
    for (const body of order) await channel.send("basic.reject", { deliveryTag: tags.get(body)! });
  }
  await channel.call("basic.cancel", { consumerTag });
}

async function take(channel: PeerChannel, queue: string, count: number): Promise<string[]> {
  const { consumerTag } = await channel.call("basic.consume", { queue, noAck: true });
  const found: string[] = [];
  while (found.length < count) found.push((await channel.expectContent()).text);
  await channel.call("basic.cancel", { consumerTag });
  return found;
}

function kept({ inside }: Here) {
  return inside.letters.kept;
}

async function untilKept(broker: Here, count: number): Promise<void> {
  await waitUntil(`${count} kept letters`, () => kept(broker).count === count);
}

Deno.test("memory holds some of the letters that are kept; all come in the order of their deaths, over a restart too", async () => {
  await using dir = await tempDir();
  const first = names(400);
  const backwards = names(300, 400);
  {
    await using broker = await start(dir.path);
    const t = new Case("broker", broker.port);
    await using peer = await openPeer(broker.port);
    const channel = await peer.open();
    const declare = (queue: string) =>
      channel.call("queue.declare", { queue, durable: true, arguments: argumentsTo("", "to") });
    for (const queue of ["one", "two"]) await declare(queue);
    await kill(t, channel, "one", first.slice(0, 20));
    await untilKept(broker, 20);
    await kill(t, channel, "one", first.slice(20));
    await untilKept(broker, 400);
    await kill(t, channel, "one", backwards, backwards.toReversed());
    await kill(t, channel, "two", names(50, 1_000));
    await untilKept(broker, 750);
    assertLessOrEqual(kept(broker).countHere, HERE + 2 * OF_EACH + 400);
    await peer.close();
  }
  await using broker = await start(dir.path);
  // Looked at before it has a turn.
  assertEquals([kept(broker).count, kept(broker).countHere], [750, 0]);
  const t = new Case("broker", broker.port);
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  await waitUntil("letters in memory", () => kept(broker).countHere >= HERE);
  assertLessOrEqual(kept(broker).countHere, HERE + 2 * OF_EACH);
  // What is dead is not ready, and what is published meanwhile is.
  await t.publish(channel, { routingKey: "one" }, { body: "live" });
  assertEquals(await t.drain(channel, "one"), ["live"]);
  await channel.call("queue.declare", { queue: "to", durable: true });
  const all = await take(channel, "to", 750);
  assertEquals(all.filter((body) => Number(body) < 1_000), [...first, ...backwards.toReversed()]);
  assertEquals(all.filter((body) => Number(body) >= 1_000), names(50, 1_000));
  assertEquals(kept(broker).count, 0);
  await kill(t, channel, "one", ["at once"]);
  assertEquals(await take(channel, "to", 1), ["at once"]);
});

Deno.test("letters that have a queue to go to do not wait for those that have none, few or many", async () => {
  await using broker = await start();
  const t = new Case("broker", broker.port);
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  await channel.call("exchange.declare", { exchange: "dlx", type: "direct" });
  const args = argumentsTo("dlx");
  for (const queue of ["a", "b"]) {
    await channel.call("queue.declare", { queue, durable: true, arguments: args });
  }
  await channel.call("queue.declare", { queue: "to b" });
  await channel.call("queue.bind", { queue: "to b", exchange: "dlx", routingKey: "b" });
  await kill(t, channel, "a", names(3 * HERE));
  await untilKept(broker, 3 * HERE);
  await kill(t, channel, "b", names(3));
  assertEquals(await take(channel, "to b", 3), names(3));

  // Order is kept although there is room for one at a time.
  await channel.call("queue.declare", {
    queue: "to a",
    arguments: {
      "x-max-length": 1,
      "x-overflow": "reject-publish",
    },
  });
  await channel.call("queue.bind", { queue: "to a", exchange: "dlx", routingKey: "a" });
  await untilKept(broker, 3 * HERE - 1);
  await channel.call("queue.unbind", { queue: "to a", exchange: "dlx", routingKey: "a" });
  assertEquals(await take(channel, "to a", 1), ["0"]);
  await channel.call("queue.delete", { queue: "to a" });
  await channel.call("queue.declare", { queue: "to a" });
  await channel.call("queue.bind", { queue: "to a", exchange: "dlx", routingKey: "a" });
  assertEquals(await take(channel, "to a", 3 * HERE - 1), names(3 * HERE - 1, 1));
});

Deno.test("a letter that waits alone, and was tried again, is not overtaken", async () => {
  await using broker = await start();
  const t = new Case("broker", broker.port);
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  for (const queue of ["a", "b"]) {
    const args = argumentsTo("", `to ${queue}`);
    await channel.call("queue.declare", { queue, durable: true, arguments: args });
    await kill(t, channel, queue, ["first"]);
  }
  await untilKept(broker, 2);
  await channel.call("queue.declare", { queue: "to b" });
  // It comes when all are tried again.
  await take(channel, "to b", 1);
  await channel.call("queue.declare", { queue: "to a" });
  await kill(t, channel, "a", ["second"]);
  assertEquals(await take(channel, "to a", 2), ["first", "second"]);
});

Deno.test("of letters that one queue takes and another does not each has one", async () => {
  await using broker = await start();
  const t = new Case("broker", broker.port);
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  await channel.call("exchange.declare", { exchange: "dlx", type: "fanout" });
  await channel.call("queue.declare", { queue: "q", durable: true, arguments: argumentsTo("dlx") });
  const full = { "x-max-length": 2, "x-overflow": "reject-publish" };
  await channel.call("queue.declare", { queue: "full", arguments: full });
  await channel.call("queue.declare", { queue: "open" });
  for (const queue of ["full", "open"]) {
    await channel.call("queue.bind", { queue, exchange: "dlx" });
  }
  const bodies = names(3 * HERE);
  await kill(t, channel, "q", bodies);
  await untilKept(broker, 3 * HERE - 2);
  assertEquals(await take(channel, "full", bodies.length), bodies);
  assertEquals(await take(channel, "open", bodies.length), bodies);
  assertEquals(await t.drain(channel, "open"), []);
});

Deno.test("a letter that the store refuses waits beside those in the table, and holds up none", async () => {
  await using dir = await tempDir();
  await using broker = await start(dir.path);
  const t = new Case("broker", broker.port);
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  for (const exchange of ["in", "dlx"]) {
    await channel.call("exchange.declare", { exchange, type: "direct" });
  }
  const quorum = { "x-queue-type": "quorum" };
  for (const [queue, args] of [["q", argumentsTo("dlx")], ["to", quorum]] as const) {
    await channel.call("queue.declare", { queue, durable: true, arguments: args });
  }
  const bind = (queue: string, exchange: string, routingKey: string) =>
    channel.call("queue.bind", { queue, exchange, routingKey });
  const killAs = (routingKey: string, bodies: readonly string[]) =>
    kill(t, channel, "q", bodies, bodies, { exchange: "in", routingKey });
  for (const routingKey of ["refused", "good"]) await bind("q", "in", routingKey);
  // The last ones in the table are fewer than are read at once.
  const bodies = names(2.5 * HERE);
  await killAs("refused", ["poison"]);
  await killAs("good", bodies.slice(0, HERE));
  await untilKept(broker, 1 + HERE);
  await killAs("good", bodies.slice(HERE));
  await untilKept(broker, 1 + bodies.length);
  const { database } = (broker.inside.store as Store).file;
  for (const table of ["message", "pack"]) {
    database.exec(`CREATE TEMP TRIGGER refuse_${table} BEFORE INSERT ON ${table}
      WHEN instr(NEW.content, CAST('poison' AS BLOB)) > 0
      BEGIN SELECT RAISE(ABORT, 'CHECK constraint failed: ${table}'); END`);
  }
  await bind("to", "dlx", "refused");
  await waitUntil("the refusal", () => broker.log.lines.some((line) => /^cannot store/.test(line)));
  await bind("to", "dlx", "good");
  await waitUntil("the others", async () => {
    return (await t.counts(channel, "to")).ready >= bodies.length;
  });
  await waitUntil("all to be tried", () => kept(broker).count === 0);
  await killAs("good", ["behind"]);
  await channel.call("basic.consume", { queue: "to", noAck: true });
  const found: string[] = [];
  while (found.at(-1) !== "behind") {
    const { text } = await channel.expectContent();
    // What is delivered before it is on disk promises nothing.
    if (text !== "poison") found.push(text);
  }
  assertEquals(found, [...bodies, "behind"]);
});

Deno.test("new letters do not keep those that wait for the same queue from being tried", async () => {
  // So many that memory is never full: then new ones would not come before them.
  await using broker = await startHere({ limits: { keptLetters: 1_000_000 } });
  const t = new Case("broker", broker.port);
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  for (const [exchange, type] of [["in", "fanout"], ["dlx", "direct"]] as const) {
    await channel.call("exchange.declare", { exchange, type });
  }
  for (
    const [queue, args] of [
      ["others", { ...argumentsTo("dlx"), "x-message-ttl": 0 }],
      ["q", argumentsTo("", "to")],
    ] as const
  ) {
    await channel.call("queue.declare", { queue, durable: true, arguments: args });
  }
  await channel.call("queue.bind", { queue: "others", exchange: "in" });
  // Each has an address of its own, and is tried first: so many that new letters come meanwhile.
  for (const routingKey of names(550)) {
    await t.publish(channel, { exchange: "in", routingKey }, { body: "other" });
  }
  await kill(t, channel, "q", ["first"]);
  await untilKept(broker, 551);
  await channel.call("queue.declare", { queue: "to" });
  await using other = await openPeer(broker.port);
  const consumer = await other.open();
  await consumer.call("basic.consume", { queue: "to", noAck: true });
  let isOver = false;
  const first = consumer.expectContent().finally(() => isOver = true);
  while (!isOver) await kill(t, channel, "q", ["more"]);
  assertEquals((await first).text, "first");
});

Deno.test("letters in a table that cannot be read for a while are not forgotten, and publishers wait only for as long", async () => {
  await using dir = await tempDir();
  const bodies = names(1.5 * HERE);
  const args = { ...argumentsTo("", "to"), "x-message-ttl": 0 };
  {
    await using broker = await start(dir.path);
    const t = new Case("broker", broker.port);
    await using peer = await openPeer(broker.port);
    const channel = await peer.open();
    await channel.call("queue.declare", { queue: "q", durable: true, arguments: args });
    await t.publish(channel, { routingKey: "q" }, ...bodies.map((body) => ({ body })));
    await untilKept(broker, bodies.length);
    await peer.close();
  }
  await using broker = await start(dir.path);
  const { database } = (broker.inside.store as Store).file;
  database.exec("ALTER TABLE dead RENAME TO away");
  await waitUntil("the fault", () => broker.log.lines.some((line) => /no such table/.test(line)));
  const t = new Case("broker", broker.port);
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  await channel.call("queue.declare", { queue: "to" });
  assertEquals(kept(broker).count, bodies.length);
  database.exec("ALTER TABLE away RENAME TO dead");
  await t.publish(channel, { routingKey: "q" }, { body: "new" });
  assertEquals(await take(channel, "to", bodies.length + 1), [...bodies, "new"]);
});

Deno.test("the letters go with their queue, from the table too", async () => {
  await using dir = await tempDir();
  {
    await using broker = await start(dir.path);
    const t = new Case("broker", broker.port);
    await using peer = await openPeer(broker.port);
    const channel = await peer.open();
    const queue = { queue: "gone", durable: true, arguments: argumentsTo("", "nowhere") };
    for (const count of [300, 5]) {
      await channel.call("queue.declare", queue);
      await kill(t, channel, "gone", names(count));
      await untilKept(broker, count);
      await channel.call("queue.delete", { queue: "gone" });
      await untilKept(broker, 0);
    }
    await channel.call("queue.declare", queue);
    await t.publish(channel, { routingKey: "gone" }, { body: "live" });
    await waitUntil("the upkeep", () => !(broker.inside.store as Store).hasDiscarded);
    await peer.close();
  }
  const database = new DatabaseSync(`${dir.path}/broker.db`, { readOnly: true });
  assertEquals(database.prepare("SELECT count(*) n FROM dead").get()!["n"], 0);
  assertEquals(database.prepare("SELECT count(*) n FROM message").get()!["n"], 1);
  database.close();
});

Deno.test("letters that were sent are forgotten, though more come all the time", async () => {
  await using broker = await start();
  const t = new Case("broker", broker.port);
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  await channel.call("queue.declare", { queue: "to" });
  const count = 6_000;
  const args = { "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "to" };
  await channel.call("queue.declare", { queue: "dying", arguments: args });
  const properties = { expiration: "1" };
  // The head lives as long as none is to die.
  const messages = [{ body: "head" }, ...names(count - 1).map((body) => ({ body, properties }))];
  await t.publish(channel, { routingKey: "dying" }, ...messages);
  await channel.send("basic.get", { queue: "dying" });
  const { args: { deliveryTag } } = await channel.expectContent("basic.get-ok");
  await channel.send("basic.reject", { deliveryTag: deliveryTag!, requeue: false });
  let most = 0;
  await waitUntil("all letters", async () => {
    most = Math.max(most, broker.inside.letters.count);
    return (await t.counts(channel, "to")).ready === count;
  });
  assertLessOrEqual(most, 3_000);
});
