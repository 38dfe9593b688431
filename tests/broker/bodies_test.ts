/** Very large bodies are stored in chunks, which go with the last message that has them. */
import { assert, assertEquals } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { checkUp } from "../../src/broker/store/still/checkup.ts";
import { CHUNK_BYTES, CHUNKED_FROM } from "../../src/broker/message/stored_body.ts";
import type { Store } from "../../src/broker/store/store.ts";
import { openPeer, type PeerChannel } from "../support/protocol_peer.ts";
import { tempDir } from "../support/temp.ts";
import { waitUntil } from "../support/wait.ts";
import { portOf, startHere, startProcess } from "./harness.ts";

const SIZE = 9_000_001;
/** That goes into the store in chunks, too. */
const TRANSIENT_SIZE = 17_000_001;
const PERSISTENT = { deliveryMode: 2 };

/** Of which no two parts are the same. */
function bodyOf(size: number, seed = 1): Uint8Array {
  const words = new Uint32Array(Math.ceil(size / 4));
  for (let at = 0; at < words.length; at++) words[at] = Math.imul(at + seed, 0x9e3779b1);
  return new Uint8Array(words.buffer, 0, size);
}

async function withBroker(
  folder: string | undefined,
  use: (channel: PeerChannel, port: number) => Promise<void>,
) {
  await using broker = await startHere(folder === undefined ? {} : { folder });
  await using peer = await openPeer(broker.port);
  await use(await peer.open(), broker.port);
}

async function put(channel: PeerChannel, body: Uint8Array, args = {}, properties = {}) {
  await channel.publish({ routingKey: "q", ...args }, body, { ...PERSISTENT, ...properties });
  await channel.expect("basic.ack");
}

async function take(channel: PeerChannel, queue = "q"): Promise<Uint8Array> {
  await channel.send("basic.get", { queue, noAck: true });
  return (await channel.expectContent("basic.get-ok")).body;
}

function assertSame(actual: Uint8Array, expected: Uint8Array): void {
  assertEquals(actual.length, expected.length);
  const at = actual.findIndex((byte, index) => byte !== expected[index]);
  assert(at < 0, `byte ${at} is another one`);
}

interface Stored {
  bodies: number;
  copies: number;
  chunks: number;
}

function stored(path: string): Stored {
  const database = new DatabaseSync(path);
  try {
    return database.prepare(
      `SELECT count(*) bodies, coalesce(sum(copies), 0) copies,
         (SELECT count(*) FROM chunk) chunks FROM shared`,
    ).get() as unknown as Stored;
  } finally {
    database.close();
  }
}

const NOTHING: Stored = { bodies: 0, copies: 0, chunks: 0 };

/** Chunks go by and by, while a broker runs. */
async function untilNothingIsLeft(folder: string): Promise<void> {
  await using broker = await startHere({ folder });
  const { store } = broker.inside as unknown as { store: Store };
  await waitUntil("its chunks to go", () => !store.hasDiscarded);
  await broker[Symbol.asyncDispose]();
  assertEquals(stored(`${folder}/broker.db`), NOTHING);
}

Deno.test("a large body is stored in chunks, and read after a restart", async () => {
  await using dir = await tempDir();
  const path = dir.file("broker.db");
  const body = bodyOf(SIZE);
  await withBroker(dir.path, async (channel) => {
    await channel.call("queue.declare", { queue: "q", durable: true });
    await channel.call("confirm.select");
    await put(channel, body);
    await put(channel, bodyOf(10));
  });
  const chunks = Math.ceil(SIZE / CHUNK_BYTES);
  assertEquals(stored(path), { bodies: 1, copies: 1, chunks });
  await withBroker(dir.path, async (channel) => {
    const { messageCount } = await channel.call("queue.declare", { queue: "q", durable: true });
    assertEquals(messageCount, 2);
    await channel.send("basic.consume", { queue: "q", noAck: true });
    await channel.expect("basic.consume-ok");
    assertSame((await channel.expectContent()).body, body);
    assertSame((await channel.expectContent()).body, bodyOf(10));
  });
  await untilNothingIsLeft(dir.path);
});

Deno.test("a large body that several queues have is stored once", async () => {
  await using dir = await tempDir();
  const path = dir.file("broker.db");
  const body = bodyOf(SIZE);
  await withBroker(dir.path, async (channel) => {
    for (const queue of ["a", "b", "c"]) {
      await channel.call("queue.declare", { queue, durable: true });
      await channel.call("queue.bind", { queue, exchange: "amq.fanout" });
    }
    // It takes what is transient there.
    await channel.call("queue.declare", { queue: "t" });
    await channel.call("queue.bind", { queue: "t", exchange: "amq.fanout" });
    await channel.call("confirm.select");
    await put(channel, body, { exchange: "amq.fanout" });
    assertSame(await take(channel, "a"), body);
    assertSame(await take(channel, "t"), body);
  });
  const chunks = Math.ceil(SIZE / CHUNK_BYTES);
  assertEquals(stored(path), { bodies: 1, copies: 2, chunks });
  await withBroker(dir.path, async (channel) => {
    await channel.call("queue.purge", { queue: "b" });
    assertSame(await take(channel, "c"), body);
  });
});

Deno.test("a transient large body is what was published", async () => {
  await withBroker(undefined, async (channel) => {
    await channel.call("queue.declare", { queue: "q" });
    await channel.call("confirm.select");
    for (const size of [SIZE, TRANSIENT_SIZE]) {
      for (const seed of [1, 2]) await put(channel, bodyOf(size, seed), {}, { deliveryMode: 1 });
      for (const seed of [1, 2]) assertSame(await take(channel), bodyOf(size, seed));
    }
  });
});

Deno.test("a large body that nobody takes leaves nothing", async () => {
  await using dir = await tempDir();
  await withBroker(dir.path, async (channel, port) => {
    const args = { "x-max-length": 0, "x-overflow": "reject-publish" };
    await channel.call("queue.declare", { queue: "full", durable: true, arguments: args });
    await channel.call("queue.declare", { queue: "q", durable: true });
    await channel.call("confirm.select");
    await channel.publish({ routingKey: "full" }, bodyOf(SIZE), PERSISTENT);
    await channel.expect("basic.nack");
    await channel.publish({ mandatory: true, routingKey: "none" }, bodyOf(SIZE), PERSISTENT);
    assertSame((await channel.expectContent("basic.return")).body, bodyOf(SIZE));
    await channel.expect("basic.ack");

    await using peer = await openPeer(port);
    const transacting = await peer.open();
    await transacting.call("tx.select");
    await transacting.publish({ routingKey: "q" }, bodyOf(SIZE), PERSISTENT);
    await transacting.call("tx.rollback");
    await transacting.publish({ routingKey: "q" }, bodyOf(SIZE), PERSISTENT);
    await transacting.call("queue.purge", { queue: "q" });
    await transacting.call("channel.close");
  });
  await untilNothingIsLeft(dir.path);
});

/** Of a broker that runs. */
async function untilSwept({ inside }: { inside: unknown }): Promise<void> {
  const { store } = inside as { store: Store };
  await waitUntil("what is nobody's to go", () => !store.hasDiscarded);
}

Deno.test("a dead letter that nobody takes leaves nothing of a large body", async () => {
  await using dir = await tempDir();
  {
    await using broker = await startHere({ folder: dir.path });
    await using peer = await openPeer(broker.port);
    const channel = await peer.open();
    const letters = { "x-dead-letter-exchange": "amq.fanout" };
    await channel.call("queue.declare", { queue: "q", durable: true, arguments: letters });
    await channel.call("confirm.select");
    await put(channel, bodyOf(SIZE));
    await channel.send("basic.get", { queue: "q" });
    const { args } = await channel.expectContent("basic.get-ok");
    await channel.send("basic.reject", { deliveryTag: args.deliveryTag, requeue: false });
    await channel.call("channel.close");
    await untilSwept(broker);
  }
  assertEquals(stored(dir.file("broker.db")), NOTHING);
});

Deno.test("a large body whose queue is deleted while it is stored leaves nothing", async () => {
  await using dir = await tempDir();
  const path = dir.file("broker.db");
  {
    await using broker = await startHere({ folder: dir.path });
    await using peer = await openPeer(broker.port);
    await using other = await openPeer(broker.port);
    const channel = await peer.open();
    const deleting = await other.open();
    await channel.call("queue.declare", { queue: "q", durable: true });
    await channel.call("confirm.select");
    const before = sizeWithLog(path);
    await channel.publish({ routingKey: "q" }, bodyOf(110_000_000), PERSISTENT);
    await waitUntil("some of it is written", () => sizeWithLog(path) > before + 20_000_000);
    assertEquals(channel.unread, 0);
    await deleting.call("queue.delete", { queue: "q" });
    await channel.expect("basic.ack");
    await untilSwept(broker);
  }
  assertEquals(stored(path), NOTHING);
});

Deno.test("a transient large body that is with a consumer of a deleted queue leaves nothing", async () => {
  await using dir = await tempDir();
  await using broker = await startHere({ folder: dir.path });
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  await channel.call("confirm.select");
  for (let n = 0; n < 3; n++) {
    await channel.call("queue.declare", { queue: "q" });
    await put(channel, bodyOf(TRANSIENT_SIZE), {}, { deliveryMode: 1 });
    await channel.send("basic.get", { queue: "q" });
    await channel.expectContent("basic.get-ok");
    await untilSwept(broker);
    await channel.call("queue.delete", { queue: "q" });
    await untilSwept(broker);
  }
  const { size } = await Deno.stat(dir.file("scratch.db"));
  assert(size < 2 * TRANSIENT_SIZE, `${size}`);
});

Deno.test("large bodies of a transaction are there with its commit", async () => {
  await using dir = await tempDir();
  await withBroker(dir.path, async (channel) => {
    await channel.call("queue.declare", { queue: "q", durable: true });
    await channel.call("tx.select");
    for (const seed of [1, 2]) {
      await channel.publish({ routingKey: "q" }, bodyOf(SIZE, seed), PERSISTENT);
    }
    const { messageCount } = await channel.call("queue.declare", { queue: "q", passive: true });
    assertEquals(messageCount, 0);
    await channel.call("tx.commit");
  });
  await withBroker(dir.path, async (channel) => {
    for (const seed of [1, 2]) assertSame(await take(channel), bodyOf(SIZE, seed));
  });
});

Deno.test("a dead letter has the large body of its message, which stays where it is", async () => {
  await using dir = await tempDir();
  await withBroker(dir.path, async (channel) => {
    const letters = { "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead" };
    await channel.call("queue.declare", { queue: "q", durable: true, arguments: letters });
    await channel.call("queue.declare", { queue: "dead", durable: true });
    await channel.call("confirm.select");
    await put(channel, bodyOf(SIZE));
    await channel.send("basic.get", { queue: "q" });
    const { args } = await channel.expectContent("basic.get-ok");
    await channel.send("basic.reject", { deliveryTag: args.deliveryTag, requeue: false });
    await waitUntil("it is dead", async () => {
      return (await channel.call("queue.declare", { queue: "dead", passive: true })).messageCount >
        0;
    });
  });
  const chunks = Math.ceil(SIZE / CHUNK_BYTES);
  assertEquals(stored(dir.file("broker.db")), { bodies: 1, copies: 1, chunks });
  await withBroker(dir.path, async (channel) => {
    assertSame(await take(channel, "dead"), bodyOf(SIZE));
  });
  await untilNothingIsLeft(dir.path);
});

Deno.test("a large body stays whole where its header becomes shorter", async () => {
  await using dir = await tempDir();
  const long = "x".repeat(255);
  // With one of them the longer address makes it a content in chunks, and the shorter one not.
  const bodies = [400, 800, 1200, 1600].map((less) => bodyOf(CHUNKED_FROM - less));
  await withBroker(dir.path, async (channel) => {
    const letters = (exchange: string, key: string) => ({
      "x-dead-letter-exchange": exchange,
      "x-dead-letter-routing-key": key,
    });
    await channel.call("exchange.declare", { exchange: long, type: "direct", durable: true });
    const there = letters(long, long);
    const back = letters("", "q");
    await channel.call("queue.declare", { queue: "q", durable: true, arguments: there });
    await channel.call("queue.declare", { queue: "r", durable: true, arguments: back });
    await channel.call("queue.bind", { queue: "r", exchange: long, routingKey: long });
    await channel.call("confirm.select");
    for (const body of bodies) {
      await put(channel, body);
      for (const queue of ["q", "r", "q", "r"]) await reject(channel, queue);
      await waitUntil("it is back", async () => {
        return (await channel.call("queue.declare", { queue: "q", passive: true })).messageCount >
          0;
      });
      assertSame(await take(channel), body);
    }
  });
  await untilNothingIsLeft(dir.path);
});

/** The next message of a queue, once there is one. */
async function reject(channel: PeerChannel, queue: string): Promise<void> {
  await waitUntil("it is there", async () => {
    return (await channel.call("queue.declare", { queue, passive: true })).messageCount > 0;
  });
  await channel.send("basic.get", { queue });
  const { args } = await channel.expectContent("basic.get-ok");
  await channel.send("basic.reject", { deliveryTag: args.deliveryTag, requeue: false });
}

Deno.test("a broker that is killed while it stores a large body forgets what there is of it", async () => {
  await using dir = await tempDir();
  const data = dir.file("data");
  await using broker = startProcess(["--data", data]);
  await using peer = await openPeer(await portOf(broker));
  const channel = await peer.open();
  await channel.call("queue.declare", { queue: "q", durable: true });
  await channel.call("confirm.select");
  await put(channel, bodyOf(SIZE));
  const path = `${data}/broker.db`;
  const before = sizeWithLog(path);
  await channel.publish({ routingKey: "q" }, bodyOf(110_000_000, 2), PERSISTENT);
  await waitUntil("some of it is written", () => sizeWithLog(path) > before + 20_000_000);
  broker.kill("SIGKILL");
  await broker.ended();
  const confirmed = channel.unread > 0;
  await withBroker(data, async (channel) => {
    const { messageCount } = await channel.call("queue.declare", { queue: "q", passive: true });
    assert(messageCount === 2 || (messageCount === 1 && !confirmed), `${messageCount}`);
    assertSame(await take(channel), bodyOf(SIZE));
    await channel.call("queue.purge", { queue: "q" });
  });
  await untilNothingIsLeft(data);
});

function sizeWithLog(path: string): number {
  return Deno.statSync(path).size + Deno.statSync(`${path}-wal`).size;
}

Deno.test("a damaged chunk is one message that cannot be read, and the others can", async () => {
  await using dir = await tempDir();
  const path = dir.file("broker.db");
  await withBroker(dir.path, async (channel) => {
    await channel.call("queue.declare", { queue: "q", durable: true });
    await channel.call("confirm.select");
    for (const seed of [1, 2, 3]) await put(channel, bodyOf(SIZE, seed));
  });
  const database = new DatabaseSync(path);
  const { id } = database.prepare("SELECT id + 5 id FROM chunk ORDER BY id LIMIT 1").get()!;
  database.prepare("UPDATE chunk SET bytes = zeroblob(length(bytes)) WHERE id = ?").run(id!);
  database.prepare("DELETE FROM chunk WHERE id = (SELECT max(id) FROM chunk)").run();
  database.close();
  const checked = await checkUp(dir.path);
  assertEquals(checked.queues.map(({ read, wrong }) => ({ read, wrong })), [{ read: 1, wrong: 2 }]);

  await using broker = await startHere({ folder: dir.path });
  {
    await using peer = await openPeer(broker.port);
    const channel = await peer.open();
    await channel.send("basic.consume", { queue: "q" });
    await channel.expect("basic.consume-ok");
    await channel.expect("basic.deliver");
    await peer.ended();
  }
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  await channel.send("basic.consume", { queue: "q" });
  await channel.expect("basic.consume-ok");
  assertSame((await channel.expectContent()).body, bodyOf(SIZE, 2));
  assert(broker.log.lines.some((line) => line.includes("a body has other bytes than were stored")));
});
