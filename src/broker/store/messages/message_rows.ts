/** The messages of one database that have rows of their own. Writes nothing. */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import { idOf, LAST_POSITION, LAYOUT_HEADER, LIMIT, RANGE } from "../file/message_row.ts";
import { Content, LARGE_BYTES } from "../../message/content.ts";
import { type LaneRecord, Message } from "../../message/message.ts";
import type { Bodies } from "./bodies.ts";
import type { Rows } from "./lane_reader.ts";

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

export class MessageRows implements Rows {
  readonly reach = 0;
  readonly #bodies: Bodies;
  readonly #select: StatementSync;
  readonly #load: StatementSync;
  readonly #last: StatementSync;
  readonly #next: StatementSync;

  constructor(database: DatabaseSync, bodies: Bodies) {
    this.#bodies = bodies;
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
             ELSE length(content) + (SELECT length(shared.content) + body FROM shared
               WHERE shared.id = message.shared) END size
         FROM message WHERE ${RANGE} ORDER BY id ${LIMIT})`,
    );
    this.#load = database.prepare(
      `SELECT CASE WHEN body > 0 THEN message.content
           ELSE coalesce(shared.content, message.content) END content,
         shared, body
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

  read(
    lane: LaneRecord,
    after: number,
    last: number,
    limit: number,
    durable: boolean,
  ): Message[] {
    const row = this.#select.get(
      lane.id,
      after + 1,
      lane.id,
      last,
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
        ? new Content(row.contents!, addressLength, headerLength, offset, size)
        : { size, addressLength, headerLength };
      if (size < LARGE_BYTES) offset += size;
      const message = new Message(lane, position, content, expiries[index]!, durable);
      message.restore(deliveries[index]!);
      return message;
    });
  }

  readRow(lane: LaneRecord, first: number, durable: boolean): Message[] {
    return this.read(lane, first - 1, first, 1, durable);
  }

  findNext(lane: number, first: number): number | undefined {
    const row = this.#next.get(lane, first, lane, LAST_POSITION);
    return row?.["position"] as number | undefined;
  }

  /** The content of a stored message. */
  load({ lane, position, addressLength, headerLength }: Message): Content {
    const row = this.#load.get(lane.id, position);
    if (row === undefined) throw new Error(`message ${position} has no row`);
    const bytes = row["content"] as Uint8Array;
    const length = row["body"] as number | null;
    if (!length) return new Content(bytes, addressLength, headerLength);
    const body = this.#bodies.of(row["shared"] as number, length);
    return Content.stored(bytes, addressLength, headerLength, body, false);
  }

  /** The highest position of a row, or 0. */
  lastPosition(lane: number): number {
    return Number(this.#last.get(lane, 1, lane, LAST_POSITION)?.["position"] ?? 0);
  }
}
