/**
 * The messages of one database, written in groups: what changes between two commits is remembered
 * here and becomes one run of statements. A message that comes and goes between two commits is
 * never written at all.
 *
 * Whole ranges are given up with one row in the table `discarded`, whatever their length; their rows
 * are deleted piece by piece by {@link MessageTable.sweep}. Short ones are deleted at once.
 */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import { checksumOf } from "./checksum.ts";
import type { Attempt, Author } from "./refusals.ts";
import { type LaneRecord, LARGE_BYTES, Message, Row } from "../message/message.ts";

/** Rows per INSERT statement: fewer calls into SQLite. */
const INSERT_ROWS = 32;

/** Bits of a row id that hold the position; those above hold the lane. */
export const POSITION_BITS = 40;

export const LAST_POSITION = 2 ** POSITION_BITS - 1;

/** Row ids have 63 bits. */
export const LAST_LANE = 2 ** (63 - POSITION_BITS) - 1;

/** The rows of a lane lie together, in the order of their positions. */
export const MESSAGE_COLUMNS = `id INTEGER PRIMARY KEY, expires_at INTEGER NOT NULL,
  deliveries INTEGER NOT NULL, layout INTEGER NOT NULL, content BLOB NOT NULL, checksum INTEGER,
  shared INTEGER`;

/** Bytes from which on a content that several messages have is written once. */
const SHARED_FROM = 512;

/** It costs every deletion something, so it is there only while contents are shared. */
const COUNT_COPIES = `CREATE TRIGGER IF NOT EXISTS message_gone
  AFTER DELETE ON message WHEN OLD.shared IS NOT NULL BEGIN
    UPDATE shared SET copies = copies - 1 WHERE id = OLD.shared;
    DELETE FROM shared WHERE id = OLD.shared AND copies <= 0;
  END`;
const COUNT_NO_COPIES = "DROP TRIGGER IF EXISTS message_gone";

/** In the row of a message whose content is shared. */
const NO_BYTES = new Uint8Array();

/** Milliseconds, and rows at most, to delete of given up ranges in one transaction. */
const SWEEP_MS = 10;
const SWEEP_ROWS = 5_000;

/** Rows that cannot be read, after which a lane is given up. */
const MOST_UNREADABLE = 20_000;

/** SQL for the row id of a position in a lane. */
function idOf(lane: string, position: string): string {
  return `(${lane} << ${POSITION_BITS} | ${position})`;
}

type Value = number | Uint8Array | null;

/** Values of a row, its id being two. */
const COLUMNS = 8;

interface Range {
  lane: number;
  /** Positions, both included. */
  first: number;
  last: number;
}

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

export class MessageTable {
  readonly #database: DatabaseSync;
  readonly #insertMany: StatementSync;
  readonly #insertOne: StatementSync;
  readonly #insertShared: StatementSync;
  readonly #anyShared: StatementSync;
  readonly #delete: StatementSync;
  readonly #deleteSome: StatementSync;
  readonly #update: StatementSync;
  readonly #select: StatementSync;
  readonly #load: StatementSync;
  readonly #last: StatementSync;
  readonly #next: StatementSync;
  readonly #onDamage: (error: unknown) => void;
  /** Positions of lanes, by their ids, behind which nothing can be read. */
  readonly #givenUp = new Map<number, number>();
  /** Contents may be shared, and then their copies are counted by {@link COUNT_COPIES}. */
  #isSharing: boolean;
  /** This transaction has made sure of that. */
  #isCounting = false;
  /** The highest id of a shared content so far. */
  #lastShared: number;
  #inserts: Message[] = [];
  /** Who published them. */
  #authors: (Author | undefined)[] = [];
  #insertedBytes = 0;
  /** Positions of stored rows to delete, by lane. */
  #removals = new Map<LaneRecord, number[]>();
  #removed = 0;
  #updates = new Set<Message>();
  #discards = new Set<Range>();
  /** Ranges with few rows, which the next commit deletes. */
  #shortDiscards: Range[] = [];
  /** Ranges whose rows are not all deleted, those of {@link #discards} included, in order. */
  readonly #discarded = new Set<Range>();
  readonly #discardedOf = new Map<number, Set<Range>>();
  /** Rows to delete in {@link SWEEP_MS}: those of large messages take longer. */
  #sweepRows = 500;

  /** @param onDamage told why rows cannot be read; they are left out, and stay in the file */
  constructor(database: DatabaseSync, onDamage: (error: unknown) => void) {
    this.#database = database;
    this.#onDamage = onDamage;
    const values = `(${idOf("?", "?")}, ?, ?, ?, ?, ?, ?)`;
    const columns = "id, expires_at, deliveries, layout, content, checksum, shared";
    const insert = `INSERT INTO message(${columns}) VALUES `;
    this.#insertOne = database.prepare(insert + values);
    this.#insertMany = database.prepare(insert + Array(INSERT_ROWS).fill(values).join(","));
    // Not numbered: Deno 2.4 cannot bind "?1". Lane and position, twice.
    const range = `id BETWEEN ${idOf("?", "?")} AND ${idOf("?", "?")}`;
    this.#delete = database.prepare(`DELETE FROM message WHERE ${range}`);
    this.#deleteSome = database.prepare(
      `DELETE FROM message
       WHERE id IN (SELECT id FROM message WHERE ${range} ORDER BY id LIMIT ?)`,
    );
    this.#update = database.prepare(
      `UPDATE message SET deliveries = ? WHERE id = ${idOf("?", "?")}`,
    );
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
         FROM message WHERE ${range} ORDER BY id LIMIT ?)`,
    );
    this.#load = database.prepare(
      `SELECT coalesce(shared.content, message.content) content
       FROM message LEFT JOIN shared ON shared.id = message.shared
       WHERE message.id = ${idOf("?", "?")}`,
    );
    this.#insertShared = database.prepare(
      "INSERT INTO shared(id, copies, checksum, content) VALUES (?, ?, ?, ?)",
    );
    this.#anyShared = database.prepare("SELECT 1 FROM shared LIMIT 1");
    this.#isSharing = true;
    this.#lastShared = Number(
      database.prepare("SELECT max(id) last FROM shared").get()!["last"] ?? 0,
    );
    this.#last = database.prepare(
      `SELECT id & ${LAST_POSITION} position FROM message WHERE ${range} ORDER BY id DESC LIMIT 1`,
    );
    this.#next = database.prepare(
      `SELECT id & ${LAST_POSITION} position FROM message WHERE ${range} ORDER BY id LIMIT 1`,
    );
    const ranges = database.prepare("SELECT lane, first, last FROM discarded ORDER BY rowid");
    for (const range of ranges.all() as unknown as Range[]) this.#remember(range);
  }

  /** Whether a commit would write anything. */
  get dirty(): boolean {
    return this.#inserts.length > 0 || this.#removals.size > 0 || this.#updates.size > 0 ||
      this.#discards.size > 0 || this.#shortDiscards.length > 0;
  }

  /** Rows that a commit would write or delete. */
  get pendingRows(): number {
    return this.#inserts.length + this.#removed + this.#updates.size;
  }

  /** Bytes of messages that wait to be written. */
  get pendingBytes(): number {
    return this.#insertedBytes;
  }

  insert(message: Message, author: Author | undefined): void {
    message.row = Row.pending;
    const isCopy = this.#inserts.at(-1)?.bytes === message.bytes;
    this.#inserts.push(message);
    this.#authors.push(author);
    if (!isCopy) this.#insertedBytes += message.size;
  }

  remove(message: Message): void {
    if (message.row === Row.pending) {
      message.row = Row.skipped;
      message.bytes = null;
      this.#insertedBytes -= message.size;
      return;
    }
    message.row = Row.none;
    this.#removed++;
    const positions = this.#removals.get(message.lane);
    if (positions === undefined) this.#removals.set(message.lane, [message.position]);
    else positions.push(message.position);
  }

  /** Remembers that `message.deliveries` changed. */
  update(message: Message): void {
    if (message.row === Row.stored) this.#updates.add(message);
  }

  /**
   * Runs the statements of this group, inside the transaction of the caller. What was remembered
   * stays so until {@link settled}, and can be written again after a rollback.
   */
  write(): void {
    this.#isCounting = false;
    if (this.#isSharing && this.#anyShared.get() === undefined) {
      this.#database.exec(COUNT_NO_COPIES);
      this.#isSharing = false;
    }
    this.#writeInserts();
    this.#writeOthers();
  }

  /**
   * The same, message by message.
   * @param attempt runs a statement
   * @param onRefused told of the messages that are left out
   */
  writeSingly(attempt: Attempt, onRefused: (message: Message) => void): void {
    for (const [index, message] of this.#inserts.entries()) {
      if (!isWanted(message)) continue;
      const isWritten = attempt({ author: this.#authors[index], what: "a message" }, () => {
        const values: Value[] = [];
        pushValues(values, message, null);
        this.#insertOne.run(...values);
      });
      if (isWritten) continue;
      message.row = Row.skipped;
      onRefused(message);
    }
    this.#writeOthers();
  }

  /** What takes nothing from a client but its place. */
  #writeOthers(): void {
    for (const [lane, positions] of this.#removals) {
      if (!lane.dropped) this.#writeRemovals(lane.id, positions);
    }
    for (const { lane, deliveries, position } of this.#updates) {
      if (!lane.dropped) this.#update.run(deliveries, lane.id, position);
    }
    for (const { lane, first, last } of this.#discards) {
      this.#database.prepare("INSERT INTO discarded VALUES (?, ?, ?)").run(lane, first, last);
    }
    for (const { lane, first, last } of this.#shortDiscards) {
      this.#delete.run(lane, first, lane, last);
    }
  }

  #writeInserts(): void {
    const messages = this.#inserts.filter(isWanted);
    let values: Value[] = [];
    let shared: number | null = null;
    for (const [index, message] of messages.entries()) {
      const { bytes } = message;
      // The copies of one publish stand behind one another.
      if (index === 0 || messages[index - 1]!.bytes !== bytes) {
        shared = this.#share(messages, index);
      }
      pushValues(values, message, shared);
      if (values.length < INSERT_ROWS * COLUMNS) continue;
      this.#insertMany.run(...values);
      values = [];
    }
    for (let at = 0; at < values.length; at += COLUMNS) {
      this.#insertOne.run(...values.slice(at, at + COLUMNS));
    }
  }

  /** @returns the id of a content, if others behind the message have the same and it is not small */
  #share(messages: Message[], index: number): number | null {
    const { bytes, size } = messages[index]!;
    if (size < SHARED_FROM || messages[index + 1]?.bytes !== bytes) return null;
    // Once in each transaction: a rollback may have taken it away.
    if (!this.#isCounting) this.#database.exec(COUNT_COPIES);
    this.#isCounting = this.#isSharing = true;
    let end = index + 1;
    while (messages[end]?.bytes === bytes) end++;
    this.#insertShared.run(++this.#lastShared, end - index, checksumOf(bytes!), bytes!);
    return this.#lastShared;
  }

  /** Consecutive positions become one range. */
  #writeRemovals(lane: number, positions: number[]): void {
    positions.sort((one, other) => one - other);
    let first = positions[0]!;
    let last = first;
    for (const position of positions) {
      if (position > last + 1) {
        this.#delete.run(lane, first, lane, last);
        first = position;
      }
      last = position;
    }
    this.#delete.run(lane, first, lane, last);
  }

  /** The group is on disk: forget it. */
  settled(): void {
    for (const message of this.#inserts) {
      if (message.row === Row.pending) message.stored();
    }
    this.#inserts = [];
    this.#authors = [];
    this.#insertedBytes = 0;
    this.#removals.clear();
    this.#removed = 0;
    this.#updates.clear();
    this.#discards.clear();
    this.#shortDiscards = [];
  }

  /**
   * Up to `limit` messages of a lane behind a position, in order. They come as new objects, except
   * those that are still to be written.
   */
  read(lane: LaneRecord, after: number, limit: number, durable: boolean): Message[] {
    const messages = this.#readStored(lane, after, limit, durable);
    for (const message of this.#inserts) {
      if (messages.length >= limit) break;
      const isNext = message.lane === lane && message.position > after && isWanted(message);
      if (isNext) messages.push(message);
    }
    return messages;
  }

  /**
   * Leaves out what was discarded and is not deleted yet. Fewer than `limit` only if there are no
   * more: what comes after them is read by other means.
   */
  #readStored(lane: LaneRecord, after: number, limit: number, durable: boolean): Message[] {
    const ranges = [...this.#discardedOf.get(lane.id) ?? []];
    const live: Message[] = [];
    for (let from = after; live.length < limit;) {
      for (const { first, last } of ranges) if (first <= from + 1) from = Math.max(from, last);
      const messages = this.#readRows(lane, from, limit - live.length, durable);
      if (messages.length === 0) break;
      for (const message of messages) {
        const { position } = message;
        const isDiscarded = ranges.some(({ first, last }) => first <= position && position <= last);
        if (!isDiscarded) live.push(message);
      }
      from = messages.at(-1)!.position;
    }
    return live;
  }

  #readRows(lane: LaneRecord, after: number, limit: number, durable: boolean): Message[] {
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
      const bytes = size < LARGE_BYTES ? row.contents!.subarray(offset, offset += size) : null;
      const layout = layouts[index]!;
      const addressLength = layout % 0x10000;
      const headerLength = Math.floor(layout / 0x10000);
      const expiresAt = expiries[index]!;
      const message = new Message(
        lane,
        position,
        bytes,
        size,
        addressLength,
        headerLength,
        expiresAt,
        durable,
      );
      message.deliveries = deliveries[index]!;
      message.redelivered = message.deliveries > 0;
      message.row = Row.stored;
      return message;
    });
  }

  /** The bytes of a stored message. */
  load(message: Message): Uint8Array {
    const row = this.#load.get(message.lane.id, message.position);
    if (row === undefined) throw new Error(`message ${message.position} has no row`);
    return row["content"] as Uint8Array;
  }

  /** Gives up all messages of a lane between two positions. @param short they are few */
  discard(lane: LaneRecord, first: number, last: number, short: boolean): void {
    for (const message of this.#inserts) {
      const { position } = message;
      if (message.lane !== lane || message.row !== Row.pending) continue;
      if (first <= position && position <= last) this.remove(message);
    }
    const range = { lane: lane.id, first, last };
    if (short) return void this.#shortDiscards.push(range);
    this.#discards.add(range);
    this.#remember(range);
  }

  /** Whether rows of given up ranges are left. */
  get hasDiscarded(): boolean {
    return this.#discarded.size > 0;
  }

  /** Lanes with given up ranges. */
  discardedLanes(): number[] {
    return [...this.#discardedOf.keys()];
  }

  hasDiscardedOf(lane: number): boolean {
    return this.#discardedOf.has(lane);
  }

  #remember(range: Range): void {
    this.#discarded.add(range);
    const others = this.#discardedOf.get(range.lane);
    if (others === undefined) this.#discardedOf.set(range.lane, new Set([range]));
    else others.add(range);
  }

  /** @returns whether it was the last one of its lane */
  #forget(range: Range): boolean {
    this.#discarded.delete(range);
    const others = this.#discardedOf.get(range.lane)!;
    others.delete(range);
    return others.size === 0 && this.#discardedOf.delete(range.lane);
  }

  /**
   * Deletes some rows of given up ranges, in a transaction of its own.
   * @returns the ids of lanes of which nothing is left to delete
   */
  sweep(): number[] {
    const started = performance.now();
    const done: Range[] = [];
    let left = this.#sweepRows;
    this.#database.exec("BEGIN IMMEDIATE");
    for (const range of this.#discarded) {
      if (left <= 0 || this.#discards.has(range)) break;
      const { lane, first, last } = range;
      const changes = Number(this.#deleteSome.run(lane, first, lane, last, left).changes);
      const isLast = changes < left;
      // A range without rows is work too.
      left -= changes + 1;
      if (!isLast) break;
      this.#database.prepare("DELETE FROM discarded WHERE lane = ? AND first = ? AND last = ?")
        .run(lane, first, last);
      done.push(range);
    }
    this.#database.exec("COMMIT");
    const factor = SWEEP_MS / (performance.now() - started);
    this.#sweepRows = Math.round(Math.max(1, Math.min(SWEEP_ROWS, this.#sweepRows * factor)));
    return done.filter((range) => this.#forget(range)).map(({ lane }) => lane);
  }

  /** The highest position in use, that of a row or of a given up range, or 0. */
  lastPosition(lane: number): number {
    const row = this.#last.get(lane, 1, lane, LAST_POSITION);
    const ranges = [...this.#discardedOf.get(lane) ?? []];
    return Math.max(Number(row?.["position"] ?? 0), ...ranges.map(({ last }) => last));
  }
}

function isWanted(message: Message): boolean {
  return message.row === Row.pending && !message.lane.dropped;
}

function pushValues(values: Value[], message: Message, shared: number | null): void {
  values.push(
    message.lane.id,
    message.position,
    message.expiresAt,
    message.deliveries,
    message.headerLength * 0x10000 + message.addressLength,
    shared === null ? message.bytes! : NO_BYTES,
    // The others are not there any more when somebody looks.
    message.durable && shared === null ? checksumOf(message.bytes!) : 0,
    shared,
  );
}
