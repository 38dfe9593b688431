/**
 * The messages of one database: those that are stored, with what the next commit changes about
 * them. Writing and reading the rows is done by files of their own.
 */

import type { DatabaseSync } from "node:sqlite";
import { Discards, type Range, type Swept } from "./discards.ts";
import type { Content } from "../../message/content.ts";
import { isWanted, MessageChanges } from "./message_changes.ts";
import { type Found, MessageReader } from "./message_reader.ts";
import { LAST_POSITION } from "../file/message_row.ts";
import { MessageWriter } from "./message_writer.ts";
import type { Author, RunOne } from "../refusals.ts";
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

/** Rows that are tried again in one go. */
const MOST_AGAIN = 100;

export class MessageTable {
  readonly #reader: MessageReader;
  readonly #writer: MessageWriter;
  readonly #changes = new MessageChanges();
  readonly #discards: Discards;
  readonly #unreadable = new Unreadable();
  #isUsed = false;

  /**
   * @param onDamage told why rows cannot be read; they are left out, and stay in the file
   * @param others tables that have rows with the ids of messages, which go with ranges of them
   */
  constructor(
    database: DatabaseSync,
    onDamage: (error: unknown) => void,
    others: readonly string[] = [],
  ) {
    this.#reader = new MessageReader(database, this.#unreadable, onDamage);
    this.#writer = new MessageWriter(database);
    this.#discards = new Discards(database, others);
  }

  // -- what the next commit changes --

  /** Whether a commit would write anything. */
  get dirty(): boolean {
    return !this.#changes.isEmpty;
  }

  /** Rows that a commit would write or delete. */
  get pendingRows(): number {
    return this.#changes.rows;
  }

  /** Bytes of messages that wait to be written. */
  get pendingBytes(): number {
    return this.#changes.bytes;
  }

  /** Pages that a commit would change, about. */
  get pendingPages(): number {
    return this.#changes.pages;
  }

  /** Whether so much waits for the commit that it should not wait longer. @param times as much */
  isFull(times: number): boolean {
    const { rows, bytes, scattered } = this.#changes;
    return rows >= Math.max(times * ENOUGH_ROWS, PAGE_CHANGES * scattered) ||
      bytes >= times * ENOUGH_BYTES || rows + PAGE_COST * scattered >= MOST_COST;
  }

  insert(message: Message, author: Author | undefined): void {
    this.#isUsed = true;
    this.#changes.insert(message, author);
  }

  remove(message: Message): void {
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
    if (short !== undefined) return this.#changes.discardShort(range, short);
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
   * What is to be deleted is deleted after the next commit, by itself: something of it cannot be read.
   * @returns whether that changes what the commit writes
   */
  postpone(): boolean {
    return this.#changes.postpone();
  }

  /** All changes are on disk: forget them. */
  written(): void {
    for (const range of this.#changes.postponed()) this.#discards.add(range);
    this.#changes.written();
  }

  /**
   * Deletes some rows of given up ranges, in a transaction of its own.
   * @returns how many rows, and the ids of lanes of which nothing is left to delete
   */
  sweep(): Swept {
    return this.#discards.sweep(this.#changes.discards);
  }

  // -- reading --

  /**
   * Up to `limit` messages of a lane behind a position, in order. They come as new objects, except
   * those that are still to be written.
   */
  read(lane: LaneRecord, after: number, limit: number, durable: boolean): Found {
    const found = this.#readStored(lane, after, limit, durable);
    if (found.upTo < LAST_POSITION) return found;
    const { messages } = found;
    for (const message of this.#changes.inserts) {
      if (messages.length >= limit) break;
      const { position } = message;
      const isNext = message.lane === lane && position > after && isWanted(message);
      if (isNext && this.#unreadable.skip(lane.id, position - 1) < position) messages.push(message);
    }
    return found;
  }

  /**
   * Leaves out what was discarded and is not deleted yet. Fewer than `limit` only if there are no
   * more: what comes after them is read by other means.
   */
  #readStored(lane: LaneRecord, after: number, limit: number, durable: boolean): Found {
    const ranges = this.#discards.of(lane.id);
    const live: Message[] = [];
    for (let from = after; live.length < limit;) {
      for (const { first, last } of ranges) if (first <= from + 1) from = Math.max(from, last);
      const { messages, upTo } = this.#reader
        .read(lane, from, limit - live.length, durable, () => this.#lastStored(lane));
      for (const message of messages) {
        const { position } = message;
        const isDiscarded = ranges.some(({ first, last }) => first <= position && position <= last);
        if (!isDiscarded) live.push(message);
      }
      if (upTo < LAST_POSITION) return { messages: live, upTo };
      if (messages.length === 0) break;
      from = messages.at(-1)!.position;
    }
    return { messages: live, upTo: LAST_POSITION };
  }

  /** No row of a lane has a higher position: those behind it are still to be written. */
  #lastStored(lane: LaneRecord): number {
    const waiting = this.#changes.inserts.find((message) => message.lane === lane);
    return waiting === undefined ? lane.lastPosition : waiting.position - 1;
  }

  // -- what cannot be read --

  /** Whether rows of a lane cannot be read. */
  hasUnreadable(lane: number): boolean {
    return this.#unreadable.has(lane);
  }

  unreadableOf(lane: number): readonly Range[] {
    return this.#unreadable.of(lane);
  }

  /** Whether no row is known that cannot be read. */
  get isReadable(): boolean {
    return this.#unreadable.isEmpty;
  }

  /** A row cannot be read, and nobody has the message any more. */
  addUnreadable({ lane, position }: Message): void {
    this.#unreadable.add(lane.id, position, position);
  }

  /** What cannot be read of a lane is not missed any more. */
  forgetUnreadable(lane: number): Range[] {
    return this.#unreadable.forget(lane);
  }

  /**
   * Tries again to read what could not be read, in slices.
   * @param ranges of it; those that were tried are taken out
   * @returns what can be read now, as new objects without their bytes
   */
  readAgain(lane: LaneRecord, ranges: Range[], durable: boolean): Message[] {
    const range = ranges.shift();
    if (range === undefined) return [];
    const { first, last } = range;
    this.#unreadable.remove(lane.id, first, last);
    const { messages, upTo } = this.#reader
      .readSingly(lane, first - 1, MOST_AGAIN, durable, last);
    const end = messages.length < MOST_AGAIN ? upTo : messages.at(-1)!.position;
    if (end < last) {
      this.#unreadable.add(lane.id, end + 1, last);
      ranges.unshift({ lane: lane.id, first: end + 1, last });
    }
    const discarded = this.#discards.of(lane.id);
    return messages.filter((message) => {
      const { position } = message;
      if (discarded.some(({ first, last }) => first <= position && position <= last)) return false;
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
    return this.#reader.load(message);
  }

  /** Whether rows of given up ranges are left. */
  get hasDiscarded(): boolean {
    return !this.#discards.isEmpty;
  }

  /** Lanes with given up ranges. */
  discardedLanes(): number[] {
    return this.#discards.lanes();
  }

  hasDiscardedOf(lane: number): boolean {
    return this.#discards.has(lane);
  }

  /** The highest position in use, that of a row or of a given up range, or 0. */
  lastPosition(lane: number): number {
    const discarded = this.#discards.of(lane).map(({ last }) => last);
    return Math.max(this.#reader.lastPosition(lane), ...discarded);
  }
}
