/** A message as one queue holds it. */

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

/** Bytes from which on a stored message stays in the store until it is sent. */
export const LARGE_BYTES = 16 * 1024;

/**
 * The bytes of a message: address (exchange and routing key as two short strings, as basic.publish
 * and basic.deliver carry them), content header payload, body. One array, so that it is copied,
 * stored and sent as a whole.
 */
export interface Content {
  bytes: Uint8Array;
  addressLength: number;
  headerLength: number;
}

/** What a publisher hands to the queues. */
export interface Publication extends Content {
  /** delivery-mode 2. */
  persistent: boolean;
  priority: number;
  /** Milliseconds, or undefined. */
  expiration: number | undefined;
  /** Set when it goes to several queues. */
  sharing?: Sharing;
}

/** A content that several queues have: its bytes count once. */
export interface Sharing {
  /** How many messages in memory have it. Written by the memory of the queues. */
  messages: number;
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
}

export class Message {
  readonly lane: LaneRecord;
  /** Null when memory has given them up: then the row is read when the bytes are needed. */
  bytes: Uint8Array | null;
  /** Of address, header and body together. */
  readonly size: number;
  readonly addressLength: number;
  readonly headerLength: number;
  /** Orders the messages of a lane. */
  readonly position: number;
  /** Milliseconds since the epoch by the clock of `clock.ts`, or 0 for never. */
  readonly expiresAt: number;
  /** Survives a restart: in a durable queue, and persistent unless that is a quorum queue. */
  readonly durable: boolean;
  /** How often it came back to the queue: quorum queues' x-delivery-count. */
  deliveries = 0;
  redelivered = false;
  row: Row = Row.none;
  /** Nobody needs the bytes in memory once they are stored. */
  released = false;
  /** Counted among those that are delivered and only in memory. Written by the queue. */
  held = false;
  /** Undefined: nobody else has these bytes. */
  sharing: Sharing | undefined = undefined;

  constructor(
    lane: LaneRecord,
    position: number,
    bytes: Uint8Array | null,
    size: number,
    addressLength: number,
    headerLength: number,
    expiresAt: number,
    durable: boolean,
  ) {
    this.lane = lane;
    this.position = position;
    this.bytes = bytes;
    this.size = size;
    this.addressLength = addressLength;
    this.headerLength = headerLength;
    this.expiresAt = expiresAt;
    this.durable = durable;
  }

  get bodyLength(): number {
    return this.size - this.addressLength - this.headerLength;
  }

  /** The next commit has written it. */
  stored(): void {
    this.row = Row.stored;
    if (this.released || this.size >= LARGE_BYTES) this.bytes = null;
  }

  /** Gives up the bytes as soon as they can be read again. */
  release(): void {
    this.released = true;
    if (this.row === Row.stored) this.bytes = null;
  }

  /** Takes the bytes out of an array that they share with those of messages that may go sooner. */
  detach(): void {
    if (this.bytes !== null && this.bytes.length < this.bytes.buffer.byteLength) {
      this.bytes = this.bytes.slice();
    }
  }
}

/** Prepares a publication for several queues, which will have the same bytes. */
export function share(publication: Publication): void {
  const { bytes } = publication;
  if (bytes.length < bytes.buffer.byteLength) publication.bytes = bytes.slice();
  publication.sharing = { messages: 0 };
}
