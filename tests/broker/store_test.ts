/** The store under a lane, without a broker around it. */
import { assertEquals, assertGreater, assertLess, assertRejects, assertThrows } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { Lane } from "../../src/broker/queue/lane.ts";
import { MemoryUse } from "../../src/broker/queue/memory_use.ts";
import { Content } from "../../src/broker/message/content.ts";
import type { Message, Publication } from "../../src/broker/message/message.ts";
import { LAST_LANE, LAST_POSITION } from "../../src/broker/store/file/message_row.ts";
import { DataFile } from "../../src/broker/store/file/data_file.ts";
import { Store } from "../../src/broker/store/store.ts";
import { Fault } from "../../src/broker/wire/faults.ts";
import { openPeer } from "../support/protocol_peer.ts";
import { Random } from "../support/random.ts";
import { tempDir } from "../support/temp.ts";
import { startHere } from "./harness.ts";

const NO_MEMORY = new MemoryUse(0);

function publication(text: string): Publication {
  const body = new TextEncoder().encode(text);
  const content = Content.join(new Uint8Array(2), new Uint8Array(), body);
  return { content, persistent: true, priority: 0, expiration: undefined };
}

function textOf(store: Store, message: Message): string {
  return new TextDecoder().decode((message.content ?? store.load(message)!).body);
}

function open(folder: string): Store {
  return new Store({
    file: new DataFile(folder),
    onFailure: (reason) => {
      if (reason !== undefined) throw new Error(reason);
    },
  });
}

/** More than are deleted at once when they are purged. */
const PURGED_ROWS = 1_000;

function fill(lane: Lane, count: number, text: (index: number) => string): void {
  for (let i = 0; i < count; i++) lane.append(publication(text(i)), 0, true);
}

/** Takes everything that a lane holds. */
function drain(store: Store, lane: Lane): string[] {
  const texts: string[] = [];
  while (lane.peek() !== undefined) {
    const message = lane.shift();
    texts.push(textOf(store, message));
    store.remove(message);
  }
  return texts;
}

function restored(store: Store): Lane {
  const [stored] = store.lanes();
  const lane = new Lane(store, NO_MEMORY, stored!.queue, stored!.priority, stored!.id);
  lane.restore(stored!);
  return lane;
}

Deno.test("a lane gives in order what it took, whatever was committed, returned, purged or restored in between", async () => {
  const random = new Random(3);
  for (let round = 0; round < 40; round++) {
    await using dir = await tempDir();
    let store = open(dir.path);
    let lane = new Lane(store, NO_MEMORY, 1, 0);
    /** What must still come, and what is out and unacknowledged. */
    let waiting: number[] = [];
    let out: Message[] = [];
    let next = 0;
    const numberOf = (message: Message) => Number(textOf(store, message).split(" ")[0]);
    for (let step = 0; step < 200; step++) {
      const roll = random.below(22);
      if (roll < 8) {
        // Sometimes more than are deleted at once when they are purged.
        for (let count = random.below(30) === 0 ? 300 : 1; count > 0; count--) {
          const size = random.below(20) === 0 ? 20_000 : random.below(200);
          const durable = random.below(3) > 0;
          lane.append(publication(`${next} `.padEnd(size, "x")), 0, durable);
          waiting.push(next++);
        }
      } else if (roll < 15) {
        if (lane.peek() === undefined) continue;
        const message = lane.shift();
        message.release();
        assertEquals(numberOf(message), waiting.shift());
        out.push(message);
      } else if (roll < 17) {
        for (const message of out.splice(0, random.below(5))) store.remove(message);
      } else if (roll < 18) {
        waiting.push(...out.map(numberOf));
        waiting.sort((one, other) => one - other);
        lane.putBack(out.splice(0));
      } else if (roll < 19) {
        store.commit();
      } else if (roll < 20) {
        assertEquals(lane.purge(), waiting.length);
        waiting = [];
      } else if (roll < 21) {
        store.sweep();
      } else {
        const durable = out.filter((message) => message.durable).map(numberOf);
        const transient = new Set(dropTransient(store, lane));
        waiting = [...waiting.filter((number) => !transient.has(number)), ...durable];
        waiting.sort((one, other) => one - other);
        store.commit();
        store.close();
        store = open(dir.path);
        if (store.lanes().length === 0) break;
        lane = restored(store);
        out = [];
      }
      assertEquals(lane.length, waiting.length);
    }
    store.close();
  }
});

/** Takes everything, and the transient ones away for good. */
function dropTransient(store: Store, lane: Lane): number[] {
  const messages: Message[] = [];
  while (lane.peek() !== undefined) messages.push(lane.shift());
  const gone = messages.filter((message) => !message.durable);
  const numbers = gone.map((message) => Number(textOf(store, message).split(" ")[0]));
  for (const message of gone) store.remove(message);
  return numbers;
}

Deno.test("a message that waits holds no memory but its own and that of a few beside it", async () => {
  await using dir = await tempDir();
  const store = open(dir.path);
  const lane = new Lane(store, new MemoryUse(Infinity), 1, 0);
  const sizes = [...Array(100).keys()].map((n) => n % 10 === 0 ? 3_000 : 10 + n);
  for (const [n, size] of sizes.entries()) {
    // As many are received, one behind another.
    const received = new Uint8Array(64 * 1024);
    const content = publication(`${n} `.padEnd(size, "x")).content;
    received.set(content.bytes, 500);
    const bytes = received.subarray(500, 500 + content.size);
    const arrived = new Content(bytes, content.addressLength, content.headerLength);
    const message = lane
      .append({ content: arrived, persistent: true, priority: 0, expiration: undefined }, 0, true);
    lane.keep(message);
    received.fill(0);
  }
  for (const [n, size] of sizes.entries()) {
    const left = lane.length;
    const message = lane.shift();
    assertEquals(textOf(store, message), `${n} `.padEnd(size, "x"));
    const { bytes } = message.content!;
    assertLess(bytes.buffer.byteLength, 8 * 1024 + 1);
    // The last ones would hold all that was beside them.
    if (left <= 8) assertEquals(bytes.buffer.byteLength, bytes.length);
  }
  store.close();
});

Deno.test("rows that cannot be deleted keep no others from being deleted", async () => {
  await using dir = await tempDir();
  open(dir.path).close();
  const change = (sql: string) => {
    const database = new DatabaseSync(dir.file("broker.db"));
    database.exec(sql);
    database.close();
  };
  for (const table of ["message", "pack"]) {
    change(
      `CREATE TRIGGER damage_${table} BEFORE DELETE ON ${table}
      WHEN OLD.id BETWEEN 2 + (1 << 40) AND 2 << 40
      BEGIN SELECT RAISE(ABORT, 'database disk image is malformed'); END`,
    );
  }
  const reasons: (string | undefined)[] = [];
  const store = new Store({
    file: new DataFile(dir.path),
    onFailure: (reason) => reasons.push(reason),
  });
  const lanes = [1, 2].map((queue) => new Lane(store, NO_MEMORY, queue, 0));
  assertEquals(lanes[0]!.id, 1);
  for (const lane of lanes) fill(lane, PURGED_ROWS, (i) => `${i}`);
  store.commit();
  for (const lane of lanes) lane.purge();
  store.commit();
  // As often as would do, and once more.
  for (let i = 0; i < 100; i++) store.sweep();
  assertEquals(reasons[0], "it is damaged");
  store.close();
  const database = new DatabaseSync(dir.file("broker.db"));
  const counts = database.prepare("SELECT id >> 40 lane, count(*) rows FROM pack GROUP BY 1");
  const rows = counts.all().map(({ lane, rows }) => [lane, rows]);
  assertEquals(rows.map(([lane]) => lane), [1]);
  assertGreater(rows[0]![1] as number, PURGED_ROWS / 32 / 2);
  database.close();
});

Deno.test("what was purged before a restart hides nothing that came after it", async () => {
  await using dir = await tempDir();
  {
    const store = open(dir.path);
    const lane = new Lane(store, NO_MEMORY, 1, 0);
    fill(lane, PURGED_ROWS, () => "old");
    store.commit();
    // A delivery that nobody acknowledges lies before the purged ones.
    lane.peek();
    lane.shift();
    lane.purge();
    fill(lane, 100, (i) => `stored ${i}`);
    store.commit();
    store.close();
  }
  const store = open(dir.path);
  const lane = restored(store);
  fill(lane, 1, () => "not yet stored");
  const texts = drain(store, lane);
  assertEquals(texts.length, 102);
  assertEquals([texts[0], texts[1], texts.at(-1)], ["old", "stored 0", "not yet stored"]);
  assertEquals(lane.length, 0);
  store.close();
});

Deno.test("what comes after a restart is not taken for what was purged before it was stored", async () => {
  await using dir = await tempDir();
  {
    const store = open(dir.path);
    const lane = new Lane(store, NO_MEMORY, 1, 0);
    fill(lane, PURGED_ROWS, () => "old");
    store.commit();
    fill(lane, 100, () => "never stored");
    lane.purge();
    store.commit();
    store.close();
  }
  let store = open(dir.path);
  fill(restored(store), 100, (i) => `new ${i}`);
  store.commit();
  while (store.hasDiscarded) store.sweep();
  store.close();
  store = open(dir.path);
  const texts = drain(store, restored(store));
  assertEquals([texts.length, texts[0], texts.at(-1)], [100, "new 0", "new 99"]);
  store.close();
});

Deno.test("what is declared is not taken for saved by a sync that comes before its commit", async () => {
  await using dir = await tempDir();
  const store = open(dir.path);
  const exchange = { vhost: "/", name: "e" };
  const isSaved = () => store.changes.isSaved(exchange.vhost, { exchange: exchange.name });
  store.changes.addExchange({
    ...exchange,
    type: "fanout",
    autoDelete: false,
    internal: false,
    arguments: new Uint8Array(),
  });
  // As a checkpoint does.
  store.file.log.wrote(1);
  store.file.log.syncNow();
  assertEquals(isSaved(), false);
  store.commit();
  assertEquals(isSaved(), false);
  store.file.log.syncNow();
  assertEquals(isSaved(), true);
  store.close();
});

/** Ways to change a row; those of one lane are in the same page, those of others in others. */
const CHANGES: [name: string, change: (store: Store, lane: Lane, messages: Message[]) => void][] = [
  ["publishes", (_, lane) => lane.append(publication("new"), 0, true)],
  ["acknowledgements", (store, _, messages) => store.remove(messages.shift()!)],
  ["returns", (store, _, messages) => store.update(messages.shift()!)],
  ["purges", (store, lane) => store.discard(lane, 1, 5, 100)],
];

for (const [name, change] of CHANGES) {
  Deno.test(`a commit is full with fewer ${name} in many queues than in one`, async () => {
    await using dir = await tempDir();
    const store = open(dir.path);
    const rows = Array.from({ length: 2_600 }, (_, index) => {
      const lane = new Lane(store, NO_MEMORY, index + 1, 0);
      const count = index === 0 ? 102 : 2;
      const messages = Array.from({ length: count }, (_, n) => {
        return lane.append(publication(`${n}`), 0, true);
      });
      return { lane, messages };
    });
    store.commit();
    const { lane, messages } = rows[0]!;
    for (let n = 0; n < 100; n++) change(store, lane, messages);
    assertEquals(store.isFull, false);
    let changed = 0;
    for (const { lane, messages } of rows) {
      if (store.isFull) break;
      change(store, lane, messages);
      changed++;
    }
    assertLess(changed, 2_600);
    store.commit();
    assertEquals(store.isFull, false);
    store.close();
  });
}

Deno.test("a commit is full with few acknowledgements of large messages", async () => {
  await using dir = await tempDir();
  const store = open(dir.path);
  const lane = new Lane(store, NO_MEMORY, 1, 0);
  const body = "x".repeat(2_000_000);
  const messages = Array.from({ length: 30 }, () => {
    const message = lane.append(publication(body), 0, true);
    store.commit();
    return message;
  });
  while (messages.length > 0 && !store.isFull) store.remove(messages.pop()!);
  assertEquals(store.isFull, true);
  store.close();
});

Deno.test("many deep lanes together take no more memory than there is, and a little each", async () => {
  await using dir = await tempDir();
  const limit = 1_000_000;
  {
    const store = open(dir.path);
    for (let i = 0; i < 100; i++) {
      const lane = new Lane(store, NO_MEMORY, i + 1, 0);
      for (let j = 0; j < 30; j++) lane.append(publication("x".repeat(4_000)), 0, true);
    }
    store.commit();
    store.close();
  }
  const store = open(dir.path);
  const memory = new MemoryUse(limit);
  for (const stored of store.lanes()) {
    const lane = new Lane(store, memory, stored.queue, 0, stored.id);
    lane.restore(stored);
    lane.peek();
  }
  assertLess(memory.bytes, 2 * limit);
  store.close();
});

Deno.test("positions and lanes start again when their numbers run out", async () => {
  await using dir = await tempDir();
  const store = open(dir.path);
  const lane = new Lane(store, NO_MEMORY, 1, 0);
  const lastPosition = LAST_POSITION - 1;
  const empty = { id: lane.id, queue: 1, priority: 0, depth: 0, bytes: 0, deliveredTo: 0 };
  lane.restore({ ...empty, lastPosition });
  const message = lane.append(publication("one"), 0, true);
  assertLess(message.position, 10);
  store.commit();
  assertEquals(drain(store, lane), ["one"]);
  const ids = new Set([lane.id]);
  for (let i = 0; i < 3; i++) ids.add(store.takeLaneId(true));
  assertEquals(ids.size, 4);
  for (const id of ids) assertLess(id, LAST_LANE);

  // A queue that is never empty has no other positions.
  const full = new Lane(store, NO_MEMORY, 1, 0);
  full.restore({ ...empty, id: full.id, depth: 1, lastPosition });
  assertEquals(full.append(publication("last"), 0, true).position, LAST_POSITION);
  for (let i = 0; i < 2; i++) {
    assertThrows(() => full.append(publication("beyond"), 0, true), Fault, "never empty");
  }
  store.commit();
  assertEquals(full.lastPosition, LAST_POSITION);
  store.close();
});

Deno.test("queues that come, are used and go leave nothing in the file", async () => {
  await using dir = await tempDir();
  {
    await using broker = await startHere({ folder: dir.path });
    await using peer = await openPeer(broker.port);
    const channel = await peer.open();
    for (let i = 0; i < 300; i++) {
      const queue = `q${i}`;
      await channel.call("queue.declare", { queue, durable: true });
      for (let j = 0; j < 3; j++) {
        await channel.publish({ routingKey: queue }, "work", { deliveryMode: 2 });
      }
      await channel.send("basic.get", { queue });
      await channel.expectContent("basic.get-ok");
      await channel.call("queue.delete", { queue });
    }
  }
  const database = new DatabaseSync(dir.file("broker.db"), { readOnly: true });
  const left = ["message", "pack", "discarded", "lane", "queue"].map((table) =>
    database.prepare(`SELECT count(*) count FROM ${table}`).get()!["count"]
  );
  database.close();
  assertEquals(left, [0, 0, 0, 0, 0]);
});

/** Makes the store refuse, or fail to write, messages with a text in them. */
function hinder(store: Store, text: string, error: string): void {
  for (const table of ["message", "pack"]) {
    store.file.database.exec(`CREATE TEMP TRIGGER hinder_${text}_${table} BEFORE INSERT ON ${table}
      WHEN instr(NEW.content, CAST('${text}' AS BLOB)) > 0
      BEGIN SELECT RAISE(ABORT, '${error}'); END`);
  }
}

Deno.test("what goes when another is stored stays when that is refused, also after a commit that met damage", async () => {
  await using dir = await tempDir();
  const failures: (string | undefined)[] = [];
  const store = new Store({
    file: new DataFile(dir.path),
    onFailure: (reason) => failures.push(reason),
  });
  const lane = new Lane(store, NO_MEMORY, 1, 0);
  const count = 5;
  fill(lane, count, String);
  store.commit();
  const messages: Message[] = [];
  while (lane.peek() !== undefined) messages.push(lane.shift());
  const [, , source] = messages;
  const content = store.load(source!)!;
  hinder(store, "bystander", "database disk image is malformed");
  hinder(store, "letter", "CHECK constraint failed: message");
  const unstored: string[] = [];
  const author = {
    source: { message: source!, content },
    unstored: (reason: string) => void unstored.push(reason),
  };
  lane.append(publication("bystander"), 0, true);
  store.actFor(author, () => lane.append(publication("letter"), 0, true));
  for (const message of messages) store.remove(message);
  assertEquals(store.commit(), false);
  assertEquals([failures.length, unstored.length], [1, 0]);
  for (const table of ["message", "pack"]) {
    store.file.database.exec(`DROP TRIGGER hinder_bystander_${table}`);
  }
  assertEquals(store.commit(), true);
  assertEquals(unstored.length, 1);
  store.sweep();
  store.close();
  const again = open(dir.path);
  try {
    assertEquals(drain(again, restored(again)), ["2", "bystander"]);
  } finally {
    again.close();
  }
});

Deno.test("a data file with which the broker cannot start is closed again", async () => {
  await using dir = await tempDir();
  const change = (sql: string) => {
    const database = new DatabaseSync(`${dir.path}/broker.db`);
    database.exec(sql);
    database.close();
  };
  await (await startHere({ folder: dir.path }))[Symbol.asyncDispose]();
  const openFiles = () =>
    [...Deno.readDirSync("/proc/self/fd")].filter(({ name }) => {
      try {
        return Deno.readLinkSync(`/proc/self/fd/${name}`).startsWith(dir.path);
      } catch {
        return false;
      }
    });
  // One is missed when the store is made, the other one when the queues are restored.
  for (const table of ["lane", "paused"]) {
    change(`ALTER TABLE ${table} RENAME TO lost`);
    for (let i = 0; i < 2; i++) {
      await assertRejects(
        () => startHere({ folder: dir.path }),
        Error,
        `no such table: ${table}`,
      );
    }
    assertEquals(openFiles(), []);
    change(`ALTER TABLE lost RENAME TO ${table}`);
  }
  await (await startHere({ folder: dir.path }))[Symbol.asyncDispose]();
});
