/**
 * A content that is put together from its frames.
 *
 * Stages: method > header > body > complete, which is method again. An empty body is complete with
 * its header.
 */

import type { ChannelHost } from "./host.ts";
import { Content } from "../message/content.ts";
import { Blocks, received, type Tenant } from "../message/content_memory.ts";
import { copyBytes, MalformedError, readLong } from "../wire/bytes.ts";
import { Fault, preconditionFailed } from "../wire/faults.ts";
import { FrameType } from "../wire/frames.ts";
import { BASIC_CLASS } from "../wire/methods.ts";

/** Bytes of class, weight and body size, at the beginning of a content header. */
const FIXED_BYTES = 12;

/** Bytes of a body that are set aside before they arrive. */
const TRUSTED_BYTES = 128 * 1024;

/**
 * Bytes of a body after which it gets a buffer for all of it: that takes memory only as far as it is
 * written, and is not copied again. It is counted by the step.
 */
const WHOLE_FROM_BYTES = 8 * 1024 * 1024;
const STEP_BYTES = 1024 * 1024;

const NOTHING = new Uint8Array(0);

export class Assembly implements Tenant {
  readonly #session: ChannelHost;
  #stage: "method" | "header" | "body" = "method";
  /** Address, header payload, body: in an array, from where on. */
  #array: Uint8Array = NOTHING;
  #start = 0;
  /** Bytes of it that are there, and that there will be. */
  #length = 0;
  #total = 0;
  #addressLength = 0;
  #headerLength = 0;
  /** Bytes that are counted for it. */
  #room = 0;
  /** Bytes of the budget for what is under way. */
  #taken = 0;

  constructor(session: ChannelHost) {
    this.#session = session;
  }

  /** Whether a content header or body must come next. */
  get isReceiving(): boolean {
    return this.#stage !== "method";
  }

  /** @throws {Fault} unexpected-frame */
  expect(type: number): void {
    if (this.#stage === "method") {
      if (type === FrameType.method) return;
      throw unexpected("expected method frame, got non method frame instead");
    }
    if (this.#stage === "header" && type !== FrameType.header) {
      throw unexpected(
        `expected content header for class ${BASIC_CLASS}, got non content header frame instead`,
      );
    }
    if (this.#stage === "body" && type !== FrameType.body) {
      throw unexpected("expected content body, got non content body frame instead");
    }
  }

  /**
   * Bytes of memory that a header or body takes that comes next.
   * @param start of its payload
   * @param size of its payload, of which a header may not be all there
   */
  wants(bytes: Uint8Array, start: number, size: number, isThere: boolean): number {
    if (this.#stage === "body") return Math.max(0, this.#length + size - this.#room);
    if (!isThere || size < FIXED_BYTES) return size;
    return size + Math.min(bodySizeOf(bytes, start), TRUSTED_BYTES);
  }

  /** A method came that has content. */
  begin(): void {
    this.#stage = "header";
  }

  /** @returns the content, if it is complete */
  receiveHeader(
    address: Uint8Array,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): Content | undefined {
    if (end - start < FIXED_BYTES) throw new MalformedError("a content header is too short");
    const classId = bytes[start]! * 256 + bytes[start + 1]!;
    if (bytes[start + 2] !== 0 || bytes[start + 3] !== 0) {
      throw unexpected(
        `expected content header for class ${BASIC_CLASS}, got non content header frame instead`,
      );
    }
    if (classId !== BASIC_CLASS) {
      throw unexpected(
        `expected content header for class ${BASIC_CLASS}, ` +
          `got one for class ${classId} instead`,
      );
    }
    const bodySize = bodySizeOf(bytes, start);
    this.#checkSize(bodySize);
    this.#addressLength = address.length;
    this.#headerLength = end - start;
    const before = this.#addressLength + this.#headerLength;
    this.#total = before + bodySize;
    // Beside others it could not grow.
    const isSmall = Blocks.hasRoomFor(this.#total);
    const size = isSmall ? this.#total : Math.min(this.#total, before + TRUSTED_BYTES);
    this.take(size);
    this.#room = size;
    this.#start = isSmall ? received.take(size, this) : 0;
    this.#array = isSmall ? received.array : new Uint8Array(size);
    copyBytes(address, 0, address.length, this.#array, this.#start);
    copyBytes(bytes, start, end, this.#array, this.#start + address.length);
    this.#length = before;
    this.#stage = "body";
    return this.#complete();
  }

  #checkSize(bodySize: number): void {
    const { messageBytes } = this.#session.limits;
    if (bodySize <= messageBytes) return;
    this.#stage = "method";
    throw preconditionFailed(
      `message size ${bodySize} is larger than configured max size ${messageBytes}`,
    );
  }

  #complete(): Content | undefined {
    if (this.#length < this.#total) return undefined;
    this.#stage = "method";
    return this.#content();
  }

  #content(): Content {
    // Of a large one that is not complete nothing is wanted but its memory.
    const size = Blocks.hasRoomFor(this.#total) ? this.#total : this.#array.length;
    return new Content(this.#array, this.#addressLength, this.#headerLength, this.#start, size);
  }

  /** @returns the content, if it is complete */
  receiveBody(bytes: Uint8Array, start: number, end: number): Content | undefined {
    const length = this.#length + end - start;
    if (length > this.#total) {
      throw unexpected("expected content body, got non content body frame instead");
    }
    if (length > this.#room) this.#makeRoom(length);
    copyBytes(bytes, start, end, this.#array, this.#start + this.#length);
    this.#length = length;
    return this.#complete();
  }

  /** {@link Tenant.moveOut}: a client need not send the rest. */
  moveOut(block: Uint8Array): void {
    if (this.#array !== block) return;
    const isUnfinished = this.#stage === "body";
    this.#array = isUnfinished ? block.slice(this.#start, this.#start + this.#total) : NOTHING;
    this.#start = 0;
  }

  /** Small ones grow by doubling. A large one is copied once more; then it takes what it is sent. */
  #makeRoom(length: number): void {
    const isLarge = length > WHOLE_FROM_BYTES;
    const wanted = isLarge ? length + STEP_BYTES : this.#room * 2;
    const room = Math.min(this.#total, Math.max(length, wanted));
    this.take(room - this.#room);
    this.#room = room;
    if (room <= this.#array.length) return;
    // Unlike a transferred one, a new buffer takes no memory yet.
    const bytes = new Uint8Array(isLarge ? this.#total : room);
    bytes.set(this.#array.subarray(0, this.#length));
    // The old one is free at once. It has no other content in it.
    (this.#array.buffer as ArrayBuffer).transfer(0);
    this.#array = bytes;
  }

  /** Counts bytes of memory that are taken until {@link giveBack}. */
  take(bytes: number): void {
    this.#session.pending.take(this.#session, bytes);
    this.#taken += bytes;
  }

  /** Nothing is under way any more. */
  giveBack(): void {
    this.#session.pending.giveBack(this.#session, this.#taken);
    this.#taken = 0;
  }

  /** What is not complete will never be. */
  end(): void {
    if (this.#stage === "body") this.#content().giveUp();
    this.#stage = "method";
    this.giveBack();
  }
}

function bodySizeOf(header: Uint8Array, start: number): number {
  return readLong(header, start + 4) * 0x1_0000_0000 + readLong(header, start + 8);
}

function unexpected(message: string): Fault {
  return new Fault("unexpected-frame", message);
}
