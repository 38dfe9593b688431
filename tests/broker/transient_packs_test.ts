/** Packs of transient messages: those come into the store in any order, of lanes below zero. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { release } from "../../src/broker/queue/held.ts";
import { Lane } from "../../src/broker/queue/lane.ts";
import { MemoryUse } from "../../src/broker/queue/memory_use.ts";
import { Content } from "../../src/broker/message/content.ts";
import { type LaneRecord, Message } from "../../src/broker/message/message.ts";
import { DataFile } from "../../src/broker/store/file/data_file.ts";
import { MessageTable } from "../../src/broker/store/messages/message_table.ts";
import { Store } from "../../src/broker/store/store.ts";
import { Random } from "../support/random.ts";
import { tempDir } from "../support/temp.ts";

function open(folder: string): Store {
  return new Store({
    file: new DataFile(folder),
    onFailure: (reason) => {
      if (reason !== undefined) throw new Error(reason);
    },
  });
}

function append(lane: Lane, text: string): void {
  const body = new TextEncoder().encode(text);
  const content = Content.join(new Uint8Array(2), new Uint8Array(), body);
  lane.append({ content, persistent: false, priority: 0, expiration: undefined }, 0, false);
}

function textOf(store: Store, message: Message): string {
  return new TextDecoder().decode((message.content ?? store.load(message)!).body);
}

function takeAll(store: Store, lane: Lane): string[] {
  const texts: string[] = [];
  while (lane.peek() !== undefined || lane.isSlow) {
    if (lane.peek() !== undefined) texts.push(textOf(store, lane.shift()));
  }
  return texts;
}

/** Without a queue, for messages up to position 110. */
const LANE: LaneRecord = {
  id: -1,
  priority: 0,
  queueId: 0,
  depth: 0,
  bytes: 0,
  deliveredTo: 0,
  dropped: false,
  lastPosition: 110,
  forget() {},
};

function messageAt(position: number): Message {
  return new Message(LANE, position, new Content(new Uint8Array(20), 1, 1), 0, false);
}

Deno.test("transient messages that are stored when they are delivered keep their bytes and their order", async () => {
  for (let seed = 1; seed <= 6; seed++) {
    const random = new Random(seed);
    await using dir = await tempDir();
    const store = open(dir.path);
    const memory = new MemoryUse(1_000_000);
    const lane = new Lane(store, memory, 0, 0);
    const texts: string[] = [];
    const publish = () => {
      texts.push(`${texts.length} `.padEnd(8, "x"));
      append(lane, texts.at(-1)!);
    };
    for (let count = random.below(30); count >= 0; count--) publish();
    // From now on what is published, and what is delivered, finds no room.
    memory.limit = 0;
    const delivered: Message[] = [];
    for (let step = 0; step < 100; step++) {
      const roll = random.below(5);
      if (roll < 2) publish();
      else if (roll < 4) {
        const message = lane.peek();
        if (message === undefined) continue;
        assertEquals(textOf(store, lane.shift()), texts[delivered.length]);
        release(message, store, memory);
        delivered.push(message);
      } else assert(store.commit());
    }
    assert(store.commit());
    lane.putBack(delivered);
    assertEquals(takeAll(store, lane), texts, `seed ${seed}`);
    store.close();
  }
});

Deno.test("where a queue is deleted that had few messages, those of others stay", async () => {
  await using dir = await tempDir();
  const store = open(dir.path);
  const kept = [0, 1].map(() => new Lane(store, new MemoryUse(0), 0, 0));
  const dropped = new Lane(store, new MemoryUse(0), 0, 0);
  kept.push(new Lane(store, new MemoryUse(0), 0, 0));
  const texts = Array.from({ length: 100 }, (_, number) => `${number}`);
  for (const lane of kept) for (const text of texts) append(lane, text);
  // More than a commit deletes.
  append(dropped, "x".repeat(300 * 1024));
  assert(store.commit());
  dropped.drop();
  assert(store.commit());
  while (store.hasDiscarded) store.sweep();
  for (const lane of kept) assertEquals(takeAll(store, lane), texts);
  store.close();
});

Deno.test("what lies behind a pack that cannot be read comes, though older ones are to be stored", () => {
  const { database } = new DataFile(undefined);
  const table = new MessageTable(database, { onDamage: () => {} });
  const insert = (position: number) => table.insert(messageAt(position), undefined);
  for (let position = 10; position < 110; position++) insert(position);
  table.write();
  table.written();
  database.exec("UPDATE pack SET content = x'00' WHERE id & 255 = 10");
  // One that was delivered, and one that finds no room.
  insert(3);
  insert(110);
  const found: number[] = [];
  for (let after = 9;;) {
    const { messages, upTo } = table.read(LANE, after, 1_000, false);
    found.push(...messages.map(({ position }) => position));
    if (upTo > 110) break;
    after = upTo;
  }
  assertEquals(found, Array.from({ length: 69 }, (_, index) => 42 + index));
  database.close();
});

Deno.test("of a commit that fails in the middle nothing gets into the next one", () => {
  const { database } = new DataFile(undefined);
  const table = new MessageTable(database, { onDamage: () => {} });
  const messages = [1, 2, 101, 102].map(messageAt);
  for (const message of messages) table.insert(message, undefined);
  // It has lost its bytes.
  messages.at(-1)!.done();
  assertThrows(() => table.write());
  for (const message of messages) table.remove(message);
  for (const position of [103, 104]) table.insert(messageAt(position), undefined);
  table.write();
  table.written();
  assertEquals(table.read(LANE, 0, 10, false).messages.map(({ position }) => position), [103, 104]);
  database.close();
});
