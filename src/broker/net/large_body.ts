/**
 * A body that is cut into frames piece by piece while it is sent, instead of being copied. What is
 * left of it can be put into a file, when its client does not read.
 */

import { FRAME_OVERHEAD, type FrameWriter, type Parts } from "../wire/frames.ts";
import type { OutboxRoom } from "./outbox_room.ts";
import { SPILL_BYTES, type Spilled } from "./spill_file.ts";

/** Bytes of a piece, about. */
const PIECE_BYTES = 256 * 1024;

/** A content, whose bytes must not change while they are sent. */
export interface Lender extends Parts {
  readonly body: Uint8Array;
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
  /** What of it is in memory, from where the next piece begins. */
  #bytes: Uint8Array;
  /** What comes behind that and is in the file, the last one first. */
  readonly #spilled: Spilled[] = [];
  readonly #size: number;
  #isLent = true;

  /** @param frameMax the negotiated limit */
  constructor(lender: Lender, channel: number, frameMax: number, room: OutboxRoom) {
    this.#lender = lender;
    this.#channel = channel;
    this.#frameMax = frameMax;
    this.#room = room;
    this.#size = lender.size;
    this.#bytes = lender.body;
    this.length = this.#bytes.length;
    if (lender.lend()) room.bodies += this.#size;
  }

  /** Whether something of it is in memory. */
  get isLent(): boolean {
    return this.#isLent;
  }

  /** Bytes of its next piece. */
  get nextBytes(): number {
    if (!this.#isLent) return this.#spilled.at(-1)!.length;
    const frame = this.#frameMax - FRAME_OVERHEAD;
    return Math.min(Math.ceil(this.#most / frame) * frame, this.#bytes.length);
  }

  get #most(): number {
    return this.#room.isTight ? SPILL_BYTES : PIECE_BYTES;
  }

  /** Writes the frames of its next piece. @returns how many bytes of the body they have */
  next(writer: FrameWriter): number {
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
    if (this.#lender.giveBack()) this.#room.giveBack(this.#size);
  }
}
