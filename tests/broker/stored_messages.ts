/** The messages in a data file, read without the broker. */
import type { DatabaseSync } from "node:sqlite";
import { concat } from "./strangers.ts";
import { bitsOf, membersOf } from "../../src/broker/store/file/pack_row.ts";

export interface Stored {
  lane: number;
  position: number;
  /** Address, header and body. */
  bytes: Uint8Array;
  /** Of address and header together. */
  headLength: number;
}

/** All of them, by lanes, in order. */
export function* storedMessages(database: DatabaseSync): Generator<Stored> {
  const tables = [rows(database), packs(database)].map((messages) => ({
    messages,
    next: messages.next(),
  }));
  for (;;) {
    let first: (typeof tables)[number] | undefined;
    for (const table of tables) {
      if (table.next.done) continue;
      if (first === undefined || isBefore(table.next.value, first.next.value!)) first = table;
    }
    if (first === undefined) return;
    yield first.next.value!;
    first.next = first.messages.next();
  }
}

function isBefore(one: Stored, other: Stored): boolean {
  return one.lane === other.lane ? one.position < other.position : one.lane < other.lane;
}

function* rows(database: DatabaseSync): Generator<Stored, undefined> {
  const select = database.prepare(
    `SELECT message.id >> 40 lane, message.id & 0xffffffffff position, layout,
       CASE WHEN body > 0 THEN message.content
         ELSE coalesce(shared.content, message.content) END content,
       CASE WHEN body > 0 THEN shared.id END body
     FROM message LEFT JOIN shared ON shared.id = message.shared ORDER BY message.id`,
  );
  const chunks = database
    .prepare("SELECT bytes FROM chunk WHERE id BETWEEN ? << 16 AND (? + 1 << 16) - 1");
  for (const { lane, position, layout, content, body } of select.iterate()) {
    const headLength = Number(layout) % 0x10000 + Math.floor(Number(layout) / 0x10000);
    const parts = body === null ? [] : chunks.all(body!, body!).map((row) => row["bytes"]);
    const bytes = concat([content, ...parts] as Uint8Array[]);
    yield { lane: Number(lane), position: Number(position), bytes, headLength };
  }
  return undefined;
}

function* packs(database: DatabaseSync): Generator<Stored, undefined> {
  const select = database.prepare(
    `SELECT id >> 40 lane, id & 0xffffffffff position, members, gone, content
     FROM pack ORDER BY id`,
  );
  for (const { lane, position, members, gone, content } of select.iterate()) {
    const pack = { first: Number(position), members: bitsOf(Number(members)) };
    const all = content as Uint8Array;
    for (const member of membersOf(pack, all, ~bitsOf(Number(gone)))) {
      const { start, size, addressLength, headerLength } = member;
      const bytes = all.subarray(start, start + size);
      const headLength = addressLength + headerLength;
      yield { lane: Number(lane), position: member.position, bytes, headLength };
    }
  }
  return undefined;
}
