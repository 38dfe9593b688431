/** Messages that cannot be read, for good or for a while: the others go on, and none is forgotten. */
import { assert, assertEquals, assertGreater, assertRejects } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { listMessages } from "../../src/broker/admin/lookup.ts";
import { running } from "../../src/broker/admin/queues.ts";
import { DataFile } from "../../src/broker/store/file/data_file.ts";
import { LAST_POSITION } from "../../src/broker/store/file/message_row.ts";
import { StorageError } from "../../src/broker/store/file/storage_error.ts";
import { Store } from "../../src/broker/store/store.ts";
import { Unreadable } from "../../src/broker/store/messages/unreadable.ts";
import { openPeer, type PeerChannel } from "../support/protocol_peer.ts";
import { Random } from "../support/random.ts";
import { tempDir } from "../support/temp.ts";
import { portOf, startHere, startProcess } from "./harness.ts";

const PERSISTENT = { deliveryMode: 2 };
const PAGE = 4096;
const SMALL = 4_000;
const LARGE = 12;

const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);

/** Small messages in one queue, large ones in another, each with its number. */
async function makeData(folder: string): Promise<void> {
  await using broker = startProcess(["--data", folder]);
  await using peer = await openPeer(await portOf(broker));
  const channel = await peer.open();
  await channel.call("confirm.select");
  for (const queue of ["small", "large"]) {
    await channel.call("queue.declare", { queue, durable: true });
  }
  for (const i of upTo(SMALL)) {
    await channel.publish({ routingKey: "small" }, `${i} `.padEnd(100, "s"), PERSISTENT);
  }
  for (const i of upTo(LARGE)) {
    await channel.publish({ routingKey: "large" }, `${i} `.padEnd(40_000, "l"), PERSISTENT);
  }
  for (let tag = 0; tag < SMALL + LARGE;) tag = (await channel.expect("basic.ack")).deliveryTag;
  await peer.close();
  broker.kill();
  await broker.ended();
}

/** Overwrites pages. */
async function write(path: string, pages: Map<number, Uint8Array>): Promise<void> {
  using file = await Deno.open(path, { write: true });
  for (const [page, bytes] of pages) {
    await file.seek(page * PAGE, Deno.SeekMode.Start);
    await file.write(bytes);
  }
}

/** The first page of a table, counted from 0. */
function rootOf(path: string, table: string): number {
  // One that may write leaves no log behind.
  using database = new DatabaseSync(path);
  const row = database.prepare("SELECT rootpage FROM sqlite_schema WHERE name = ?").get(table);
  return Number(row!.rootpage) - 1;
}

/** The page with the last rows of a table whose rows fill several, counted from 0. */
async function lastPageOf(path: string, table: string): Promise<number> {
  const root = (await Deno.readFile(path)).subarray(rootOf(path, table) * PAGE);
  const view = new DataView(root.buffer, root.byteOffset, PAGE);
  const inner = [2, 5];
  assert(inner.includes(view.getUint8(0)), `${table} has pages below its first one`);
  return view.getUint32(8) - 1;
}

/** Pages with messages: runs of those with small ones, and the first of some large ones' own. */
async function pick(path: string): Promise<Map<number, Uint8Array>> {
  const bytes = await Deno.readFile(path);
  const found = new Map<string, number[]>([["s", []], ["l", []]]);
  for (let at = PAGE; at < bytes.length; at += PAGE) {
    const page = bytes.subarray(at, at + PAGE);
    for (const [letter, pages] of found) {
      const count = page.filter((byte) => byte === letter.charCodeAt(0)).length;
      if (count > PAGE / 2) pages.push(at / PAGE);
    }
  }
  const small = found.get("s")!;
  const large = found.get("l")!;
  assertGreater(small.length, 50);
  // Some alone, some together, and one of the last.
  const picked = [3, 5, ...upTo(20).map((i) => 20 + i), small.length - 5].map((i) => small[i]!)
    .concat([15, 16, 17, 70].map((i) => large[i]!));
  return new Map(picked.map((page) => [page, bytes.slice(page * PAGE, (page + 1) * PAGE)]));
}

async function take(channel: PeerChannel, queue: string): Promise<number[]> {
  const numbers: number[] = [];
  for (;;) {
    await channel.send("basic.get", { queue });
    const { name, args } = await channel.method();
    if (name === "basic.get-empty") return numbers;
    numbers.push(parseInt((await channel.readContent(args)).text));
  }
}

Deno.test("what cannot be read for a while comes when it can, and then publishers go on", async () => {
  await using dir = await tempDir();
  await makeData(dir.path);
  const path = dir.file("broker.db");
  const pages = await pick(path);
  await write(
    path,
    new Map([...pages.keys()].map((page) => [page, new Uint8Array(PAGE).fill(0xff)])),
  );
  {
    await using broker = startProcess(["--data", dir.path]);
    const port = await portOf(broker);
    await using peer = await openPeer(port);
    const channel = await peer.open();
    await channel.call("queue.declare", { queue: "other", durable: true });
    await channel.call("queue.bind", { queue: "other", exchange: "amq.fanout" });
    const seen = { small: await take(channel, "small"), large: await take(channel, "large") };
    for (const [queue, count] of [["small", SMALL], ["large", LARGE]] as const) {
      const numbers = seen[queue];
      assertGreater(numbers.length, count / 2, `${numbers.length} of ${queue}`);
      assert(numbers.length < count, "some are damaged");
      assertEquals(numbers, numbers.toSorted((one, other) => one - other));
      const { messageCount } = await channel
        .call("queue.declare", { queue, durable: true, passive: true });
      assertEquals(messageCount, count - numbers.length, "those that cannot be read are counted");
    }
    assertGreater(seen.small.at(-2)!, SMALL - 200, "what is behind the damage was read");
    await channel.publish({ routingKey: "other" }, "0", PERSISTENT);
    await peer.channel(0).expect("connection.blocked");

    // What was a passing fault of the disk is over.
    await write(path, pages);
    for (const [queue, count] of [["small", SMALL], ["large", LARGE]] as const) {
      const numbers = seen[queue];
      await channel.call("basic.consume", { queue });
      while (numbers.length < count) {
        numbers.push(parseInt((await channel.expectContent()).text));
      }
      assertEquals(numbers.toSorted((one, other) => one - other), upTo(count));
    }
    await peer.channel(0).expect("connection.unblocked");
    await channel.send("basic.ack", { deliveryTag: 0, multiple: true });
    await channel.call("queue.declare", { queue: "more", durable: true });
    await peer.close();
    broker.kill();
    const { code, stderr } = await broker.ended();
    assertEquals(code, 0);
    assertEquals(stderr.match(/error:/g)?.length, 1, stderr);
  }
  await using broker = startProcess(["--data", dir.path]);
  await using peer = await openPeer(await portOf(broker));
  const channel = await peer.open();
  for (const queue of ["small", "large"]) assertEquals(await take(channel, queue), []);
  await peer.close();
});

Deno.test("what is acknowledged and cannot be deleted keeps nobody else from being stored", async () => {
  await using dir = await tempDir();
  const count = 5_000;
  {
    await using broker = startProcess(["--data", dir.path]);
    await using peer = await openPeer(await portOf(broker));
    const channel = await peer.open();
    await channel.call("confirm.select");
    await channel.call("queue.declare", { queue: "rows", durable: true });
    for (const i of upTo(count)) {
      await channel.publish({ routingKey: "rows" }, `${i} `.padEnd(3_000, "l"), PERSISTENT);
    }
    for (let tag = 0; tag < count;) tag = (await channel.expect("basic.ack")).deliveryTag;
    await peer.close();
    broker.kill();
    await broker.ended();
  }
  {
    await using broker = startProcess(["--data", dir.path]);
    await using peer = await openPeer(await portOf(broker));
    const channel = await peer.open();
    await channel.call("basic.consume", { queue: "rows" });
    for (const i of upTo(count)) {
      assertEquals(parseInt((await channel.expectContent()).text), i);
    }
    // Pages of the first messages, which no memory has any more.
    const bytes = await Deno.readFile(dir.file("broker.db"));
    const bad = upTo(bytes.length / PAGE).filter((page) =>
      bytes.subarray(page * PAGE, (page + 1) * PAGE).filter((byte) => byte === 0x6c).length >
        PAGE / 2
    ).slice(12, 16);
    assertEquals(bad.length, 4);
    await write(
      dir.file("broker.db"),
      new Map(bad.map((page) => [page, new Uint8Array(PAGE).fill(0xff)])),
    );
    await channel.send("basic.ack", { deliveryTag: count - 1, multiple: true });
    // Its answer comes with the commit that has the acknowledgements.
    await channel.call("queue.declare", { queue: "other", durable: true });
    broker.kill("SIGKILL");
    await broker.ended();
  }
  await using broker = startProcess(["--data", dir.path]);
  await using peer = await openPeer(await portOf(broker));
  const channel = await peer.open();
  await channel.call("queue.declare", { queue: "other", durable: true, passive: true });
  assertEquals(await take(channel, "rows"), [count - 1]);
  await peer.close();
  broker.kill();
  assertEquals((await broker.ended()).code, 0);
});

Deno.test("keys and dead messages that cannot be read at the start are told, and publishers wait", async () => {
  await using dir = await tempDir();
  const queue = { queue: "once", durable: true, arguments: { "x-message-deduplication": true } };
  {
    await using broker = startProcess(["--data", dir.path]);
    await using peer = await openPeer(await portOf(broker));
    await (await peer.open()).call("queue.declare", queue);
    await peer.close();
    broker.kill();
    await broker.ended();
  }
  const path = dir.file("broker.db");
  // An old file would be brought into another form at the start, which damage must not stop.
  for (const [table, form] of [["seen", "INCREMENTAL"], ["dead", "NONE"]] as const) {
    const database = new DatabaseSync(path);
    database.exec(`PRAGMA journal_mode = DELETE; PRAGMA auto_vacuum = ${form}; VACUUM`);
    database.close();
    const page = rootOf(path, table);
    const whole = (await Deno.readFile(path)).slice(page * PAGE, (page + 1) * PAGE);
    await write(path, new Map([[page, new Uint8Array(PAGE).fill(0xff)]]));
    await using broker = startProcess(["--data", dir.path]);
    await using peer = await openPeer(await portOf(broker));
    const channel = await peer.open();
    await channel.publish({ routingKey: "once" }, "0", PERSISTENT);
    await peer.channel(0).expect("connection.blocked");
    broker.kill();
    const { stderr } = await broker.ended();
    assertEquals(stderr.match(/error:/g)?.length, 1, stderr);
    await write(path, new Map([[page, whole]]));
  }
});

Deno.test("without queues, exchanges and bindings that cannot be read the broker does not start", async () => {
  await using dir = await tempDir();
  new DataFile(dir.path).close();
  const path = dir.file("broker.db");
  const names = `WITH name(name) AS (
     SELECT CAST(printf('%0200d', value) AS BLOB) FROM json_each(?)) INSERT INTO`;
  const numbers = JSON.stringify(upTo(60));
  {
    using database = new DatabaseSync(path);
    const inserts = {
      exchange: "SELECT x'2f', name, 'direct', 0, 0, x'00000000' FROM name",
      queue: "SELECT NULL, x'2f', name, 0, x'00000000' FROM name",
      binding: "SELECT x'2f', name, 'queue', name, x'', x'00000000' FROM name",
    };
    for (const [table, rows] of Object.entries(inserts)) {
      database.prepare(`${names.replace("INSERT INTO", `INSERT INTO ${table}`)} ${rows}`)
        .run(numbers);
    }
  }
  for (const table of ["exchange", "queue", "binding"]) {
    const last = await lastPageOf(path, table);
    const whole = (await Deno.readFile(path)).slice(last * PAGE, (last + 1) * PAGE);
    await write(path, new Map([[last, new Uint8Array(PAGE).fill(0xff)]]));
    await assertRejects(() => startHere({ folder: dir.path }), StorageError, "it is damaged");
    await write(path, new Map([[last, whole]]));
  }
  await using broker = await startHere({ folder: dir.path });
  assertEquals([...broker.inside.vhosts.get("/")!.queues].length, 60);
});

/** Queues with rows of their own and rows of several messages, in pages of which few are shared. */
const ENDS = ["a", "b", "c"];
const PAGES = 4;

const sizeOf = (i: number) => i % 40 < 20 ? 300 : 1_200;

async function makeEnds(folder: string, count: number): Promise<void> {
  await using broker = await startHere({ folder });
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  await channel.call("confirm.select");
  for (const queue of ENDS) await channel.call("queue.declare", { queue, durable: true });
  for (const queue of ENDS) {
    for (const i of upTo(count)) {
      await channel.publish({ routingKey: queue }, `${i} `.padEnd(sizeOf(i), queue), PERSISTENT);
    }
  }
  for (let tag = 0; tag < ENDS.length * count;) {
    tag = (await channel.expect("basic.ack")).deliveryTag;
  }
  await peer.close();
}

/** Pages with messages of queues, and which of them. */
async function pagesOf(path: string): Promise<Map<number, Set<string>>> {
  const bytes = await Deno.readFile(path);
  const found = new Map<number, Set<string>>();
  for (let at = PAGE; at < bytes.length; at += PAGE) {
    const text = new TextDecoder("latin1").decode(bytes.subarray(at, at + PAGE));
    const queues = ENDS.filter((queue) => text.includes(queue.repeat(100)));
    if (queues.length > 0) found.set(at / PAGE, new Set(queues));
  }
  return found;
}

Deno.test("whichever page cannot be read, no new message gets the place of one in it", async () => {
  await using dir = await tempDir();
  const count = PAGES * 20;
  await makeEnds(dir.path, count);
  const path = dir.file("broker.db");
  const pages = await pagesOf(path);
  assertGreater(pages.size, 3 * PAGES);
  const whole = await Deno.readFile(path);
  const lasts = (isOld = false) => {
    if (isOld) {
      using database = new DatabaseSync(path);
      database.exec("UPDATE lane SET last_position = 0");
    }
    const store = new Store({ file: new DataFile(dir.path), onFailure: () => {} });
    const positions = store.lanes().map(({ lastPosition }) => lastPosition);
    store.close();
    return positions;
  };
  assertEquals(lasts(), ENDS.map(() => count));
  for (const table of ["message", "pack"]) pages.set(rootOf(path, table), new Set());
  for (const isOld of [false, true]) {
    let moved = 0;
    for (const page of pages.keys()) {
      await write(path, new Map([[page, new Uint8Array(PAGE).fill(0xff)]]));
      for (const last of lasts(isOld)) {
        assert(last >= count && last < LAST_POSITION / 4, `page ${page}: ${last}`);
        if (last > count) moved++;
      }
      await write(path, new Map([[page, whole.slice(page * PAGE, (page + 1) * PAGE)]]));
    }
    assertEquals(moved > 0, isOld);
  }
  assertEquals(lasts(), ENDS.map(() => count));
});

Deno.test("when the ends of queues cannot be read for a while, the broker starts and waits for them", async () => {
  await using dir = await tempDir();
  const count = PAGES * 20;
  await makeEnds(dir.path, count);
  const path = dir.file("broker.db");
  const bytes = await Deno.readFile(path);
  // Of each table the last page of a queue, the first one of the next queue, and the last of all.
  const bad = [...await pagesOf(path)].filter(([page, queues]) => {
    const text = new TextDecoder("latin1").decode(bytes.subarray(page * PAGE, (page + 1) * PAGE));
    const has = (queue: string, i: number) => text.includes(`${i} ${queue}`);
    const ends = [count - 1, count - 21].some((i) => has("a", i) || has("c", i));
    return ends || queues.has("b") && [0, 20].some((i) => has("b", i));
  });
  assertGreater(bad.length, 3);
  await write(path, new Map(bad.map(([page]) => [page, new Uint8Array(PAGE).fill(0xff)])));
  {
    await using broker = startProcess(["--data", dir.path]);
    await using peer = await openPeer(await portOf(broker));
    const channel = await peer.open();
    const seen = new Map<string, number[]>();
    for (const queue of ENDS) {
      seen.set(queue, []);
      await channel.send("basic.consume", { queue, noWait: true });
    }
    const next = async () => {
      const { args, text } = await channel.expectContent();
      seen.get(args.routingKey as string)!.push(parseInt(text));
    };
    const total = () => [...seen.values()].reduce((sum, { length }) => sum + length, 0);
    while (total() < count) await next();
    await write(
      path,
      new Map(bad.map(([page]) => [page, bytes.slice(page * PAGE, (page + 1) * PAGE)])),
    );
    while (total() < ENDS.length * count) await next();
    for (const [queue, numbers] of seen) {
      assertEquals(numbers.toSorted((one, other) => one - other), upTo(count), queue);
    }
    // Behind those that nobody has acknowledged.
    await using other = await openPeer(await portOf(broker));
    const publishing = await other.open();
    await publishing.call("confirm.select");
    for (const queue of ENDS) {
      await publishing.publish({ routingKey: queue }, `${count}`, PERSISTENT);
      await publishing.expect("basic.ack");
    }
    await other.close();
    broker.kill("SIGKILL");
    const { stderr } = await broker.ended();
    assertEquals(stderr.match(/error:/g)?.length, 1, stderr);
  }
  await using broker = await startHere({ folder: dir.path });
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  for (const queue of ENDS) assertEquals(await take(channel, queue), upTo(count + 1));
  await peer.close();
});

Deno.test("what can be read again piece by piece, at the end of a queue, comes once", async () => {
  await using dir = await tempDir();
  const count = PAGES * 20;
  await makeEnds(dir.path, count);
  const path = dir.file("broker.db");
  const bytes = await Deno.readFile(path);
  const alone = [...await pagesOf(path)].flatMap(([page, queues]) =>
    queues.size === 1 && queues.has("c") ? [page] : []
  );
  assertGreater(alone.length, 3);
  await write(path, new Map(alone.map((page) => [page, new Uint8Array(PAGE).fill(0xff)])));
  await using broker = startProcess(["--data", dir.path]);
  await using peer = await openPeer(await portOf(broker));
  const channel = await peer.open();
  await channel.send("basic.consume", { queue: "c", noWait: true });
  const seen: number[] = [];
  const next = async () => seen.push(parseInt((await channel.expectContent()).text));
  const mend = (pages: number[]) =>
    write(path, new Map(pages.map((page) => [page, bytes.slice(page * PAGE, (page + 1) * PAGE)])));
  const asking = await peer.open(2);
  const ready = async () =>
    (await asking.call("queue.declare", { queue: "c", passive: true })).messageCount as number;
  do await next(); while (seen.length + await ready() < count);
  // All that can be read has come; what can be read next lies behind it, and behind more that cannot.
  const before = seen.length;
  await mend(alone.slice(-1));
  while (seen.length === before) await next();
  await mend(alone);
  while (seen.length < count) await next();
  assertEquals(seen.toSorted((one, other) => one - other), upTo(count));
});

Deno.test("what cannot be read is known position by position", () => {
  const random = new Random(1);
  const most = 60;
  for (let round = 0; round < 50; round++) {
    const unreadable = new Unreadable();
    const known = new Set<number>();
    for (let step = 0; step < 30; step++) {
      const first = 1 + random.below(most);
      const last = Math.min(most, first + random.below(8));
      const isBad = random.below(3) > 0;
      if (isBad) unreadable.add(1, first, last);
      else unreadable.remove(1, first, last);
      for (let at = first; at <= last; at++) isBad ? known.add(at) : known.delete(at);
      const listed = unreadable.of(1).flatMap((range) =>
        Array.from({ length: range.last - range.first + 1 }, (_, i) => range.first + i)
      );
      assertEquals(listed, [...known].sort((one, other) => one - other));
      assertEquals(unreadable.isEmpty, known.size === 0);
      const after = random.below(most);
      let end = after;
      while (known.has(end + 1)) end++;
      assertEquals(unreadable.skip(1, after), end);
      assertEquals(unreadable.next(1, after), Math.min(...[...known].filter((at) => at > after)));
    }
  }
});

Deno.test("what is gone when somebody looks at it is not taken for damage", async () => {
  await using dir = await tempDir();
  // Memory has the first message that waits, and no other.
  await using broker = await startHere({ folder: dir.path, limits: { memoryBytes: 0 } });
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  await channel.call("confirm.select");
  let count = 0;
  const publish = async (queue: string, body: string) => {
    await channel.publish({ routingKey: queue }, body, PERSISTENT);
    count++;
    for (let tag = 0; tag < count;) tag = (await channel.expect("basic.ack")).deliveryTag;
  };
  for (const queue of ["settled", "deleted", "purged", "other"]) {
    await channel.call("queue.declare", { queue, durable: true });
    for (let n = 0; n < 3; n++) await publish(queue, queue.padEnd(20_000));
  }
  const deliveries = [];
  for (const queue of ["settled", "deleted"]) {
    await channel.call("basic.consume", { queue });
    for (let n = 0; n < 3; n++) deliveries.push(await channel.expectContent());
  }
  const queueOf = (name: string) => {
    return [...broker.inside.vhosts.get("/")!.queues].find((queue) => queue.name === name)!;
  };
  const runs = running(broker.inside, queueOf("settled"), 10);
  const list = listMessages(queueOf("purged"), "oldest", 10, undefined);
  for (const pieces of [runs, list]) assertEquals(pieces.next().done, false);
  for (const { args: { deliveryTag } } of deliveries.slice(0, 3)) {
    await channel.send("basic.ack", { deliveryTag });
  }
  await channel.call("queue.purge", { queue: "purged" });
  await (await peer.open(2)).call("queue.delete", { queue: "deleted" });
  await channel.expect("basic.cancel");
  // Behind the commit of all that.
  await publish("other", "");
  for (const pieces of [runs, list, running(broker.inside, undefined, 10)]) {
    while (pieces.next().done !== true);
  }
  assertEquals(broker.inside.alarms.reason, undefined);
});
