/**
 * What was written for a connection and is not on its way yet: frames behind one another, and large
 * bodies between them, in their order. Only what is cleared is taken to be sent.
 */

import { FrameWriter } from "../wire/frames.ts";
import { LargeBody } from "./large_body.ts";

/** Bytes up to which a buffer grows: twice as many would mostly be empty. */
const MOST_BYTES = 1024 * 1024;

/** A buffer that grew beyond this is not kept. */
const KEEP_BYTES = 2 * MOST_BYTES;

/** A buffer that every connection may keep, of which there may be very many: a new one. */
const SMALL_BYTES = 4 * 1024;

/** Frames, or a body between frames. */
export type Part = FrameWriter | LargeBody;

export class Unsent {
  /** Where frames are written. Replaced whenever it is taken: nobody may keep it. */
  frames = new FrameWriter();
  /** One that was sent, for the next ones. */
  #spare: FrameWriter | undefined;
  /** What was written before {@link frames}, in order. */
  #parts: Part[] = [];
  /** Bytes of the parts, and those of bodies among them. */
  #partBytes = 0;
  #bodyBytes = 0;
  /** How many parts, and how many bytes of the frames behind them, may be sent. */
  #clearedParts = 0;
  #clearedBytes = 0;
  /** Bytes that were taken, ever. */
  #taken = 0;

  /** Bytes of all of it. */
  get length(): number {
    return this.#partBytes + this.frames.length;
  }

  /** Bytes of the bodies in it. */
  get bodyBytes(): number {
    return this.#bodyBytes;
  }

  /** How much was written so far, ever. */
  get end(): number {
    return this.#taken + this.length;
  }

  /** The last body that has something in memory. */
  get lentBody(): LargeBody | undefined {
    return this.#parts.findLast((part) => part instanceof LargeBody && part.isLent) as
      | LargeBody
      | undefined;
  }

  /** Bytes of the buffers beyond those that every connection may keep. */
  get largeBytes(): number {
    return Math.max(0, this.frames.bytes.length - SMALL_BYTES) +
      Math.max(0, (this.#spare?.bytes.length ?? 0) - SMALL_BYTES);
  }

  // -- writing --

  /** So many bytes come in one piece: into another buffer if this one would get too large. */
  makeRoom(bytes: number): void {
    const { frames } = this;
    const needed = frames.length + bytes;
    if (needed > frames.bytes.length && needed > MOST_BYTES) this.#endPart();
  }

  addBody(body: LargeBody): void {
    this.#endPart();
    this.#parts.push(body);
    this.#partBytes += body.length;
    this.#bodyBytes += body.length;
  }

  /** What is written next goes into another buffer. */
  #endPart(): void {
    this.#parts.push(this.frames);
    this.#partBytes += this.frames.length;
    this.frames = this.#takeSpare();
    this.#clearedBytes = 0;
  }

  #takeSpare(): FrameWriter {
    const spare = this.#spare ?? new FrameWriter();
    this.#spare = undefined;
    return spare;
  }

  // -- clearing --

  /** All that was written so far may be sent. */
  clear(): void {
    this.#clearedParts = this.#parts.length;
    this.#clearedBytes = this.frames.length;
  }

  /** What was written before an {@link end} may be sent, except what it is mixed with. */
  clearTo(end: number): void {
    let left = end - this.#taken;
    let parts = 0;
    for (const part of this.#parts) {
      const { length } = part;
      if (length > left) break;
      left -= length;
      parts++;
    }
    // Less may be there than was: it was taken back.
    if (parts === this.#parts.length) {
      const bytes = Math.min(left, this.frames.length);
      this.#clearedBytes = Math.max(this.#clearedBytes, bytes);
    }
    this.#clearedParts = Math.max(this.#clearedParts, parts);
  }

  /** Forgets what is not cleared. */
  takeBack(): void {
    const parts = this.#parts.splice(this.#clearedParts);
    for (const part of parts) {
      this.#partBytes -= part.length;
      if (!(part instanceof LargeBody)) continue;
      this.#bodyBytes -= part.length;
      part.drop();
    }
    // What is left of the frames was written behind these parts.
    this.frames.length = parts.length > 0 ? 0 : this.#clearedBytes;
  }

  /** Takes the first part that is cleared. */
  take(): Part | undefined {
    if (this.#clearedParts > 0) {
      this.#clearedParts--;
      const part = this.#parts.shift()!;
      this.#partBytes -= part.length;
      if (part instanceof LargeBody) this.#bodyBytes -= part.length;
      this.#taken += part.length;
      return part;
    }
    if (this.#clearedBytes === 0) return undefined;
    const part = this.frames;
    this.frames = this.#takeSpare();
    // What is not cleared stays behind.
    this.frames.append(part.bytes.subarray(this.#clearedBytes, part.length));
    part.length = this.#clearedBytes;
    this.#taken += this.#clearedBytes;
    this.#clearedBytes = 0;
    return part;
  }

  // -- its buffers --

  /** Frames were sent: their buffer is used again. @param haveRoom for one that is not small */
  keep(writer: FrameWriter, haveRoom: boolean): void {
    const { length } = writer.bytes;
    if (length > KEEP_BYTES || (length > SMALL_BYTES && !haveRoom)) return;
    writer.length = 0;
    this.#spare = writer;
  }

  /** Gives up the buffers that grew; there is nothing in them. */
  trim(): void {
    this.frames = new FrameWriter();
    this.#spare = undefined;
  }

  /** Nothing is sent any more. */
  drop(): void {
    for (const part of [...this.#parts, this.frames, this.#spare]) {
      if (part instanceof LargeBody) part.drop();
      else if (part !== undefined && part.bytes.length > SMALL_BYTES) part.free();
    }
    this.#parts = [];
    this.#partBytes = this.#clearedParts = this.#clearedBytes = 0;
  }
}
