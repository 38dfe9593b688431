/**
 * The messages of one database: those that are stored, with what the next commit changes about
 * them. Writing and reading the rows is done by files of their own.
 */

import type { DatabaseSync } from "node:sqlite";
import { Bodies } from "./bodies.ts";
import { Discards, isIn, type Range, type Swept } from "./discards.ts";
import { type Content, LARGE_BYTES } from "../../message/content.ts";
import { isWanted, MessageChanges, PAGE_CONTENT } from "./message_changes.ts";
import { type Found, inOrder, LaneReader, type Rows } from "./lane_reader.ts";
import { MessageRows } from "./message_rows.ts";
import { PackChanges } from "./pack_changes.ts";
import { PackRows } from "./pack_rows.ts";
import { LAST_POSITION } from "../file/message_row.ts";
import { byPacks, MessageWriter } from "./message_writer.ts";
import type { Author, RunOne } from "../refusals.ts";
import { SharedContents } from "./shared_contents.ts";
import { type LaneRecord, type Message, Row } from "../../message/message.ts";
import { Unreadable } from "./unreadable.ts";

/** Changes, and bytes of messages, that do not wait for company any more. */
export const ENOUGH_ROWS = 2_000;
const ENOUGH_BYTES = 1024 * 1024;

/**
 * Changes for each of the pages that lie apart, before a commit is worth it: whatever changes in a
 * page, all of it is written, and a publish to very many queues would fill the disk's time.
 */
const PAGE_CHANGES = 2;
/** What the longest commit costs, in changes; and what a page does. */
const MOST_COST = 10_000;
const PAGE_COST = 3;

/**
 * Positions that are left out behind those that are seen, if there are others and a file of old does
 * not say how many.
 */
const GAP = 2 ** 37;

/** Rows that are tried again in one go. */
const MOST_AGAIN = 100;

export interface TableOptions {
  /** Told why rows cannot be read; they are left out, and stay in the file. */
  readonly onDamage: (error: unknown) => void;
  /** Told that a body in chunks may have to be deleted. */
  readonly onGone?: () => void;
  /** Tables that have rows with the ids of messages, which go with ranges of them. */
  readonly others?: readonly string[];
}

export class MessageTable {
  readonly #rows: MessageRows;
  readonly #packs: PackRows;
  /** Of those in rows of their own, and of those in packs. */
  readonly #readers: readonly [LaneReader, LaneReader];
  readonly #writer: MessageWriter;
  readonly #changes = new MessageChanges();
  readonly #discards: Discards;
  readonly bodies: Bodies;
  /** The next commit removes messages whose bodies may be in chunks ({@link Content.isChunked}). */
  #removesBodies = false;
  readonly #onDamage: (error: unknown) => void;
  /** Lanes whose last rows could not be read. */
  readonly #endless = new Set<number>();
  #isUsed = false;

  constructor(database: DatabaseSync, { onDamage, onGone, others }: TableOptions) {
    this.#onDamage = onDamage;
    const shared = new SharedContents(database);
    this.bodies = new Bodies(database, shared, onDamage, onGone);
    this.#rows = new MessageRows(database, this.bodies);
    this.#packs = new PackRows(database);
    this.#readers = [
      new LaneReader("message", this.#rows, new Unreadable(), onDamage),
      new LaneReader("pack", this.#packs, new Unreadable(), onDamage),
    ];
    const packChanges = new PackChanges(database);
    this.#writer = new MessageWriter(database, packChanges, shared, this.bodies);
    this.#discards = new Discards(database, packChanges, others);
  }

  // -- what the next commit changes --

  /** Whether a commit would write anything. */
  get dirty(): boolean {
    return !this.#changes.isEmpty || this.bodies.dirty;
  }

  /** Rows that a commit would write or delete. */
  get pendingRows(): number {
    return this.#changes.rows;
  }

  /** Bytes of messages that wait to be written. */
  get pendingBytes(): number {
    return this.#changes.bytes + this.bodies.waitingBytes;
  }

  /** Pages that a commit would change, about. */
  get pendingPages(): number {
    return this.#changes.pages + this.bodies.waitingBytes / PAGE_CONTENT;
  }

  /** Whether so much waits for the commit that it should not wait longer. @param times as much */
  isFull(times: number): boolean {
    const { rows, bytes, scattered } = this.#changes;
    return rows >= Math.max(times * ENOUGH_ROWS, PAGE_CHANGES * scattered) ||
      bytes >= times * ENOUGH_BYTES || this.bodies.isFull ||
      rows + PAGE_COST * scattered >= MOST_COST;
  }

  insert(message: Message, author: Author | undefined): void {
    this.#isUsed = true;
    this.#changes.insert(message, author);
  }

  remove(message: Message): void {
    if (message.size >= LARGE_BYTES) this.#removesBodies = true;
    this.#changes.remove(message);
  }

  /** Remembers that `message.deliveries` changed. */
  update(message: Message): void {
    if (message.row === Row.stored) this.#changes.update(message);
  }

  /**
   * Gives up all messages of a lane between two positions.
   * @param short their bytes, at most, if they are few
   */
  discard(lane: LaneRecord, first: number, last: number, short: number | undefined): void {
    this.#changes.removeRange(lane, first, last);
    const range = { lane: lane.id, first, last };
    if (short === undefined) return this.#discard(range);
    // Their bytes do not count what of them is delivered and transient.
    this.#removesBodies = true;
    this.#changes.discardShort(range, short);
  }

  #discard(range: Range): void {
    this.#changes.discards.add(range);
    this.#discards.add(range);
  }

  /** Whether anything was ever entrusted to this object. */
  get isUsed(): boolean {
    return this.#isUsed;
  }

  // -- writing --

  /**
   * Runs the statements, inside the transaction of the caller. What was remembered stays so until
   * {@link written}, and can be written again after a rollback.
   */
  write(): void {
    this.#writer.write(this.#changes);
  }

  /**
   * The same, message by message.
   * @param attempt runs a statement
   * @param onCounted told of the messages that are left out, and of those that stay
   */
  writeSingly(attempt: RunOne, onCounted: (message: Message, change: 1 | -1) => void): void {
    this.#writer.writeSingly(this.#changes, attempt, onCounted);
  }

  /**
   * Inside the transaction of the caller: gives stored messages that are in packs rows of their own.
   * What cannot be read stays where it is.
   * @throws when what lies beside it cannot be read: then nothing can be committed any more
   */
  unpack(messages: readonly Message[]): void {
    for (const some of byPacks(messages.filter(({ pack }) => pack !== undefined))) {
      const { lane, pack, durable } = some[0]!;
      try {
        this.#packs.readRow(lane, pack!.first, durable);
      } catch {
        continue;
      }
      this.#writer.unpack(some);
    }
  }

  /**
   * What is to be deleted is deleted after the next commit, by itself: something of it cannot be read.
   * @returns whether that changes what the commit writes
   */
  postpone(): boolean {
    return this.#changes.postpone();
  }

  /** All changes are on disk: forget them. */
  written(): void {
    for (const range of this.#changes.postponed()) this.#discards.add(range);
    this.bodies.written();
    if (this.#removesBodies) this.bodies.noteGone();
    this.#removesBodies = false;
    this.#changes.written(this.#writer.written());
  }

  /**
   * Deletes some rows of given up ranges, and some chunks, in transactions of their own.
   * @returns how many rows, and the ids of lanes of which nothing is left to delete
   */
  sweep(): Swept {
    const chunks = this.bodies.sweep();
    if (this.#discards.isEmpty) return { rows: chunks, lanes: [] };
    const { rows, lanes } = this.#discards.sweep(this.#changes.discards);
    this.bodies.noteGone();
    return { rows: rows + chunks, lanes };
  }

  // -- reading --

  /**
   * Up to `limit` messages of a lane behind a position, in order. They come as new objects, except
   * those that are still to be written.
   */
  read(lane: LaneRecord, after: number, limit: number, durable: boolean): Found {
    const [own, packed] = this.#readers
      .map((reader) => this.#readStored(reader, lane, after, limit, durable));
    const found = inOrder(own!, packed!, limit);
    if (found.upTo < LAST_POSITION) return found;
    const { messages } = found;
    for (const message of this.#changes.inserts) {
      if (messages.length >= limit) break;
      const { position } = message;
      const isNext = message.lane === lane && position > after && isWanted(message);
      if (isNext && !this.#isUnreadable(message)) messages.push(message);
    }
    return found;
  }

  #isUnreadable({ lane, position }: Message): boolean {
    return this.#readers.some(({ unreadable }) =>
      unreadable.skip(lane.id, position - 1) >= position
    );
  }

  /**
   * Leaves out what was discarded and is not deleted yet. Fewer than `limit` only if there are no
   * more: what comes after them is read by other means.
   */
  #readStored(
    reader: LaneReader,
    lane: LaneRecord,
    after: number,
    limit: number,
    durable: boolean,
  ): Found {
    const { table } = reader;
    const ranges = this.#discards.of(lane.id).filter(({ of }) => (of ?? table) === table);
    const live: Message[] = [];
    for (let from = after; live.length < limit;) {
      for (const { first, last } of ranges) if (first <= from + 1) from = Math.max(from, last);
      const { messages, upTo } = reader
        .read(lane, from, limit - live.length, durable, () => this.#lastStored(lane, after));
      live.push(...messages.filter(({ position }) => !isIn(ranges, table, position)));
      if (upTo < LAST_POSITION) return { messages: live, upTo };
      if (messages.length === 0) break;
      from = messages.at(-1)!.position;
    }
    return { messages: live, upTo: LAST_POSITION };
  }

  /** No row of a lane that is behind `after` has a higher position: those are still to be written. */
  #lastStored(lane: LaneRecord, after: number): number {
    // Transient ones that were delivered come late, and lie before it.
    const waiting = this.#changes.inserts
      .find((message) => message.lane === lane && message.position > after);
    return waiting === undefined ? lane.lastPosition : waiting.position - 1;
  }

  // -- what cannot be read --

  /** Whether messages of a lane cannot be read. */
  hasUnreadable(lane: number): boolean {
    return this.#endless.has(lane) || this.#readers.some(({ unreadable }) => unreadable.has(lane));
  }

  /** Whether no message is known that cannot be read. */
  get isReadable(): boolean {
    return this.#endless.size === 0 &&
      this.#readers.every(({ unreadable }) => unreadable.isEmpty);
  }

  /** A message cannot be read, and nobody has it any more. */
  addUnreadable(message: Message): void {
    const { lane, position, pack } = message;
    const [own, packed] = this.#readers;
    (pack === undefined ? own : packed).unreadable.add(lane.id, position, position);
    // With its count it could get a row of its own, where nobody would look for it.
    if (pack !== undefined) this.#changes.updates.delete(message);
  }

  /**
   * What cannot be read of a lane is not missed any more, and given up.
   * @returns whether there was any
   */
  discardUnreadable(lane: LaneRecord): boolean {
    let isAny = this.#endless.delete(lane.id);
    for (const { table, unreadable } of this.#readers) {
      for (const { first, last } of unreadable.forget(lane.id)) {
        isAny = true;
        // Later and by itself: that may fail too. Somebody may have what the other table has there.
        this.#discard({ lane: lane.id, first, last, of: table });
      }
    }
    return isAny;
  }

  /**
   * Tries again to read what could not be read, in slices.
   * @returns each time what can be read now, as new objects without their bytes
   */
  *readAgain(lane: LaneRecord, durable: boolean): Generator<Message[]> {
    for (const reader of this.#readers) {
      const ranges = [...reader.unreadable.of(lane.id)];
      while (ranges.length > 0) yield this.#readAgain(reader, lane, ranges, durable);
    }
    if (this.#endless.delete(lane.id)) this.lastPosition(lane.id, 0);
  }

  /** @param ranges that cannot be read; those that were tried are taken out */
  #readAgain(reader: LaneReader, lane: LaneRecord, ranges: Range[], durable: boolean): Message[] {
    const { first, last } = ranges.shift()!;
    reader.unreadable.remove(lane.id, first, last);
    const { messages, upTo } = reader.readSingly(lane, first - 1, MOST_AGAIN, durable, last);
    const end = messages.length < MOST_AGAIN ? upTo : messages.at(-1)!.position;
    if (end < last) {
      reader.unreadable.add(lane.id, end + 1, last);
      ranges.unshift({ lane: lane.id, first: end + 1, last });
    }
    const discarded = this.#discards.of(lane.id);
    return messages.filter((message) => {
      if (isIn(discarded, reader.table, message.position)) return false;
      try {
        if (message.content === null) this.load(message);
      } catch {
        this.addUnreadable(message);
        return false;
      }
      message.release();
      return true;
    });
  }

  /** The content of a stored message. */
  load(message: Message): Content {
    return message.pack === undefined ? this.#rows.load(message) : this.#packs.load(message);
  }

  /** Whether rows of given up ranges are left. */
  get hasDiscarded(): boolean {
    return !this.#discards.isEmpty || this.bodies.haveGone;
  }

  /** Lanes with given up ranges. */
  discardedLanes(): number[] {
    return this.#discards.lanes();
  }

  hasDiscardedOf(lane: number): boolean {
    return this.#discards.has(lane);
  }

  /**
   * The highest position in use, that of a row or of a given up range, or 0. When rows cannot be
   * read, none of them is behind it.
   * @param known a position that no row is behind; 0: not known
   */
  lastPosition(lane: number, known: number): number {
    const seen = [this.#rows, this.#packs].map((rows) => this.#lastSeen(rows, lane));
    const isSure = known > 0 || !seen.includes(undefined);
    const discarded = this.#discards.of(lane).map(({ last }) => last);
    const last = Math.max(...seen.map((position) => position ?? known), ...discarded);
    return isSure ? last : last + GAP;
  }

  /** @returns undefined: it cannot be read */
  #lastSeen(rows: Rows, lane: number): number | undefined {
    try {
      return rows.lastPosition(lane);
    } catch (error) {
      this.#endless.add(lane);
      this.#onDamage(error);
      return undefined;
    }
  }
}
