/** Reads the stored messages of one database. Writes nothing. */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import { idOf, LAST_POSITION, LAYOUT_HEADER, RANGE } from "../file/message_row.ts";
import { Content, LARGE_BYTES } from "../../message/content.ts";
import { type LaneRecord, Message } from "../../message/message.ts";
import type { Unreadable } from "./unreadable.ts";

/** Milliseconds of looking for what can be read behind what cannot. */
const SLICE_MS = 3;

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

export interface Found {
  messages: Message[];
  /** Position up to which all was looked at. Nothing is behind it, unless looking takes long. */
  upTo: number;
}

export class MessageReader {
  readonly #select: StatementSync;
  readonly #load: StatementSync;
  readonly #last: StatementSync;
  readonly #next: StatementSync;
  readonly #unreadable: Unreadable;
  readonly #onDamage: (error: unknown) => void;

  /**
   * @param unreadable where rows are noted that cannot be read; they are left out
   * @param onDamage told why
   */
  constructor(
    database: DatabaseSync,
    unreadable: Unreadable,
    onDamage: (error: unknown) => void,
  ) {
    this.#unreadable = unreadable;
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

  /**
   * Up to `limit` messages of a lane behind a position, in order, as new objects.
   * @param last no row behind it is missed
   */
  read(
    lane: LaneRecord,
    after: number,
    limit: number,
    durable: boolean,
    last: () => number,
  ): Found {
    for (let from = after;;) {
      from = this.#unreadable.skip(lane.id, from);
      const next = this.#unreadable.next(lane.id, from);
      let messages: Message[];
      try {
        messages = this.#readTogether(
          lane,
          from,
          Math.min(next - 1, LAST_POSITION),
          limit,
          durable,
        );
      } catch {
        // One of them; or the disk has failed, and does not any more.
        return this.readSingly(lane, from, limit, durable, last());
      }
      if (messages.length > 0 || next === Infinity) return { messages, upTo: LAST_POSITION };
      from = next - 1;
    }
  }

  /** The same up to `last`, past rows that cannot be read, in slices. */
  readSingly(
    lane: LaneRecord,
    after: number,
    limit: number,
    durable: boolean,
    last: number,
  ): Found {
    const messages: Message[] = [];
    const end = performance.now() + SLICE_MS;
    for (let from = after; messages.length < limit;) {
      from = this.#unreadable.skip(lane.id, from);
      let bad: number | undefined;
      try {
        bad = this.findNext(lane.id, from + 1);
        if (bad === undefined || bad > last) break;
        messages.push(...this.#readTogether(lane, bad - 1, bad, 1, durable));
        from = bad;
      } catch (error) {
        if (from >= last) break;
        const first = bad ?? from + 1;
        from = bad ?? this.endOfUnreadable(lane.id, first, last);
        this.#unreadable.add(lane.id, first, from);
        this.#onDamage(error);
      }
      if (performance.now() > end) return { messages, upTo: from };
    }
    return { messages, upTo: LAST_POSITION };
  }

  /** The position of the first row from `first` on. @throws when it cannot be read */
  findNext(lane: number, first: number): number | undefined {
    const row = this.#next.get(lane, first, lane, LAST_POSITION);
    return row?.["position"] as number | undefined;
  }

  /** Where rows that lie together end, all of which cannot be found. */
  endOfUnreadable(lane: number, first: number, last: number): number {
    let low = first;
    let high = last + 1;
    for (let step = 1; low + step < high; step *= 2) {
      if (this.#canFind(lane, low + step)) high = low + step;
      else low += step;
    }
    while (low + 1 < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.#canFind(lane, middle)) high = middle;
      else low = middle;
    }
    return low;
  }

  #canFind(lane: number, first: number): boolean {
    try {
      this.findNext(lane, first);
      return true;
    } catch {
      return false;
    }
  }

  #readTogether(
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

/** What two tables have of a lane, in one order, as far as both were looked at. */
export function inOrder(one: Found, other: Found, limit: number): Found {
  const upTo = Math.min(one.upTo, other.upTo);
  const messages = one.messages.concat(other.messages)
    .filter(({ position }) => position <= upTo)
    .sort((first, second) => first.position - second.position)
    .slice(0, limit);
  return { messages, upTo };
}
