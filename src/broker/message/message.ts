/** A message as one queue holds it. */

import { Content, type ContentLengths, LARGE_BYTES, type Sharing } from "./content.ts";
import type { ContentHeader } from "./content_header.ts";
import { CHUNKED_FROM } from "./stored_body.ts";

/** Where a message's row is. */
export const Row = {
  /** Only in memory. */
  none: 0,
  /** Waiting to be written by the next commit. */
  pending: 1,
  stored: 2,
  /** Removed before it was ever written: the next commit skips it. */
  skipped: 3,
} as const;
export type Row = (typeof Row)[keyof typeof Row];

/**
 * Small messages of a lane that came together have one row. There may be several objects for one
 * pack: they are equal.
 */
export interface Pack {
  /** The position of the first one, which is the row's. */
  readonly first: number;
  /** Which ones it was written with: bit n stands for the position n behind the first one. */
  readonly members: number;
}

/** What a publisher hands to the queues. */
export interface Publication {
  readonly content: Content;
  /** delivery-mode 2. */
  readonly persistent: boolean;
  readonly priority: number;
  /** Milliseconds, or undefined. */
  readonly expiration: number | undefined;
}

/** @param header of the content @param expiration in milliseconds, or undefined */
export function publicationOf(
  content: Content,
  header: ContentHeader,
  expiration: number | undefined,
): Publication {
  return {
    content,
    persistent: header.deliveryMode === 2,
    priority: header.priority ?? 0,
    expiration,
  };
}

/** The counters of a lane, written with its messages. A lane holds one priority of one queue. */
export interface LaneRecord {
  readonly id: number;
  /** The priority of its messages. */
  readonly priority: number;
  /** Row id of the queue, or 0 for a queue that does not survive a restart. */
  readonly queueId: number;
  /** Rows of durable messages, and the bytes of their bodies. Counted by the store message by
   * message, and by the lane where it restores or purges many. */
  depth: number;
  bytes: number;
  /** Messages up to this position may have been delivered. */
  deliveredTo: number;
  /** The queue is gone: nothing of it is written any more. */
  dropped: boolean;
  /** The highest position so far. */
  readonly lastPosition: number;
  /** The store has refused a message: nobody is to find it there. */
  forget(message: Message): void;
}

/**
 * What can change about a message is written by these, and by nobody else:
 *
 * - the store: where its row is ({@link willBeStored}, {@link putInto}, {@link stored},
 *   {@link removed}, {@link skipped}, {@link refused}, {@link kept}, {@link restore}), and with that
 *   the content, when memory can give it up;
 * - the queue: {@link deliveries}, {@link redelivered}, {@link held}, {@link thin}, and that nobody
 *   needs the content in memory any more ({@link release}).
 */
export class Message implements ContentLengths {
  readonly lane: LaneRecord;
  /** Orders the messages of a lane. */
  readonly position: number;
  readonly size: number;
  readonly addressLength: number;
  readonly headerLength: number;
  /** Undefined: nobody else has its content. */
  readonly sharing: Sharing | undefined;
  /** Milliseconds since the epoch by the clock of `clock.ts`, or 0 for never. */
  readonly expiresAt: number;
  /** Survives a restart: in a durable queue, and persistent unless that is a quorum queue. */
  readonly durable: boolean;
  #content: Content | null;
  #row: Row = Row.none;
  #pack: Pack | undefined = undefined;
  #deliveries = 0;
  #redelivered = false;
  #released = false;
  /** Counted among those that are delivered and only in memory. */
  held = false;
  /** It waits in memory without its bytes. Written by its lane. */
  thin = false;

  /** @param content its content, or the lengths of one that stays in the store until it is sent */
  constructor(
    lane: LaneRecord,
    position: number,
    content: Content | ContentLengths,
    expiresAt: number,
    durable: boolean,
  ) {
    const isHere = content instanceof Content;
    this.lane = lane;
    this.position = position;
    this.size = content.size;
    this.addressLength = content.addressLength;
    this.headerLength = content.headerLength;
    this.sharing = isHere ? content.sharing : undefined;
    this.expiresAt = expiresAt;
    this.durable = durable;
    this.#content = isHere ? content : null;
    if (isHere) content.hold();
  }

  get bodyLength(): number {
    return this.size - this.addressLength - this.headerLength;
  }

  /** Bytes of it that its row holds. */
  get rowBytes(): number {
    return this.size < CHUNKED_FROM ? this.size : this.addressLength + this.headerLength;
  }

  /** Null when memory has given it up: then the row is read when the content is needed. */
  get content(): Content | null {
    return this.#content;
  }

  // -- by the store --

  get row(): Row {
    return this.#row;
  }

  /** Its row can be read: nobody has settled it meanwhile, and its queue is not gone. */
  get hasRow(): boolean {
    return this.#row === Row.stored && !this.lane.dropped;
  }

  /** The next commit writes it. */
  willBeStored(): void {
    this.#row = Row.pending;
  }

  /** Undefined: its row is its own, or it has none. It counts when the commit has written it. */
  get pack(): Pack | undefined {
    return this.#pack;
  }

  /** The row of a pack is written with it, or one of its own. */
  putInto(pack: Pack | undefined): void {
    this.#pack = pack;
  }

  /** The commit has written it. */
  stored(): void {
    this.#row = Row.stored;
    if (this.size >= LARGE_BYTES) this.#giveUp();
    if (this.#released || this.size >= LARGE_BYTES) this.#content = null;
  }

  /** Nobody wants it any more: the next commit deletes its row, or does not write it. */
  removed(): void {
    if (this.#row === Row.pending) {
      this.#row = Row.skipped;
      // A large one is to give its memory back; until the commit it may have to stay after all.
      if (this.size < LARGE_BYTES) this.#content = null;
    } else this.#row = Row.none;
  }

  /** The commit has not written it, since it was {@link removed} or {@link refused}. */
  skipped(): void {
    this.#giveUp();
    this.#content = null;
  }

  /** It holds what was shared when it was made, and nothing of what was shared later. */
  #giveUp(): void {
    if (this.#content?.sharing === this.sharing) this.#content?.giveUp();
  }

  /** It cannot be written. */
  refused(): void {
    this.#row = Row.skipped;
  }

  /** It was {@link removed}, and yet it stays. */
  kept(content: Content): void {
    if (this.#row === Row.skipped) {
      this.#row = Row.pending;
      this.#content = content;
    } else this.stored();
  }

  /** It was read from its row. */
  restore(deliveries: number, pack?: Pack): void {
    this.#row = Row.stored;
    this.#pack = pack;
    this.#deliveries = deliveries;
    this.#redelivered = deliveries > 0;
  }

  // -- by the queue --

  /** How often it came back to the queue: quorum queues' x-delivery-count. */
  get deliveries(): number {
    return this.#deliveries;
  }

  /** It came back to its quorum queue. */
  countDelivery(): void {
    this.#deliveries++;
  }

  /** Whether it may have been delivered before. */
  get redelivered(): boolean {
    return this.#redelivered;
  }

  markRedelivered(): void {
    this.#redelivered = true;
  }

  /** It is gone for good, whether it is to be written or not: nobody asks for its content any more. */
  done(): void {
    if (this.#row !== Row.stored) this.skipped();
  }

  /** Gives up the content as soon as it can be read again. */
  release(): void {
    this.#released = true;
    if (this.#row === Row.stored) this.#content = null;
  }
}
