/** Reads the messages of lanes from one table, past rows that cannot be read. Writes nothing. */

import { LAST_POSITION } from "../file/message_row.ts";
import type { MessageSource } from "./discards.ts";
import type { LaneRecord, Message } from "../../message/message.ts";
import type { Unreadable } from "./unreadable.ts";

/** Milliseconds of looking for what can be read behind what cannot. */
const SLICE_MS = 3;

/** Rows that cannot be read for each of those behind them that may be missed. */
const MOST_MISSED = 16;

/** The rows of a table, each with one message or some. All of these throw when rows cannot be read. */
export interface Rows {
  /** How many positions behind its own a row may have messages at. */
  readonly reach: number;
  /**
   * Up to `limit` messages of a lane behind a position and up to another one, in order, as new
   * objects. Fewer only if there are no more.
   */
  read(
    lane: LaneRecord,
    after: number,
    last: number,
    limit: number,
    durable: boolean,
  ): Message[];
  /** Those of the row at a position. */
  readRow(lane: LaneRecord, first: number, durable: boolean): Message[];
  /** The position of the first row from one on. */
  findNext(lane: number, first: number): number | undefined;
  /** The highest position of a message that is, or was, in a row that is there, or 0. */
  lastPosition(lane: number): number;
}

export interface Found {
  messages: Message[];
  /** Position up to which all was looked at. Nothing is behind it, unless looking takes long. */
  upTo: number;
}

export class LaneReader {
  readonly table: MessageSource;
  readonly #rows: Rows;
  /** Positions that nobody has read. */
  readonly unreadable: Unreadable;
  readonly #onDamage: (error: unknown) => void;

  /**
   * @param unreadable where positions are noted that cannot be read; they are left out
   * @param onDamage told why
   */
  constructor(
    table: MessageSource,
    rows: Rows,
    unreadable: Unreadable,
    onDamage: (error: unknown) => void,
  ) {
    this.table = table;
    this.#rows = rows;
    this.unreadable = unreadable;
    this.#onDamage = onDamage;
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
      from = this.unreadable.skip(lane.id, from);
      const next = this.unreadable.next(lane.id, from);
      let messages: Message[];
      try {
        messages = this.#rows
          .read(lane, from, Math.min(next - 1, LAST_POSITION), limit, durable);
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
    let from = this.unreadable.skip(lane.id, after);
    let row = 0;
    while (messages.length < limit && from < last) {
      row = Math.max(row, from + 1 - this.#rows.reach, 1);
      let found: number | undefined;
      try {
        found = this.#rows.findNext(lane.id, row);
        if (found === undefined || found > last) break;
        for (const message of this.#rows.readRow(lane, found, durable)) {
          const { position } = message;
          if (position <= from || position > last) continue;
          if (this.unreadable.skip(lane.id, position - 1) < position) messages.push(message);
        }
        from = Math.max(from, found, messages.at(-1)?.position ?? 0);
        row = found + 1;
      } catch (error) {
        const bad = found ?? this.endOfUnreadable(lane.id, row, last);
        const first = Math.max(from + 1, found ?? row);
        from = Math.max(from, Math.min(last, this.#endOf(lane.id, bad)));
        row = bad + 1;
        if (first <= from) {
          this.unreadable.add(lane.id, first, from);
          this.#onDamage(error);
        }
      }
      from = this.unreadable.skip(lane.id, from);
      // Without a step forward the next slice would do the same.
      const isOver = from > after && performance.now() > end;
      if (isOver && messages.length < limit) return { messages, upTo: from };
    }
    return { messages: messages.slice(0, limit), upTo: LAST_POSITION };
  }

  /** The last position that a row can have a message at. */
  #endOf(lane: number, row: number): number {
    const { reach } = this.#rows;
    if (reach === 0) return row;
    let next: number | undefined;
    try {
      next = this.#rows.findNext(lane, row + 1);
    } catch {
      // It cannot be read either.
    }
    return Math.min(row + reach, (next ?? Infinity) - 1);
  }

  /** The position of the first row from one on. @throws when it cannot be read */
  findNext(lane: number, first: number): number | undefined {
    return this.#rows.findNext(lane, first);
  }

  /**
   * Where rows that lie together end, all of which cannot be found. The next ones that can are missed
   * if they are few behind many.
   */
  endOfUnreadable(lane: number, first: number, last: number): number {
    // A row with many messages, whose position is close behind another one's, is not few.
    const exact = first + MOST_MISSED * this.#rows.reach;
    let low = first;
    let high = last + 1;
    while (low + 1 < high) {
      const next = low + 1 + Math.floor(Math.max(0, low - exact) / MOST_MISSED);
      if (next >= high) break;
      if (this.#canFind(lane, next)) high = next;
      else low = next;
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
      this.#rows.findNext(lane, first);
      return true;
    } catch {
      return false;
    }
  }
}

/** What two tables have of a lane, in one order, as far as both were looked at. */
export function inOrder(one: Found, other: Found, limit: number): Found {
  const upTo = Math.min(one.upTo, other.upTo);
  if (other.messages.length === 0 && upTo === LAST_POSITION) return one;
  if (one.messages.length === 0 && upTo === LAST_POSITION) return other;
  const messages = one.messages.concat(other.messages)
    .filter(({ position }) => position <= upTo)
    .sort((first, second) => first.position - second.position)
    .slice(0, limit);
  return { messages, upTo };
}
