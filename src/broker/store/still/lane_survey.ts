/** The messages of a lane in data that stand still: how many can be read, and are what was stored. */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import { hasChecksum } from "../file/checksum.ts";
import { LAST_POSITION, OF_BODY, RANGE } from "../file/message_row.ts";
import { Bodies } from "../messages/bodies.ts";
import { isIn, type Range } from "../messages/discards.ts";
import { LaneReader } from "../messages/lane_reader.ts";
import { MessageRows } from "../messages/message_rows.ts";
import { bitsOf, membersOf, positionsOf } from "../file/pack_row.ts";
import { PackRows } from "../messages/pack_rows.ts";
import { SharedContents } from "../messages/shared_contents.ts";
import { Unreadable } from "../messages/unreadable.ts";

export interface SurveyedMessages {
  /** Messages that were read. */
  read: number;
  /** Rows that are there and cannot be read, and messages whose bytes are not their own. */
  unreadable: number;
  wrong: number;
}

/** What a row has: messages at some positions, none of which may be its own. */
interface SurveyedRow {
  readonly positions: readonly number[];
  readonly isWrong: boolean;
}

/** A table of messages. */
export interface Table {
  readonly reader: LaneReader;
  /** Its rows of a lane. Its values: lane, first, lane, last. */
  readonly select: () => StatementSync;
  read(row: Record<string, unknown>): SurveyedRow;
}

export class OwnRows implements Table {
  readonly reader: LaneReader;
  readonly select: () => StatementSync;
  readonly #chunks: StatementSync;
  /** Whether bodies in chunks are whole, by their ids. */
  readonly #bodies = new Map<number, boolean>();

  constructor(database: DatabaseSync) {
    const rows = new MessageRows(database, new Bodies(database, new SharedContents(database)));
    this.reader = new LaneReader("message", rows, new Unreadable(), () => {});
    this.#chunks = database.prepare(`SELECT checksum, bytes FROM chunk WHERE ${OF_BODY}`);
    this.select = () =>
      database.prepare(
        `SELECT message.id & ${LAST_POSITION} position,
         message.shared, body,
         CASE WHEN message.shared IS NULL OR body > 0 THEN message.checksum
           ELSE shared.checksum END checksum,
         CASE WHEN message.shared IS NULL OR body > 0 THEN message.content
           ELSE shared.content END content
       FROM message LEFT JOIN shared ON shared.id = message.shared
       WHERE message.${RANGE} ORDER BY message.id`,
      );
  }

  /** Old rows have no checksum. */
  read({ position, checksum, content, shared, body }: Record<string, unknown>): SurveyedRow {
    const isWrong = content === null ||
      checksum !== null && !hasChecksum(content as Uint8Array, checksum as number) ||
      body !== null && body !== 0 && !this.#hasBody(shared as number, body as number);
    return { positions: [position as number], isWrong };
  }

  #hasBody(id: number, length: number): boolean {
    const known = this.#bodies.get(id);
    if (known !== undefined) return known;
    const isWhole = this.#readBody(id) === length;
    this.#bodies.set(id, isWhole);
    return isWhole;
  }

  /** @returns how many bytes of a body are what was stored @throws when they cannot be read */
  #readBody(id: number): number {
    let length = 0;
    for (const { checksum, bytes } of this.#chunks.iterate(id, id)) {
      if (!hasChecksum(bytes as Uint8Array, checksum as number)) return -1;
      length += (bytes as Uint8Array).length;
    }
    return length;
  }
}

export class Packs implements Table {
  readonly reader: LaneReader;
  readonly select: () => StatementSync;

  constructor(database: DatabaseSync) {
    this.reader = new LaneReader("pack", new PackRows(database), new Unreadable(), () => {});
    this.select = () =>
      database.prepare(
        `SELECT id & ${LAST_POSITION} position, members, gone, checksum, content
         FROM pack WHERE ${RANGE} ORDER BY id`,
      );
  }

  read(row: Record<string, unknown>): SurveyedRow {
    const first = row["position"] as number;
    const members = bitsOf(row["members"] as number);
    const positions = positionsOf(first, members & ~bitsOf(row["gone"] as number));
    const content = row["content"] as Uint8Array;
    try {
      membersOf({ first, members }, content, members);
      return { positions, isWrong: !hasChecksum(content, row["checksum"] as number) };
    } catch {
      return { positions, isWrong: true };
    }
  }
}

/** Reads the messages of a lane in one table, past those that cannot be read. */
export class LaneSurvey {
  readonly #table: Table;
  readonly #lane: number;
  readonly #discarded: readonly Range[];

  constructor(table: Table, lane: number, discarded: readonly Range[]) {
    this.#table = table;
    this.#lane = lane;
    this.#discarded = discarded;
  }

  /** Adds what is found to what was found of its queue. */
  add(queue: SurveyedMessages): void {
    for (let from = 0; from < LAST_POSITION;) {
      try {
        const rows = this.#table.select()
          .iterate(this.#lane, from + 1, this.#lane, LAST_POSITION);
        for (const row of rows) {
          this.#count(queue, this.#table.read(row));
          from = row["position"] as number;
        }
      } catch {
        // In Deno 2.9 what cannot be read ends the rows without a word.
      }
      from = this.#skip(queue, from);
    }
  }

  #count(queue: SurveyedMessages, { positions, isWrong }: SurveyedRow): void {
    const count = positions.filter((at) => !this.#isDiscarded(at)).length;
    if (isWrong) queue.wrong += count;
    else queue.read += count;
  }

  /** @returns the last position behind `from` that cannot be read, or the last of all */
  #skip(queue: SurveyedMessages, from: number): number {
    const { reader } = this.#table;
    try {
      const bad = reader.findNext(this.#lane, from + 1);
      if (bad !== undefined && !this.#isDiscarded(bad)) queue.unreadable++;
      return bad ?? LAST_POSITION;
    } catch {
      return reader.endOfUnreadable(this.#lane, from + 1, LAST_POSITION);
    }
  }

  #isDiscarded(at: number): boolean {
    return isIn(this.#discarded, this.#table.reader.table, at);
  }
}
