/** What a connection has sent, as frames. */

import type { LargeBuffers } from "./large_buffers.ts";
import type { Socket } from "./socket.ts";
import { readLong } from "../wire/bytes.ts";
import { FRAME_END, FRAME_HEADER_BYTES, FRAME_OVERHEAD } from "../wire/frames.ts";

/** For those who say little, of whom there may be many. */
const LEAST_BUFFER = 1024;
/** For strangers: room for the largest frame that they may send. */
const STRANGERS_BUFFER = 8 * 1024;
const SMALL_BUFFER = 16 * 1024;
/** What every connection may have: there may be ten thousand. Larger ones are counted. */
const OWN_BUFFER = 4 * 1024;
const LARGE_BUFFER = 256 * 1024;

/** Reads that would have fitted into a small buffer, after which a grown one is given up. */
const QUIET_READS = 4;

/** Bytes of a read such as a heartbeat's, and how many are followed by the smallest buffer. */
const IDLE_BYTES = 64;
const IDLE_READS = 8;

/** A frame that cannot be read: the stream cannot be continued. */
export class FrameError extends Error {
  override readonly name = "FrameError";
}

/** Cuts what a connection sends into frames. The current frame is in the fields, not copied. */
export class FrameSource {
  readonly #connection: Socket;
  bytes: Uint8Array = new Uint8Array(LEAST_BUFFER);
  #start = 0;
  #end = 0;
  #quietReads = 0;
  #idleReads = 0;
  /** Bytes that were read. Written here only. */
  received = 0;
  /** Where a buffer that is not small is counted; strangers have none. */
  #large: LargeBuffers | undefined;
  /** Bytes of a frame for which the buffer may grow beyond that, or 0. */
  #borrowed = 0;

  type = 0;
  channel = 0;
  payloadStart = 0;
  payloadEnd = 0;

  constructor(connection: Socket) {
    this.#connection = connection;
  }

  /** The connection has logged in: from now on the buffer may grow. */
  trust(large: LargeBuffers): void {
    this.#large = large;
    this.#count(this.bytes.length);
  }

  /** Bytes up to which the buffer grows by itself. */
  get #most(): number {
    if (this.#large === undefined) return STRANGERS_BUFFER;
    return this.#large.haveRoom ? LARGE_BUFFER : OWN_BUFFER;
  }

  /** Bytes of the frame that has begun, all of it; 0 before its header is there. */
  get frameBytes(): number {
    if (this.#end - this.#start < FRAME_HEADER_BYTES) return 0;
    return readLong(this.bytes, this.#start + 3) + FRAME_OVERHEAD;
  }

  /** The frame that has begun needs a buffer for which there is no room: it is to be borrowed. */
  get isCramped(): boolean {
    if (this.#large === undefined || this.#large.haveRoom || this.isBorrowing) return false;
    return this.frameBytes > Math.max(this.bytes.length, OWN_BUFFER);
  }

  get isBorrowing(): boolean {
    return this.#borrowed > 0;
  }

  /** All that has come was taken. */
  get isEmpty(): boolean {
    return this.#start === this.#end;
  }

  /** Bytes that have come and were not taken. */
  get length(): number {
    return this.#end - this.#start;
  }

  /** There is room for the frame that has begun. Its buffer grows as it comes, and has nothing else. */
  borrow(): void {
    this.#count(this.bytes.length, -1);
    this.#borrowed = this.frameBytes;
  }

  /** Gives up the buffer of a frame that was taken. */
  giveBack(): void {
    this.#move(OWN_BUFFER);
    this.#borrowed = 0;
  }

  /** The frame that has begun will never be taken. A read that is under way still has its buffer. */
  giveUp(): void {
    this.discard();
    this.#count(this.bytes.length, -1);
    this.bytes = new Uint8Array(LEAST_BUFFER);
    this.#borrowed = 0;
  }

  /** Counts what is beyond its own buffer. @param sign -1: it is given up */
  #count(capacity: number, sign = 1): void {
    if (this.#large !== undefined && !this.isBorrowing) {
      this.#large.bytes += sign * Math.max(0, capacity - OWN_BUFFER);
    }
  }

  /** The last read has filled the buffer: there may be more. */
  get isFull(): boolean {
    return this.#end === this.bytes.length;
  }

  /** Reads more. @returns false at the end of the stream */
  async fill(): Promise<boolean> {
    this.#makeRoom();
    const count = await this.#connection.read(this.bytes.subarray(this.#end));
    if (count === null) return false;
    this.#end += count;
    this.received += count;
    this.#quietReads = count < SMALL_BUFFER ? this.#quietReads + 1 : 0;
    this.#idleReads = count < IDLE_BYTES ? this.#idleReads + 1 : 0;
    return true;
  }

  /**
   * A buffer that came back full grows, so that a busy connection needs fewer reads, until the
   * connection is quiet.
   */
  #makeRoom(): void {
    const left = this.#end - this.#start;
    const { length } = this.bytes;
    if (length < this.#borrowed && (left === length || length < SMALL_BUFFER)) {
      return this.#move(Math.min(Math.max(length * 4, SMALL_BUFFER), this.#borrowed));
    }
    const enough = this.#idleReads >= IDLE_READS
      ? LEAST_BUFFER
      : this.#quietReads >= QUIET_READS
      ? Math.min(SMALL_BUFFER, this.#most)
      : Infinity;
    if (left === 0 && length > enough) return this.#move(enough);
    if (this.#end === length && left < length / 2 && !this.isBorrowing) {
      if (length < this.#most) return this.#move(length * 2);
    }
    if (left === length) return this.#move(length * 2);
    if (this.#start === 0) return;
    this.bytes.copyWithin(0, this.#start, this.#end);
    this.#start = 0;
    this.#end = left;
  }

  #move(capacity: number): void {
    this.#count(this.bytes.length, -1);
    this.#count(capacity);
    const moved = new Uint8Array(capacity);
    moved.set(this.bytes.subarray(this.#start, this.#end));
    free(this.bytes);
    this.bytes = moved;
    this.#end -= this.#start;
    this.#start = 0;
  }

  /** The connection is over, and nothing is read any more. */
  close(): void {
    this.discard();
    this.#count(this.bytes.length, -1);
    this.#large = undefined;
    free(this.bytes);
  }

  /** The first eight bytes of a connection, or undefined while they are not all there. */
  protocolHeader(): Uint8Array | undefined {
    if (this.#end - this.#start < 8) return undefined;
    this.#start += 8;
    return this.bytes.slice(this.#start - 8, this.#start);
  }

  /**
   * Steps to the next complete frame.
   * @param frameMax the negotiated limit. RabbitMQ's reader allows 8 bytes more, which some clients
   *   need: they count the limit as payload
   * @returns false when it is not all there yet
   * @throws {FrameError} when it is too long or does not end as frames end
   */
  next(frameMax: number): boolean {
    const { bytes } = this;
    const start = this.#start;
    if (this.#end - start < FRAME_HEADER_BYTES) return false;
    const size = readLong(bytes, start + 3);
    this.type = bytes[start]!;
    this.channel = bytes[start + 1]! * 256 + bytes[start + 2]!;
    if (size > frameMax) {
      this.payloadStart = this.payloadEnd = start;
      this.#start = this.#end;
      throw this.error(`{frame_too_large,${size},${frameMax - FRAME_OVERHEAD}}`);
    }
    const payloadStart = start + FRAME_HEADER_BYTES;
    const end = payloadStart + size;
    if (this.#end <= end) return false;
    this.payloadStart = payloadStart;
    this.payloadEnd = end;
    if (bytes[end] !== FRAME_END) {
      this.#start = this.#end;
      throw this.error(`{invalid_frame_end_marker,${bytes[end]}}`);
    }
    this.#start = end + 1;
    return true;
  }

  /** Leaves the current frame for the next call of {@link next}. */
  stepBack(): void {
    this.#start = this.payloadStart - FRAME_HEADER_BYTES;
  }

  /** The current frame in an error text, as RabbitMQ prints it. */
  get snippet(): string {
    const length = this.payloadEnd - this.payloadStart;
    const shown = this.bytes.subarray(this.payloadStart, this.payloadStart + Math.min(length, 16));
    const which = length <= 16 ? "all" : "first 16";
    return `type ${this.type}, ${which} octets = <<${shown.join(",")}>>`;
  }

  error(reason: string): FrameError {
    return new FrameError(`${this.snippet}: ${reason}`);
  }

  /** Forgets what was read: after a bad frame nobody knows where the next one begins. */
  discard(): void {
    this.#start = this.#end = 0;
  }
}

/** The memory of very many large buffers would be there until garbage is collected. */
function free(buffer: Uint8Array): void {
  if (buffer.length > SMALL_BUFFER) (buffer.buffer as ArrayBuffer).transfer(0);
}
