/**
 * A body that is cut into frames piece by piece while it is sent, instead of being copied. What is
 * left of it can be put into a file, when its client does not read. One that is in the store is read
 * from there, piece by piece.
 */

import { FRAME_OVERHEAD, type FrameWriter, type Parts } from "../wire/frames.ts";
import type { OutboxRoom } from "./outbox_room.ts";
import { SPILL_BYTES, type Spilled } from "./spill_file.ts";

/** Bytes of a piece, about. */
const PIECE_BYTES = 256 * 1024;

/** A body in the store. */
export interface Stored {
  readonly length: number;
  readonly chunkBytes: number;
  /** The bytes of a chunk, from a multiple of `chunkBytes` on. @throws when they cannot be read */
  read(from: number): Uint8Array;
}

/** A content, whose bytes must not change while they are sent. */
export interface Lender extends Parts {
  /** Of no use where it is in the store. */
  readonly body: Uint8Array;
  readonly stored: Stored | undefined;
  /** @returns whether nobody else has borrowed them */
  lend(): boolean;
  /** They are not needed any more. @returns whether nobody else has borrowed them */
  giveBack(): boolean;
}

export class LargeBody {
  /** Bytes of it, all together. */
  readonly length: number;
  readonly #lender: Lender;
  readonly #channel: number;
  readonly #frameMax: number;
  readonly #room: OutboxRoom;
  readonly #stored: Stored | undefined;
  /** What of it is in memory, from where the next piece begins. */
  #bytes: Uint8Array;
  /** What comes behind that and is in the file, the last one first. */
  readonly #spilled: Spilled[] = [];
  readonly #size: number;
  #isLent = true;
  /** Bytes that were read from the store. */
  #read = 0;

  /** @param frameMax the negotiated limit */
  constructor(lender: Lender, channel: number, frameMax: number, room: OutboxRoom) {
    this.#lender = lender;
    this.#channel = channel;
    this.#frameMax = frameMax;
    this.#room = room;
    this.#size = lender.size;
    const stored = this.#stored = lender.stored;
    this.#bytes = stored === undefined ? lender.body : new Uint8Array(0);
    this.length = stored?.length ?? this.#bytes.length;
    if (lender.lend() && stored === undefined) room.bodies += this.#size;
  }

  /** Whether something of it is in memory. */
  get isLent(): boolean {
    return this.#isLent && this.#stored === undefined;
  }

  /** Bytes of its next piece. */
  get nextBytes(): number {
    if (this.#stored !== undefined) {
      const { chunkBytes } = this.#stored;
      const left = chunkBytes - this.#read % chunkBytes;
      return Math.min(this.#room.isTight ? SPILL_BYTES : left, left, this.length - this.#read);
    }
    if (!this.#isLent) return this.#spilled.at(-1)!.length;
    const frame = this.#frameMax - FRAME_OVERHEAD;
    return Math.min(Math.ceil(this.#most / frame) * frame, this.#bytes.length);
  }

  get #most(): number {
    return this.#room.isTight ? SPILL_BYTES : PIECE_BYTES;
  }

  /**
   * Writes the frames of its next piece.
   * @returns how many bytes of the body they have
   * @throws when it cannot be read
   */
  next(writer: FrameWriter): number {
    if (this.#stored !== undefined) return this.#nextStored(this.#stored, writer);
    const isTight = this.#room.isTight;
    const frameMax = isTight
      ? Math.min(this.#frameMax, SPILL_BYTES + FRAME_OVERHEAD)
      : this.#frameMax;
    if (!this.#isLent) {
      const bytes = this.#room.spill.take(this.#spilled.pop()!);
      writer.reserve(SPILL_BYTES + FRAME_OVERHEAD);
      return writer.body(this.#channel, bytes, 0, bytes.length, frameMax);
    }
    const bytes = this.#bytes;
    const length = Math.min(this.#most, bytes.length);
    writer.reserve(length + FRAME_OVERHEAD);
    const end = writer.body(this.#channel, bytes, 0, length, frameMax);
    this.#bytes = bytes.subarray(end);
    if (end === bytes.length) this.#giveBack();
    return end;
  }

  #nextStored(stored: Stored, writer: FrameWriter): number {
    const at = this.#read % stored.chunkBytes;
    const bytes = stored.read(this.#read - at).subarray(at, at + this.nextBytes);
    this.#read += bytes.length;
    writer.reserve(bytes.length + FRAME_OVERHEAD);
    writer.body(this.#channel, bytes, 0, bytes.length, this.#frameMax);
    if (this.#read === this.length) this.#giveBack();
    return bytes.length;
  }

  /** Puts the last piece that is in memory into the file. @returns whether there was room */
  spillPiece(): boolean {
    const bytes = this.#bytes;
    const start = Math.max(0, bytes.length - SPILL_BYTES);
    const spilled = this.#room.spill.put(bytes.subarray(start));
    if (spilled === undefined) return false;
    this.#spilled.push(spilled);
    this.#bytes = bytes.subarray(0, start);
    if (start === 0) this.#giveBack();
    return true;
  }

  /** It is not sent any further. */
  drop(): void {
    this.#giveBack();
    for (const spilled of this.#spilled.splice(0)) this.#room.spill.free(spilled);
  }

  #giveBack(): void {
    if (!this.#isLent) return;
    this.#isLent = false;
    this.#bytes = new Uint8Array(0);
    const isLast = this.#lender.giveBack();
    if (isLast && this.#stored === undefined) this.#room.giveBack(this.#size);
  }
}
