/** Data that were copied: of a broker that was ended, that was killed, and that went on meanwhile. */
import { assert, assertEquals, assertMatch, assertNotEquals, assertRejects } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { checksumOf, hasChecksum } from "../../src/broker/store/file/checksum.ts";
import { openPeer, type PeerChannel } from "../support/protocol_peer.ts";
import { Random } from "../support/random.ts";
import { tempDir } from "../support/temp.ts";
import { copies } from "./copies.ts";
import { portOf, startHere, startProcess } from "./harness.ts";

const PERSISTENT = { deliveryMode: 2 };
const COPY = /warn: the data are a copy .* they were checked and are whole/;
const NOT_WHOLE =
  /^broker: cannot use the data file .*: it was copied while a broker was using it, and is not whole \(.*\); end the broker before its folder is copied\n$/;

const QUEUES = ["a", "b"];

/** Messages of several pages that say in every byte whose they are. */
function bodyOf(queue: string): Uint8Array {
  return new Uint8Array(10_000).fill(queue.charCodeAt(0));
}

async function fill(channel: PeerChannel, count: number): Promise<void> {
  for (const queue of QUEUES) {
    await channel.call("queue.declare", { queue, durable: true });
    for (let i = 0; i < count; i++) {
      await channel.publish({ routingKey: queue }, bodyOf(queue), PERSISTENT);
      await channel.expect("basic.ack");
    }
  }
}

async function takeAll(port: number): Promise<number[]> {
  await using peer = await openPeer(port);
  const channel = await peer.open();
  const counts = [];
  for (const queue of QUEUES) {
    let count = 0;
    for (;; count++) {
      await channel.send("basic.get", { queue, noAck: true });
      const { name, args } = await channel.method();
      if (name === "basic.get-empty") break;
      assertEquals((await channel.readContent(args)).body, bodyOf(queue));
    }
    counts.push(count);
  }
  await peer.close();
  return counts;
}

async function copy(from: string, to: string): Promise<void> {
  await Deno.mkdir(to, { recursive: true });
  for (const { name } of Deno.readDirSync(from)) {
    await Deno.copyFile(`${from}/${name}`, `${to}/${name}`);
  }
}

Deno.test("a copy of a broker that was ended is as good as the original", async () => {
  await using dir = await tempDir();
  {
    await using broker = await startHere({ folder: dir.file("data") });
    await using peer = await openPeer(broker.port);
    const channel = await peer.open();
    await channel.call("confirm.select");
    await fill(channel, 5);
  }
  await copy(dir.file("data"), dir.file("copy"));
  await using broker = await startHere({ folder: dir.file("copy") });
  assertEquals(broker.log.lines, []);
  assertEquals(await takeAll(broker.port), [5, 5]);
});

Deno.test("a copy of a broker that was killed is checked and used; the original is not checked", async () => {
  await using dir = await tempDir();
  {
    await using broker = startProcess(["--data", dir.file("data")]);
    await using peer = await openPeer(await portOf(broker));
    const channel = await peer.open();
    await channel.call("confirm.select");
    await fill(channel, 5);
    broker.kill("SIGKILL");
    await broker.ended();
  }
  await copy(dir.file("data"), dir.file("copy"));
  for (const folder of ["copy", "data"]) {
    await using broker = startProcess(["--data", dir.file(folder)]);
    const port = await portOf(broker);
    assertEquals(broker.stderr.some((line) => COPY.test(line)), folder === "copy");
    assertEquals(await takeAll(port), [5, 5]);
    broker.kill();
    assertEquals((await broker.ended()).code, 0);
  }
});

Deno.test("a copy whose file and log are of different moments is refused", async () => {
  await using dir = await tempDir();
  await using broker = await startHere({ folder: dir.file("data") });
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  await channel.call("confirm.select");
  await fill(channel, 20);
  await Deno.mkdir(dir.file("copy"));
  await Deno.copyFile(dir.file("data/broker.db"), dir.file("copy/broker.db"));
  // The log is written into the file, and begins anew.
  await fill(channel, 900);
  await Deno.copyFile(dir.file("data/broker.db-wal"), dir.file("copy/broker.db-wal"));
  await using refused = startProcess(["--data", dir.file("copy")]);
  const { code, stderr } = await refused.ended();
  assertEquals(code, 65);
  assertMatch(stderr, NOT_WHOLE);
});

Deno.test("a copy in which messages have each other's bytes is refused", async () => {
  await using dir = await tempDir();
  {
    await using broker = startProcess(["--data", dir.file("data")]);
    await using peer = await openPeer(await portOf(broker));
    const channel = await peer.open();
    await channel.call("confirm.select");
    await fill(channel, 2);
    broker.kill("SIGKILL");
    await broker.ended();
  }
  const database = new DatabaseSync(dir.file("data/broker.db"));
  database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  database.close();
  await copy(dir.file("data"), dir.file("copy"));
  const path = dir.file("copy/broker.db");
  const bytes = await Deno.readFile(path);
  // A page in the middle of a body becomes one of another queue's body.
  for (let at = 0; at < bytes.length; at += 4096) {
    if (!bytes.subarray(at + 4, at + 4096).every((byte) => byte === 97)) continue;
    bytes.fill(98, at + 4, at + 4096);
    break;
  }
  await Deno.writeFile(path, bytes);
  await using refused = startProcess(["--data", dir.file("copy")]);
  const { code, stderr } = await refused.ended();
  assertEquals(code, 65);
  assertMatch(stderr, NOT_WHOLE);
  assertMatch(stderr, /a message has another one's bytes/);
});

Deno.test("copies made under load are found out, and whole or refused", async () => {
  const { whole, refused } = await copies({ messages: 400, bytes: 5_000, copies: 2 });
  assertEquals(whole + refused, 2);
});

Deno.test("a folder is for one broker, in one process too", async () => {
  await using dir = await tempDir();
  await using _broker = await startHere({ folder: dir.path });
  await assertRejects(
    () => startHere({ folder: dir.path }),
    Error,
    "another broker of this process is using it",
  );
  // The refusal has left the first one's lock alone.
  await using other = startProcess(["--data", dir.path]);
  const { code, stderr } = await other.ended();
  assertEquals(code, 75);
  assertMatch(stderr, /another process is using it/);
});

Deno.test("a checksum tells apart what differs in a byte, a length or an order", () => {
  const random = new Random(1);
  // Long ones have another sum.
  for (const length of [...Array(100).keys(), 2_047, 2_048, 5_001].slice(1)) {
    const bytes = Uint8Array.from({ length }, () => random.below(256));
    // Wherever it lies in its buffer.
    const shifted = new Uint8Array(length + 3);
    shifted.set(bytes, 3);
    assertEquals(checksumOf(shifted.subarray(3)), checksumOf(bytes));
    const others = new Set([checksumOf(bytes), checksumOf(shifted), checksumOf(bytes.subarray(1))]);
    const step = Math.ceil(length / 100);
    let changed = 0;
    for (let at = 0; at < length; at += step) {
      const other = bytes.with(at, bytes[at]! ^ (1 + random.below(255)));
      others.add(checksumOf(other));
      assert(!hasChecksum(other, checksumOf(bytes)));
      changed++;
    }
    assertEquals(others.size, changed + 3);
    assert(hasChecksum(bytes, checksumOf(bytes)));
  }
  const words = new Uint32Array([1, 2, 3, 4, 5, 6, 7, 8]);
  const swapped = new Uint32Array([5, 2, 3, 4, 1, 6, 7, 8]);
  assertNotEquals(
    checksumOf(new Uint8Array(words.buffer)),
    checksumOf(new Uint8Array(swapped.buffer)),
  );
});

Deno.test("the checksum that long messages had before is still known", () => {
  const bytes = Uint8Array.from({ length: 10_000 }, (_, at) => at * 7);
  const sum = -717_664_522;
  assert(hasChecksum(bytes, sum));
  assert(!hasChecksum(bytes.with(9_999, 0), sum));
});
