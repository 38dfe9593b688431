/** Disks that are full, almost full or read-only, and data that cannot be used. */
import { assert, assertEquals, assertGreater, assertMatch, assertRejects } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import type { TestProcess } from "../support/process.ts";
import { openPeer, type PeerChannel } from "../support/protocol_peer.ts";
import { tempDir } from "../support/temp.ts";
import { mountDisk, mountMissing, type SmallDisk } from "../support/tmpfs.ts";
import { unless } from "../support/unless.ts";
import { portOf, startProcess } from "./harness.ts";

const PERSISTENT = { deliveryMode: 2 };
const BODY_BYTES = 10_000;
const BACKLOG = 3_000;
/** It is stored in chunks. */
const LARGE_BYTES = 6_000_000;

function diskTest(
  name: string,
  fn: (disk: SmallDisk) => Promise<void>,
  megabytes = 12,
): void {
  Deno.test({
    ...unless(mountMissing, name),
    async fn() {
      await using disk = await mountDisk(megabytes);
      await fn(disk);
    },
  });
}

function startOn(disk: SmallDisk, limit: number): TestProcess {
  return startProcess(["--data", `${disk.path}/data`, "--disk-free-limit", `${limit}`]);
}

async function end(broker: TestProcess): Promise<void> {
  broker.kill();
  const { code, stderr } = await broker.ended();
  assertEquals(code, 0, stderr);
}

/** A channel for publishing with confirms, and the connection's own channel. */
async function publisher(port: number) {
  const peer = await openPeer(port);
  const channel = await peer.open();
  await channel.call("queue.declare", { queue: "tasks", durable: true });
  await channel.call("confirm.select");
  return { peer, channel, control: peer.channel(0) };
}

type Publisher = Awaited<ReturnType<typeof publisher>>;

/** A confirm has come, or the word that publishers are blocked. */
async function heard({ channel, control }: Pick<Publisher, "channel" | "control">) {
  while (channel.unread === 0 && control.unread === 0) await new Promise((r) => setTimeout(r, 1));
}

/** Publishes numbered messages until the broker blocks. @returns how many it confirmed */
async function fillUp(
  { channel, control }: Publisher,
  bytes = BODY_BYTES,
) {
  let sent = 0;
  for (let confirmed = 0;;) {
    await channel.publish({ routingKey: "tasks" }, `${sent++}`.padEnd(bytes), PERSISTENT);
    await heard({ channel, control });
    if (control.unread > 0) return { confirmed, sent };
    await channel.expect("basic.ack");
    confirmed++;
  }
}

async function drain(channel: PeerChannel): Promise<number[]> {
  const numbers: number[] = [];
  while (true) {
    await channel.send("basic.get", { queue: "tasks", noAck: true });
    const { name, args } = await channel.method();
    if (name === "basic.get-empty") return numbers;
    numbers.push(Number((await channel.readContent(args)).text));
  }
}

/** The same with a commit for each. */
async function drainSingly(channel: PeerChannel): Promise<number[]> {
  const numbers: number[] = [];
  await channel.call("tx.select");
  while (true) {
    await channel.send("basic.get", { queue: "tasks" });
    const { name, args } = await channel.method();
    if (name === "basic.get-empty") return numbers;
    numbers.push(Number((await channel.readContent(args)).text));
    await channel.send("basic.ack", { deliveryTag: args.deliveryTag });
    await channel.call("tx.commit");
  }
}

const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);

diskTest("a full disk blocks publishers until there is room, and loses nothing", async (disk) => {
  const ballast = `${disk.path}/ballast`;
  await Deno.writeFile(ballast, new Uint8Array(4_000_000));
  await using broker = startOn(disk, 0);
  const port = await portOf(broker);
  const client = await publisher(port);
  await using _peer = client.peer;
  const { confirmed, sent } = await fillUp(client);
  const { reason } = await client.control.expect("connection.blocked");
  assertEquals(reason, "cannot store: the disk is full");
  assertGreater(confirmed, 10);
  await broker.waitForLog(/error: publishers are blocked: the data file cannot be used/);

  // What was confirmed can be read meanwhile.
  await using reader = await openPeer(port);
  const channel = await reader.open();
  await channel.send("basic.get", { queue: "tasks" });
  assertEquals(Number((await channel.expectContent("basic.get-ok")).text), 0);
  await channel.call("channel.close");

  await Deno.remove(ballast);
  await client.control.expect("connection.unblocked");
  const ack = await client.channel.expect("basic.ack");
  assertEquals(ack.deliveryTag, sent);
  assertEquals(await drainSingly(await reader.open(2)), upTo(sent));
  assertEquals(client.control.unread, 0, "what is taken away makes no disk full");
  await client.peer.close();
  await reader.close();
  await end(broker);
});

diskTest(
  "on a full disk consumers declare what exists, and publishers go on when all is consumed",
  async (disk) => {
    // Another program fills it, for good.
    await using broker = startOn(disk, 0);
    const client = await publisher(await portOf(broker));
    await using _peer = client.peer;
    await client.channel.publish({ routingKey: "tasks" }, "0", PERSISTENT);
    await client.channel.expect("basic.ack");
    await Deno.writeFile(`${disk.path}/ballast`, new Uint8Array(20_000_000)).catch(() => {});
    const { sent } = await fillUp(client);
    await client.control.expect("connection.blocked");

    await using reader = await openPeer(await portOf(broker));
    const channel = await reader.open();
    const binding = { queue: "tasks", exchange: "amq.direct" };
    await channel.call("queue.declare", { queue: "tasks", durable: true });
    await channel.call("queue.declare", { queue: "own", exclusive: true });
    await channel.call("queue.bind", { ...binding, queue: "own" });
    await channel.call("queue.unbind", binding);
    assertEquals(await drain(channel), [0, ...upTo(sent)]);
    await client.control.expect("connection.unblocked");
    await client.channel.expect("basic.ack");
    await client.channel.publish({ routingKey: "tasks" }, "again", PERSISTENT);
    await client.channel.expect("basic.ack");
    await client.peer.close();
    await reader.close();
    await end(broker);
  },
);

diskTest(
  "kill -9 on a full disk: what was confirmed is there with the next start",
  async (disk) => {
    const ballast = `${disk.path}/ballast`;
    await Deno.writeFile(ballast, new Uint8Array(4_000_000));
    let confirmed = 0;
    {
      await using broker = startOn(disk, 0);
      const client = await publisher(await portOf(broker));
      await using _peer = client.peer;
      ({ confirmed } = await fillUp(client));
      broker.kill("SIGKILL");
      await broker.ended();
    }
    await using broker = startOn(disk, 0);
    await using peer = await openPeer(await portOf(broker));
    const channel = await peer.open();
    await channel.call("queue.declare", { queue: "tasks", durable: true });
    assertEquals((await drain(channel)).slice(0, confirmed), upTo(confirmed));
    await peer.close();
    await Deno.remove(ballast);
    await end(broker);
  },
);

diskTest(
  "publishers go on when the disk was only too full to delete purged messages",
  async (disk) => {
    const ballast = `${disk.path}/ballast`;
    await using broker = startOn(disk, 0);
    const client = await publisher(await portOf(broker));
    await using _peer = client.peer;
    const count = 8_000;
    for (let i = 0; i < count; i++) {
      await client.channel.publish({ routingKey: "tasks" }, "x".repeat(500), PERSISTENT);
    }
    for (let tag = 0; tag < count;) tag = (await client.channel.expect("basic.ack")).deliveryTag;
    await Deno.writeFile(ballast, new Uint8Array(32_000_000)).catch(() => {});
    const { size } = await Deno.stat(ballast);
    await Deno.truncate(ballast, size - 400_000);

    await client.channel.call("queue.purge", { queue: "tasks" });
    // Whether deleting fails depends on how long the log has been; what fits into it takes no room.
    await client.channel.publish({ routingKey: "tasks" }, "0", PERSISTENT);
    await heard(client);
    await Deno.remove(ballast);
    await client.channel.expect("basic.ack");
    if (client.control.unread > 0) {
      const { reason } = await client.control.expect("connection.blocked");
      assertEquals(reason, "cannot store: the disk is full");
      await client.control.expect("connection.unblocked");
    }
    await client.channel.publish({ routingKey: "tasks" }, "1", PERSISTENT);
    await client.channel.expect("basic.ack");
    await client.peer.close();
    await end(broker);
  },
);

diskTest(
  "a small disk is filled by messages, not by the log of small commits",
  async (disk) => {
    await using broker = startOn(disk, 0);
    const client = await publisher(await portOf(broker));
    await using _peer = client.peer;
    // Each has a commit, which writes many times as much to the log.
    const { confirmed, sent } = await fillUp(client, 2_000);
    assertGreater(confirmed * 2_000, 2_000_000);
    await client.control.expect("connection.blocked");
    await using reader = await openPeer(await portOf(broker));
    assertEquals(await drain(await reader.open()), upTo(sent));
    await client.control.expect("connection.unblocked");
    await client.peer.close();
    await reader.close();
    await end(broker);
  },
  7,
);

diskTest("an almost full disk blocks publishers, not consumers", async (disk) => {
  await using broker = startOn(disk, 6_000_000);
  const port = await portOf(broker);
  const client = await publisher(port);
  await using _peer = client.peer;
  const { sent } = await fillUp(client);
  assertEquals((await client.control.expect("connection.blocked")).reason, "low on disk");
  await using reader = await openPeer(port);
  const channel = await reader.open();
  // The file keeps its size, and yet there is room again.
  const numbers = await drain(channel);
  assert(numbers.length >= sent - 1, `${numbers.length} of ${sent}`);
  await client.control.expect("connection.unblocked");
  await client.channel.publish({ routingKey: "tasks" }, "1", PERSISTENT);
  await client.channel.expect("basic.ack");
  await client.peer.close();
  await reader.close();
  await end(broker);
});

diskTest(
  "a burst of large messages ends at the limit, not at the end of the disk",
  async (disk) => {
    await using broker = startOn(disk, 5_000_000);
    const client = await publisher(await portOf(broker));
    await using _peer = client.peer;
    const body = new Uint8Array(200_000);
    // More than the disk holds, sooner than it would be looked at by the clock.
    const burst = async () => {
      for (let i = 0; i < 100; i++) {
        await client.channel.publish({ routingKey: "tasks" }, body, PERSISTENT);
      }
    };
    const sending = burst().catch(() => {});
    assertEquals((await client.control.expect("connection.blocked")).reason, "low on disk");
    // What the broker had taken is stored, and nothing more comes.
    await using reader = await openPeer(await portOf(broker));
    const channel = await reader.open();
    const { messageCount } = await channel.call("queue.declare", { queue: "tasks", passive: true });
    assertGreater(messageCount, 0);
    // Of 12 MB, 5 are to be left; what was read in the turn that met the limit comes on top.
    assert(messageCount * body.length < 8_000_000, `${messageCount} messages`);
    broker.kill("SIGKILL");
    const { stderr } = await broker.ended();
    assert(!/data file cannot be used/.test(stderr), stderr);
    await sending;
  },
);

diskTest("a read-only disk refuses the start and keeps what is on it", async (disk) => {
  {
    await using broker = startOn(disk, 0);
    const client = await publisher(await portOf(broker));
    await using _peer = client.peer;
    await client.channel.publish({ routingKey: "tasks" }, "0", PERSISTENT);
    await client.channel.expect("basic.ack");
    await client.peer.close();
    await end(broker);
  }
  await disk.remount("ro");
  await using refused = startOn(disk, 0);
  const { code, stderr } = await refused.ended();
  assertEquals(code, 66, stderr);
  assertMatch(stderr, /^broker: cannot use the data file .*: it is read-only\n$/);
  await disk.remount("rw");
  await using broker = startOn(disk, 0);
  await using peer = await openPeer(await portOf(broker));
  assertEquals(await drain(await peer.open()), [0]);
  await peer.close();
  await end(broker);
});

/** Data with a backlog, of a broker that was killed: most of it is in the write-ahead log. */
async function makeData(folder: string, kill: boolean): Promise<void> {
  await using broker = startProcess(["--data", folder]);
  await using peer = await openPeer(await portOf(broker));
  const channel = await peer.open();
  await channel.call("queue.declare", { queue: "tasks", durable: true });
  await channel.call("confirm.select");
  for (let i = 0; i < BACKLOG; i++) {
    await channel.publish({ routingKey: "tasks" }, `${i}`.padEnd(100), PERSISTENT);
  }
  for (let tag = 0; tag < BACKLOG;) tag = (await channel.expect("basic.ack")).deliveryTag;
  if (!kill) await peer.close();
  broker.kill(kill ? "SIGKILL" : "SIGTERM");
  await broker.ended();
}

/** Overwrites bytes of a file. */
async function damage(path: string, at: number, length: number): Promise<void> {
  using file = await Deno.open(path, { write: true });
  await file.seek(at, Deno.SeekMode.Start);
  await file.write(new Uint8Array(length).fill(0xa5));
}

diskTest(
  "a disk that is full in the middle of a large body blocks its publisher until there is room",
  async (disk) => {
    await using broker = startOn(disk, 0);
    const port = await portOf(broker);
    const client = await publisher(port);
    await using _peer = client.peer;
    const { confirmed, sent } = await fillUp(client, LARGE_BYTES);
    assertGreater(confirmed, 1);
    await client.control.expect("connection.blocked");
    await using peer = await openPeer(port);
    const reader = await peer.open();
    assertEquals(await drainSingly(reader), upTo(confirmed));
    // What it could not store is not lost, and goes on by itself.
    await client.channel.expect("basic.ack");
    assertEquals(await drainSingly(reader), [sent - 1]);
    await end(broker);
  },
  40,
);

diskTest(
  "on a full disk publishers go on when the one has gone whose large body has no room",
  async (disk) => {
    await using broker = startOn(disk, 0);
    const port = await portOf(broker);
    const client = await publisher(port);
    await using _peer = client.peer;
    {
      // Who is blocked is not read: only what is sent to him tells that he is gone.
      await using other = await openPeer(port, { heartbeat: 1 });
      const channel = await other.open();
      await channel.call("confirm.select");
      await channel.publish({ routingKey: "tasks" }, "0".padEnd(50_000_000), PERSISTENT);
      await other.channel(0).expect("connection.blocked");
      await client.channel.publish({ routingKey: "tasks" }, "1", PERSISTENT);
      await client.control.expect("connection.blocked");
    }
    await client.channel.expect("basic.ack");
    await end(broker);
  },
  40,
);

Deno.test("a data file with a damaged beginning is refused", async () => {
  await using dir = await tempDir();
  await makeData(dir.path, false);
  await damage(dir.file("broker.db"), 0, 100);
  await using broker = startProcess(["--data", dir.path]);
  const { code, stderr } = await broker.ended();
  assertEquals(code, 65);
  assertMatch(
    stderr,
    /^broker: cannot use the data file .*: it is damaged or not a data file.*\n$/,
  );
});

Deno.test("a write-ahead log whose data file is missing or empty is refused and kept", async () => {
  await using dir = await tempDir();
  await makeData(dir.path, true);
  const log = await Deno.readFile(dir.file("broker.db-wal"));
  for (const harm of [Deno.truncate, Deno.remove]) {
    await harm(dir.file("broker.db"));
    await using broker = startProcess(["--data", dir.path]);
    const { code, stderr } = await broker.ended();
    assertEquals(code, 66);
    assertMatch(
      stderr,
      /^broker: cannot use the data file .*broker.db: it is missing or empty, and there is .*-wal.*\n$/,
    );
    assertEquals(await Deno.readFile(dir.file("broker.db-wal")), log);
  }
});

Deno.test("a start that was killed before its first write is no obstacle", async () => {
  await using dir = await tempDir();
  await Deno.writeFile(dir.file("broker.db"), new Uint8Array());
  await using broker = startProcess(["--data", dir.path]);
  await portOf(broker);
  await end(broker);
});

Deno.test("transient messages of a broker that was killed do not stay on the disk", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(dir.file("scratch.db"), "left behind");
  await using broker = startProcess(["--data", dir.path]);
  await portOf(broker);
  await assertRejects(() => Deno.stat(dir.file("scratch.db")), Deno.errors.NotFound);
  await end(broker);
});

Deno.test("a broker that cannot remove its scratch file any more ends nevertheless", async () => {
  await using dir = await tempDir();
  await using broker = startProcess(["--data", dir.path]);
  await portOf(broker);
  await Deno.mkdir(dir.file("scratch.db/in-the-way"), { recursive: true });
  await end(broker);
});

Deno.test("when the data file is deleted or moved away, publishers are blocked until it is back", async () => {
  await using dir = await tempDir();
  await using broker = startProcess(["--data", dir.file("data"), "--disk-free-limit", "0"]);
  const client = await publisher(await portOf(broker));
  await using _peer = client.peer;
  await client.channel.publish({ routingKey: "tasks" }, "0", PERSISTENT);
  await client.channel.expect("basic.ack");
  await Deno.rename(dir.file("data"), dir.file("elsewhere"));
  await broker.waitForLog(/publishers are blocked: the data file is not where it was/);
  await client.channel.publish({ routingKey: "tasks" }, "1", PERSISTENT);
  const { reason } = await client.control.expect("connection.blocked");
  assertEquals(reason, "cannot store: the data file was moved or deleted");
  await Deno.rename(dir.file("elsewhere"), dir.file("data"));
  await client.control.expect("connection.unblocked");
  await client.channel.expect("basic.ack");
  await client.peer.close();
  await end(broker);
});

Deno.test("a folder whose name looks like a URI of SQLite is a folder", async () => {
  await using dir = await tempDir();
  const data = "file:data?mode=memory&ignored=";
  await using broker = startProcess(["--data", data], { cwd: dir.path });
  await portOf(broker);
  assertGreater((await Deno.stat(`${dir.path}/${data}/broker.db`)).size, 0);
  await end(broker);
});

Deno.test("a data file of a newer version is refused", async () => {
  await using dir = await tempDir();
  await makeData(dir.path, false);
  const database = new DatabaseSync(dir.file("broker.db"));
  database.exec("PRAGMA user_version = 1000");
  database.close();
  await using broker = startProcess(["--data", dir.path]);
  const { code, stderr } = await broker.ended();
  assertEquals(code, 65);
  assertMatch(
    stderr,
    /^broker: cannot use .*: it has version 1000, this broker knows up to \d+\n$/,
  );
});

Deno.test("another program's SQLite file is refused, and not a byte of it changed", async () => {
  await using dir = await tempDir();
  const path = dir.file("broker.db");
  for (const foreign of ["", "PRAGMA user_version = 3", "PRAGMA user_version = 4"]) {
    const database = new DatabaseSync(path);
    database.exec(`CREATE TABLE IF NOT EXISTS user(name TEXT); ${foreign}`);
    database.close();
    const bytes = await Deno.readFile(path);
    await using broker = startProcess(["--data", dir.path]);
    const { code, stderr } = await broker.ended();
    assertEquals(code, 65);
    assertEquals(stderr, "broker: cannot use this data: it is a SQLite file of another program\n");
    assertEquals(await Deno.readFile(path), bytes);
  }
});

/** Numbers that a broker gives out of damaged data, as far as it goes. */
async function salvage(port: number): Promise<number[]> {
  await using peer = await openPeer(port);
  const numbers = await drain(await peer.open());
  await peer.close();
  return numbers;
}

Deno.test("a data file damaged in its middle: the rest is given out, nothing is taken", async () => {
  await using dir = await tempDir();
  await makeData(dir.path, false);
  const { size } = await Deno.stat(dir.file("broker.db"));
  await damage(dir.file("broker.db"), size / 2, 40_960);
  await using broker = startProcess(["--data", dir.path]);
  const port = await portOf(broker);
  const client = await publisher(port);
  await using _peer = client.peer;
  const numbers = await salvage(port);
  assertGreater(numbers.length, 100);
  assert(numbers.length < BACKLOG);
  await broker.waitForLog(/publishers are blocked: the data file cannot be used.*it is damaged/);
  await client.channel.publish({ routingKey: "tasks" }, "0", PERSISTENT);
  const { reason } = await client.control.expect("connection.blocked");
  assertEquals(reason, "cannot store: it is damaged");
  broker.kill("SIGKILL");
  await broker.ended();
});

Deno.test("messages that cannot be read do not stop the others of their queues", async () => {
  await using dir = await tempDir();
  const count = 20;
  const size = 40_000;
  const letters = { "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead" };
  {
    await using broker = startProcess(["--data", dir.path]);
    await using peer = await openPeer(await portOf(broker));
    const channel = await peer.open();
    await channel.call("queue.declare", { queue: "dead", durable: true });
    await channel.call("queue.declare", { queue: "get", durable: true });
    await channel.call("queue.declare", { queue: "consume", durable: true });
    await channel.call("queue.declare", { queue: "expire", durable: true, arguments: letters });
    for (let i = 0; i < count; i++) {
      const body = new Uint8Array(size).fill(65 + i);
      for (const queue of ["get", "consume", "expire"]) {
        const time = queue === "expire" ? { expiration: "3000" } : {};
        await channel.publish({ routingKey: queue }, body, { ...PERSISTENT, ...time });
      }
    }
    await peer.close();
    await end(broker);
  }
  // A page of a long row begins with the number of the next one.
  const path = dir.file("broker.db");
  const bytes = await Deno.readFile(path);
  let damaged = 0;
  for (let at = 0; at < bytes.length; at += 4096) {
    if (!bytes.subarray(at + 4, at + 4096).every((byte) => byte === 65 + 5)) continue;
    bytes.fill(0xff, at, at + 4);
    damaged++;
  }
  assertGreater(damaged, 10);
  await Deno.writeFile(path, bytes);

  await using broker = startProcess(["--data", dir.path]);
  await using peer = await openPeer(await portOf(broker));
  const channel = await peer.open();
  const readable = Array.from({ length: count }, (_, i) => 65 + i).filter((byte) =>
    byte !== 65 + 5
  );
  const seen: number[] = [];
  for (;;) {
    await channel.send("basic.get", { queue: "get", noAck: true });
    const { name, args } = await channel.method();
    if (name === "basic.get-empty") break;
    seen.push((await channel.readContent(args)).body[0]!);
  }
  assertEquals(seen, readable, "by basic.get");
  for (const queue of ["consume", "dead"]) {
    await channel.call("basic.consume", { queue, noAck: true });
    const first = [];
    for (const _ of readable) first.push((await channel.expectContent()).body[0]!);
    assertEquals(first, readable, queue);
  }
  await peer.close();
  broker.kill();
  assertEquals((await broker.ended()).code, 0);
});
