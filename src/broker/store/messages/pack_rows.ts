/** The packs of one database, as rows of several messages. Writes nothing. */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import { Content } from "../../message/content.ts";
import { LAST_POSITION, LIMIT, RANGE } from "../file/message_row.ts";
import type { Rows } from "./lane_reader.ts";
import { type LaneRecord, Message, type Pack } from "../../message/message.ts";
import { received } from "../../message/content_memory.ts";
import { copyBytes } from "../../wire/bytes.ts";
import { bitOf, bitsOf, lastOf, membersOf, PACK_POSITIONS } from "../file/pack_row.ts";

/** A pack, with its columns as they are stored. */
interface StoredPack {
  readonly first: number;
  readonly members: number;
  readonly gone: number;
  readonly deliveries: number;
  /** Has its content. */
  readonly content: Uint8Array;
  readonly start: number;
  readonly end: number;
}

/** Several packs as one row. */
interface BatchRow {
  /** Behind one another: an array for each costs more, as does copying out of small ones. */
  readonly contents: Uint8Array | null;
  /** One array for each column, as JSON. */
  readonly firsts: string;
  readonly members: string;
  readonly gones: string;
  readonly counts: string;
  readonly sizes: string;
}

/** Messages that a pack has if there are many, about. */
const USUAL_MESSAGES = 24;

const COLUMNS = `id & ${LAST_POSITION} first, members, gone, deliveries, content`;

export class PackRows implements Rows {
  readonly reach = PACK_POSITIONS - 1;
  readonly #select: StatementSync;
  readonly #one: StatementSync;
  readonly #next: StatementSync;
  readonly #last: StatementSync;
  /**
   * The pack that a content was loaded from last, whose bytes never change: messages that come back, or
   * die, mostly do so with those of their pack. By the object: the position may be used again.
   */
  #loaded: { readonly pack: Pack; readonly bytes: Uint8Array } | undefined;

  constructor(database: DatabaseSync) {
    // Concatenating blobs gives text, whose bytes are unchanged in a UTF-8 database.
    this.#select = database.prepare(
      `SELECT CAST(group_concat(content, '') AS BLOB) contents, json_group_array(first) firsts,
         json_group_array(members) members, json_group_array(gone) gones,
         json_group_array(deliveries) counts,
         json_group_array(length(content)) sizes
       FROM (SELECT ${COLUMNS} FROM pack WHERE ${RANGE} ORDER BY id ${LIMIT})`,
    );
    this.#one = database.prepare(
      `SELECT ${COLUMNS}, 0 start, length(content) "end" FROM pack
       WHERE ${RANGE} ORDER BY id LIMIT 1`,
    );
    this.#next = database.prepare(
      `SELECT id & ${LAST_POSITION} first FROM pack WHERE ${RANGE} ORDER BY id LIMIT 1`,
    );
    this.#last = database.prepare(
      `SELECT id & ${LAST_POSITION} first, members FROM pack
       WHERE ${RANGE} ORDER BY id DESC LIMIT 1`,
    );
  }

  read(
    lane: LaneRecord,
    after: number,
    last: number,
    limit: number,
    durable: boolean,
  ): Message[] {
    const messages: Message[] = [];
    for (let start = this.#startOf(lane.id, after);;) {
      const most = Math.ceil((limit - messages.length) / USUAL_MESSAGES);
      const rows = this.#readBatch(lane.id, start, last, most);
      const some: Message[] = [];
      for (const row of rows) {
        const left = limit - messages.length - some.length;
        if (left === 0) break;
        some.push(...this.#messagesOf(lane, row, after, last, left, durable));
      }
      holdLittle(some, rows.at(-1)?.end ?? 0);
      messages.push(...some);
      if (messages.length === limit || rows.length < most) return messages;
      start = rows.at(-1)!.first + 1;
    }
  }

  /** Where those begin that may have messages behind a position: packs lie behind one another. */
  #startOf(lane: number, after: number): number {
    const row = this.#last.get(lane, Math.max(1, after + 1 - this.reach), lane, after + 1);
    return row?.["first"] as number | undefined ?? after + 1;
  }

  /** Up to `most` packs that begin between two positions, both included, in order. */
  #readBatch(lane: number, first: number, last: number, most: number): StoredPack[] {
    // For one alone, making one row of several takes longer than the row.
    if (most === 1) {
      const row = this.#one.get(lane, first, lane, last) as unknown as StoredPack | undefined;
      return row === undefined ? [] : [row];
    }
    const batch = this.#select.get(lane, first, lane, last, most) as unknown as BatchRow;
    const firsts: number[] = JSON.parse(batch.firsts);
    const members: number[] = JSON.parse(batch.members);
    const gones: number[] = JSON.parse(batch.gones);
    const counts: number[] = JSON.parse(batch.counts);
    const sizes: number[] = JSON.parse(batch.sizes);
    const content = batch.contents!;
    let start = 0;
    return firsts.map((first, index) => {
      const end = start + sizes[index]!;
      const row = {
        first,
        members: members[index]!,
        gone: gones[index]!,
        deliveries: counts[index]!,
        content,
        start,
        end,
      };
      start = end;
      return row;
    });
  }

  readRow(lane: LaneRecord, first: number, durable: boolean): Message[] {
    const row = this.#readOne(lane.id, first);
    if (row === undefined) return [];
    return this.#messagesOf(lane, row, 0, LAST_POSITION, PACK_POSITIONS, durable);
  }

  #readOne(lane: number, first: number): StoredPack | undefined {
    return this.#readBatch(lane, first, first, 1)[0];
  }

  /** Up to `limit` of those between two positions, the last one included, that are not gone. */
  #messagesOf(
    lane: LaneRecord,
    row: StoredPack,
    after: number,
    last: number,
    limit: number,
    durable: boolean,
  ): Message[] {
    const pack = { first: row.first, members: bitsOf(row.members) };
    let bits = ~bitsOf(row.gone);
    if (after >= pack.first) bits &= -2 << (after - pack.first);
    if (last < pack.first + this.reach) bits &= (1 << (last - pack.first + 1)) - 1;
    return membersOf(pack, row.content, bits, row.start, row.end).slice(0, limit).map((member) => {
      const { position, start, size, addressLength, headerLength } = member;
      const content = new Content(row.content, addressLength, headerLength, start, size);
      const message = new Message(lane, position, content, 0, durable);
      message.restore(row.deliveries, pack);
      return message;
    });
  }

  /** The content of a message that is in a pack. */
  load({ lane, position, pack }: Message): Content {
    const bytes = this.#bytesOf(lane.id, pack!);
    const [member] = membersOf(pack!, bytes, bitOf(pack!, position));
    if (member === undefined) throw new Error(`message ${position} is in no pack`);
    const { start, size, addressLength, headerLength } = member;
    // The others may go sooner.
    const own = received.take(size);
    copyBytes(bytes, start, start + size, received.array, own);
    return new Content(received.array, addressLength, headerLength, own, size);
  }

  #bytesOf(lane: number, pack: Pack): Uint8Array {
    if (this.#loaded?.pack === pack) return this.#loaded.bytes;
    const row = this.#readOne(lane, pack.first);
    if (row === undefined || bitsOf(row.members) !== pack.members) {
      throw new Error(`pack ${pack.first} is not there`);
    }
    this.#loaded = { pack, bytes: row.content };
    return row.content;
  }

  findNext(lane: number, first: number): number | undefined {
    const row = this.#next.get(lane, first, lane, LAST_POSITION);
    return row?.["first"] as number | undefined;
  }

  /** The highest position of a message that is, or was, in a pack that is there, or 0. */
  lastPosition(lane: number): number {
    const row = this.#last.get(lane, 1, lane, LAST_POSITION);
    if (row === undefined) return 0;
    return lastOf({ first: row["first"] as number, members: bitsOf(row["members"] as number) });
  }
}

/** Few messages out of what was read keep no more of it than their own. @param bytes that were read */
function holdLittle(messages: readonly Message[], bytes: number): void {
  const own = messages.reduce((sum, { size }) => sum + size, 0);
  if (own > bytes / 2) return;
  for (const { content } of messages) content!.detach();
}
