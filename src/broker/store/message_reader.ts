/** Reads the stored messages of one database. Writes nothing. */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import { idOf, LAST_POSITION, LAYOUT_HEADER, RANGE } from "./message_row.ts";
import { Content } from "../message/content.ts";
import { type LaneRecord, LARGE_BYTES, Message } from "../message/message.ts";

/** Rows that cannot be read, after which a lane is given up. */
const MOST_UNREADABLE = 20_000;

/** Several messages as one row: it takes a quarter of the time that a row for each takes. */
interface BatchRow {
  /** Small ones, behind one another; large ones are left out. */
  contents: Uint8Array | null;
  /** One array for each column, as JSON. */
  positions: string;
  sizes: string;
  layouts: string;
  expiries: string;
  deliveries: string;
}

export class MessageReader {
  readonly #select: StatementSync;
  readonly #load: StatementSync;
  readonly #last: StatementSync;
  readonly #next: StatementSync;
  readonly #onDamage: (error: unknown) => void;
  /** Positions of lanes, by their ids, behind which nothing can be read. */
  readonly #givenUp = new Map<number, number>();

  /** @param onDamage told why rows cannot be read; they are left out, and stay in the file */
  constructor(database: DatabaseSync, onDamage: (error: unknown) => void) {
    this.#onDamage = onDamage;
    // Concatenating blobs gives text, whose bytes are unchanged in a UTF-8 database.
    this.#select = database.prepare(
      `SELECT
         CAST(group_concat(CASE WHEN size < ${LARGE_BYTES} THEN content END, '') AS BLOB) contents,
         json_group_array(id & ${LAST_POSITION}) positions, json_group_array(size) sizes,
         json_group_array(layout) layouts, json_group_array(expires_at) expiries,
         json_group_array(deliveries) deliveries
       FROM (
         SELECT id, layout, expires_at, deliveries,
           CASE WHEN shared IS NULL THEN content
             ELSE (SELECT content FROM shared WHERE shared.id = message.shared) END content,
           CASE WHEN shared IS NULL THEN length(content)
             ELSE (SELECT length(content) FROM shared WHERE shared.id = message.shared) END size
         FROM message WHERE ${RANGE} ORDER BY id LIMIT ?)`,
    );
    this.#load = database.prepare(
      `SELECT coalesce(shared.content, message.content) content
       FROM message LEFT JOIN shared ON shared.id = message.shared
       WHERE message.id = ${idOf("?", "?")}`,
    );
    this.#last = database.prepare(
      `SELECT id & ${LAST_POSITION} position FROM message WHERE ${RANGE} ORDER BY id DESC LIMIT 1`,
    );
    this.#next = database.prepare(
      `SELECT id & ${LAST_POSITION} position FROM message WHERE ${RANGE} ORDER BY id LIMIT 1`,
    );
  }

  /** Up to `limit` messages of a lane behind a position, in order, as new objects. */
  read(lane: LaneRecord, after: number, limit: number, durable: boolean): Message[] {
    if (this.#givenUp.get(lane.id) === after) return [];
    try {
      return this.#readTogether(lane, after, limit, durable);
    } catch (error) {
      this.#onDamage(error);
      const readable = this.#readSingly(lane, after, limit, durable);
      if (readable.length === 0) this.#givenUp.set(lane.id, after);
      return readable;
    }
  }

  /** Goes past rows that cannot be read. */
  #readSingly(lane: LaneRecord, after: number, limit: number, durable: boolean): Message[] {
    const messages: Message[] = [];
    let unreadable = 0;
    for (let from = after; messages.length < limit && unreadable < MOST_UNREADABLE;) {
      let position: number | undefined;
      try {
        position = this.#next.get(lane.id, from + 1, lane.id, LAST_POSITION)?.["position"] as
          | number
          | undefined;
        if (position === undefined) break;
        messages.push(...this.#readTogether(lane, position - 1, 1, durable));
      } catch {
        unreadable++;
      }
      from = position ?? from + 1;
    }
    return messages;
  }

  #readTogether(lane: LaneRecord, after: number, limit: number, durable: boolean): Message[] {
    const row = this.#select.get(
      lane.id,
      after + 1,
      lane.id,
      LAST_POSITION,
      limit,
    ) as unknown as BatchRow;
    const positions: number[] = JSON.parse(row.positions);
    const sizes: number[] = JSON.parse(row.sizes);
    const layouts: number[] = JSON.parse(row.layouts);
    const expiries: number[] = JSON.parse(row.expiries);
    const deliveries: number[] = JSON.parse(row.deliveries);
    let offset = 0;
    return positions.map((position, index) => {
      const size = sizes[index]!;
      const layout = layouts[index]!;
      const addressLength = layout % LAYOUT_HEADER;
      const headerLength = Math.floor(layout / LAYOUT_HEADER);
      const content = size < LARGE_BYTES
        ? new Content(row.contents!.subarray(offset, offset += size), addressLength, headerLength)
        : { size, addressLength, headerLength };
      const message = new Message(lane, position, content, expiries[index]!, durable);
      message.restore(deliveries[index]!);
      return message;
    });
  }

  /** The content of a stored message. */
  load({ lane, position, addressLength, headerLength }: Message): Content {
    const row = this.#load.get(lane.id, position);
    if (row === undefined) throw new Error(`message ${position} has no row`);
    return new Content(row["content"] as Uint8Array, addressLength, headerLength);
  }

  /** The highest position of a row, or 0. */
  lastPosition(lane: number): number {
    return Number(this.#last.get(lane, 1, lane, LAST_POSITION)?.["position"] ?? 0);
  }
}
