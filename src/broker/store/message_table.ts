/**
 * The messages of one database: those that are stored, with what the next commit changes about
 * them. Writing and reading the rows is done by files of their own.
 */

import type { DatabaseSync } from "node:sqlite";
import { Discards } from "./discards.ts";
import type { Content } from "../message/content.ts";
import { isWanted, MessageChanges } from "./message_changes.ts";
import { MessageReader } from "./message_reader.ts";
import { MessageWriter } from "./message_writer.ts";
import type { Attempt, Author } from "./refusals.ts";
import { type LaneRecord, type Message, Row } from "../message/message.ts";

export class MessageTable {
  readonly #reader: MessageReader;
  readonly #writer: MessageWriter;
  readonly #changes = new MessageChanges();
  readonly #discards: Discards;

  /** @param onDamage told why rows cannot be read; they are left out, and stay in the file */
  constructor(database: DatabaseSync, onDamage: (error: unknown) => void) {
    this.#reader = new MessageReader(database, onDamage);
    this.#writer = new MessageWriter(database);
    this.#discards = new Discards(database);
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

  insert(message: Message, author: Author | undefined): void {
    this.#changes.insert(message, author);
  }

  remove(message: Message): void {
    this.#changes.remove(message);
  }

  /** Remembers that `message.deliveries` changed. */
  update(message: Message): void {
    if (message.row === Row.stored) this.#changes.updates.add(message);
  }

  /** Gives up all messages of a lane between two positions. @param short they are few */
  discard(lane: LaneRecord, first: number, last: number, short: boolean): void {
    this.#changes.removeRange(lane, first, last);
    const range = { lane: lane.id, first, last };
    if (short) return void this.#changes.shortDiscards.push(range);
    this.#changes.discards.add(range);
    this.#discards.add(range);
  }

  // -- writing --

  /**
   * Runs the statements, inside the transaction of the caller. What was remembered stays so until
   * {@link settled}, and can be written again after a rollback.
   */
  write(): void {
    this.#writer.write(this.#changes);
  }

  /**
   * The same, message by message.
   * @param attempt runs a statement
   * @param onRefused told of the messages that are left out
   */
  writeSingly(attempt: Attempt, onRefused: (message: Message) => void): void {
    this.#writer.writeSingly(this.#changes, attempt, onRefused);
  }

  /** All changes are on disk: forget them. */
  settled(): void {
    this.#changes.settled();
  }

  /**
   * Deletes some rows of given up ranges, in a transaction of its own.
   * @returns the ids of lanes of which nothing is left to delete
   */
  sweep(): number[] {
    return this.#discards.sweep(this.#changes.discards);
  }

  // -- reading --

  /**
   * Up to `limit` messages of a lane behind a position, in order. They come as new objects, except
   * those that are still to be written.
   */
  read(lane: LaneRecord, after: number, limit: number, durable: boolean): Message[] {
    const messages = this.#readStored(lane, after, limit, durable);
    for (const message of this.#changes.inserts) {
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
    const ranges = this.#discards.of(lane.id);
    const live: Message[] = [];
    for (let from = after; live.length < limit;) {
      for (const { first, last } of ranges) if (first <= from + 1) from = Math.max(from, last);
      const messages = this.#reader.read(lane, from, limit - live.length, durable);
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
