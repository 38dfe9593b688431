/**
 * All messages that are stored, as one: durable ones in the data file, and transient ones for which
 * memory has no room in the scratch file.
 */

import type { Content } from "../../message/content.ts";
import type { LaneRecord, Message } from "../../message/message.ts";
import { LAST_POSITION } from "../file/message_row.ts";
import { type Found, inOrder } from "./lane_reader.ts";
import type { MessageTable } from "./message_table.ts";
import type { Scratch } from "./scratch.ts";

export class StoredMessages {
  readonly #durable: MessageTable;
  readonly #scratch: Scratch;
  readonly #onDamage: (error: unknown) => void;

  /** @param onDamage told why what is stored cannot be read */
  constructor(durable: MessageTable, scratch: Scratch, onDamage: (error: unknown) => void) {
    this.#durable = durable;
    this.#scratch = scratch;
    this.#onDamage = onDamage;
  }

  /** Where a message is, or will be. */
  tableOf(message: Message): MessageTable {
    return message.durable ? this.#durable : this.#scratch.open();
  }

  get #tables(): readonly MessageTable[] {
    const { messages } = this.#scratch;
    return messages === undefined ? [this.#durable] : [this.#durable, messages];
  }

  // -- what the next commit changes --

  /** Bytes of messages that wait for the commit, or are on their way here. */
  get pendingBytes(): number {
    const bytesOf = ({ pendingBytes, bodies }: MessageTable) => pendingBytes + bodies.coming;
    const { messages } = this.#scratch;
    return bytesOf(this.#durable) + (messages === undefined ? 0 : bytesOf(messages));
  }

  /** Whether so many wait for the commit that they should not wait longer. @param times as many */
  isFull(times: number): boolean {
    return this.#durable.isFull(times) || (this.#scratch.messages?.isFull(1) ?? false);
  }

  /**
   * Gives up all messages of a lane between two positions.
   * @param short their bytes, at most, if they are few
   */
  discard(lane: LaneRecord, first: number, last: number, short: number | undefined): void {
    this.#scratch.messages?.discard(lane, first, last, short);
    if (lane.queueId !== 0) this.#durable.discard(lane, first, last, short);
  }

  /** Whether rows of given up ranges are left. */
  get hasDiscarded(): boolean {
    return this.#durable.hasDiscarded || (this.#scratch.messages?.hasDiscarded ?? false);
  }

  hasDiscardedOf(lane: number): boolean {
    return this.#tables.some((table) => table.hasDiscardedOf(lane));
  }

  // -- reading --

  /** The content that memory has given up of a message; undefined: it cannot be read, or is gone. */
  load(message: Message): Content | undefined {
    try {
      return message.hasRow ? this.tableOf(message).load(message) : undefined;
    } catch (error) {
      this.#onDamage(error);
      return undefined;
    }
  }

  /**
   * The next messages of a lane behind a position, durable and transient ones in one order. None
   * when they cannot be read.
   * @returns undefined: looking for them takes long; to be asked again
   */
  read(lane: LaneRecord, after: number, limit: number): Message[] | undefined {
    try {
      const { messages, upTo } = this.#read(lane, after, limit);
      return messages.length === 0 && upTo < LAST_POSITION ? undefined : messages;
    } catch (error) {
      this.#onDamage(error);
      return [];
    }
  }

  #read(lane: LaneRecord, after: number, limit: number): Found {
    const scratch = this.#scratch.used;
    if (lane.id > 0) {
      const durable = this.#durable.read(lane, after, limit, true);
      if (scratch === undefined) return durable;
      return inOrder(durable, scratch.read(lane, after, limit, false), limit);
    }
    return scratch?.read(lane, after, limit, false) ?? { messages: [], upTo: LAST_POSITION };
  }

  // -- what cannot be read --

  /** Whether no message is known that cannot be read. */
  get isReadable(): boolean {
    return this.#tables.every((table) => table.isReadable);
  }

  /** Whether messages of a lane are left out because they cannot be read. */
  hasUnreadable(lane: number): boolean {
    return this.#tables.some((table) => table.hasUnreadable(lane));
  }

  /**
   * Tries again to read what could not be read of a lane, piece by piece.
   * @returns each time what can be read now
   */
  *readAgain(lane: LaneRecord): Generator<Message[]> {
    for (const table of this.#tables) yield* table.readAgain(lane, table === this.#durable);
  }

  /**
   * Nobody wants the messages of a lane any more that cannot be read.
   * @returns whether there were any: they are given up
   */
  discardUnreadable(lane: LaneRecord): boolean {
    let isAny = false;
    for (const table of this.#tables) isAny = table.discardUnreadable(lane) || isAny;
    return isAny;
  }
}
