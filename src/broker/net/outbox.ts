/**
 * What waits to be sent on a connection. Frames of a turn are written behind one another and leave
 * in one piece; while a piece is on its way the next one collects. Nothing leaves before it is
 * cleared by {@link Outbox.flush}: an answer may only be true once it is on disk.
 */

import { now } from "../../time/clock.ts";
import { FrameWriter } from "../wire/frames.ts";
import { closeQuietly, type Socket } from "./socket.ts";

/** Bytes that may wait before consumers of the connection are held back. */
const HIGH_WATER = 1024 * 1024;

/** A buffer that grew beyond this is not kept. */
const KEEP_BYTES = 2 * HIGH_WATER;

/** A buffer that a connection keeps while nothing is sent on it. */
const IDLE_BYTES = 64 * 1024;

/** Bytes beyond which a body is not copied as a whole. */
const LARGE_BODY = 256 * 1024;

/** A content, whose bytes must not change while they are sent. */
export interface Lender {
  /** Something, the header from `addressLength` on, and the body from `headerEnd` on. */
  readonly bytes: Uint8Array;
  readonly addressLength: number;
  readonly headerEnd: number;
  lend(): void;
  /** They have left. Not called when the connection ends before that. */
  giveBack(): void;
}

/** A body that is cut into frames piece by piece while it is sent, instead of being copied. */
interface LargeBody {
  readonly lender: Lender;
  readonly channel: number;
  readonly body: Uint8Array;
  readonly frameMax: number;
}

export class Outbox {
  readonly #connection: Socket;
  readonly #onDrained: () => void;
  /** Where frames are written. Replaced whenever it is sent: nobody may keep it. */
  frames = new FrameWriter();
  /** The next one. */
  #spare = new FrameWriter();
  /** What was written before {@link frames}, in order. */
  #parts: (FrameWriter | LargeBody)[] = [];
  /** Bytes of the parts. */
  #partBytes = 0;
  /** How many parts, and how many bytes of the frames behind them, may be sent. */
  #clearedParts = 0;
  #clearedBytes = 0;
  /** Bytes that were taken to be sent, ever. */
  #taken = 0;
  #isSending = false;
  /** Somebody waits for room. */
  #holdsBack = false;
  /** Bytes on their way to the kernel. */
  #sending = 0;
  #closed = false;
  /** When something last began to leave, in milliseconds since the epoch. Read by the heartbeat. */
  lastWrite = now();
  /** When the kernel last took bytes, in milliseconds since the epoch. */
  #lastProgress = now();
  /** Wake those who wait in {@link idle}. */
  #whenIdle: (() => void)[] = [];

  /** @param onDrained told when there is room again for those who asked in vain, or the end */
  constructor(connection: Socket, onDrained: () => void) {
    this.#connection = connection;
    this.#onDrained = onDrained;
  }

  get #waiting(): number {
    return this.#partBytes + this.frames.length + this.#sending;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  get isEmpty(): boolean {
    return this.#waiting === 0;
  }

  /** Whether the peer reads fast enough to be given more deliveries. A no is taken back later. */
  askForRoom(): boolean {
    return !this.#closed && this.#askFor(HIGH_WATER);
  }

  /**
   * The same for answers, which have room for longer. When there is none its requests are not read. A
   * closed one holds nobody back: what waits in it will never leave.
   */
  askForAnswerRoom(): boolean {
    return this.#closed || this.#askFor(4 * HIGH_WATER);
  }

  /** Whoever hears no is told when there is room again. */
  #askFor(room: number): boolean {
    if (this.#waiting < room) return true;
    this.#holdsBack = true;
    return false;
  }

  /** Whether the peer has read nothing for some milliseconds although something is sent. */
  isStalled(ms: number): boolean {
    return this.#isSending && now() - this.#lastProgress > ms;
  }

  /**
   * Writes a content header and the body frames.
   * @param frameMax the negotiated limit
   * @param header instead of its own
   */
  content(channel: number, content: Lender, frameMax: number, header?: Uint8Array): void {
    const { bytes, addressLength, headerEnd } = content;
    if (header !== undefined) this.frames.header(channel, header, 0, header.length);
    else this.frames.header(channel, bytes, addressLength, headerEnd);
    if (bytes.length - headerEnd <= LARGE_BODY) {
      return void this.frames.body(channel, bytes, headerEnd, bytes.length, frameMax);
    }
    content.lend();
    const body = bytes.subarray(headerEnd);
    this.#parts.push(this.frames, { lender: content, channel, body, frameMax });
    this.#partBytes += this.frames.length + body.length;
    this.frames = new FrameWriter();
    this.#clearedBytes = 0;
  }

  /** Sends what was written so far. What is written later waits for the next call. */
  flush(): void {
    this.#clearedParts = this.#parts.length;
    this.#clearedBytes = this.frames.length;
    this.#start();
  }

  #start(): void {
    if (this.#isSending || this.#closed || this.isEmpty) return;
    this.#send().catch(() => this.close());
  }

  /** How much was written so far, for {@link flushTo}. */
  get end(): number {
    return this.#taken + this.#partBytes + this.frames.length;
  }

  /** Sends what was written before an {@link end}, except what it is mixed with. */
  flushTo(end: number): void {
    let left = end - this.#taken;
    let parts = 0;
    for (const part of this.#parts) {
      const length = lengthOf(part);
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
    this.#start();
  }

  /** Forgets what was written since then. */
  takeBack(): void {
    const parts = this.#parts.splice(this.#clearedParts);
    for (const part of parts) {
      this.#partBytes -= lengthOf(part);
    }
    // What is left of the frames was written behind these parts.
    this.frames.length = parts.length > 0 ? 0 : this.#clearedBytes;
  }

  async #send(): Promise<void> {
    this.#isSending = true;
    while (!this.#closed) {
      const part = this.#nextPart();
      if (part === undefined) break;
      if (part instanceof FrameWriter) {
        await this.#write(part);
        this.#keep(part);
      } else await this.#writeBody(part);
      if (this.#holdsBack && this.#waiting < HIGH_WATER) {
        this.#holdsBack = false;
        this.#onDrained();
      }
    }
    this.#isSending = false;
    this.#idle();
  }

  #nextPart(): FrameWriter | LargeBody | undefined {
    if (this.#clearedParts > 0) {
      this.#clearedParts--;
      const part = this.#parts.shift()!;
      const length = lengthOf(part);
      this.#partBytes -= length;
      this.#taken += length;
      return part;
    }
    if (this.#clearedBytes === 0) return undefined;
    const part = this.frames;
    this.frames = this.#spare;
    this.#spare = new FrameWriter();
    // What is not cleared stays behind.
    this.frames.append(part.bytes.subarray(this.#clearedBytes, part.length));
    part.length = this.#clearedBytes;
    this.#taken += this.#clearedBytes;
    this.#clearedBytes = 0;
    return part;
  }

  async #write(writer: FrameWriter): Promise<void> {
    this.#sending = writer.length;
    this.lastWrite = this.#lastProgress = now();
    for (let sent = 0; sent < writer.length;) {
      sent += await this.#connection.write(writer.bytes.subarray(sent, writer.length));
      this.#lastProgress = now();
    }
    this.#sending = 0;
  }

  async #writeBody({ lender, channel, body, frameMax }: LargeBody): Promise<void> {
    const piece = new FrameWriter();
    for (let offset = 0; offset < body.length && !this.#closed;) {
      piece.length = 0;
      offset = piece.body(
        channel,
        body,
        offset,
        Math.min(offset + LARGE_BODY, body.length),
        frameMax,
      );
      this.#partBytes += body.length - offset;
      await this.#write(piece);
      this.#partBytes -= body.length - offset;
    }
    lender.giveBack();
  }

  #keep(writer: FrameWriter): void {
    if (writer.bytes.length > KEEP_BYTES) return;
    writer.length = 0;
    this.#spare = writer;
  }

  /** Gives up the buffers that grew, when nothing has been sent for a while. */
  trim(): void {
    if (!this.isEmpty) return;
    if (this.frames.bytes.length > IDLE_BYTES) this.frames = new FrameWriter();
    if (this.#spare.bytes.length > IDLE_BYTES) this.#spare = new FrameWriter();
  }

  /** Resolves when everything written so far was sent, or the connection is gone. */
  idle(): Promise<void> {
    if (this.#closed || this.isEmpty) return Promise.resolve();
    return new Promise((resolve) => this.#whenIdle.push(resolve));
  }

  #idle(): void {
    for (const resolve of this.#whenIdle.splice(0)) resolve();
  }

  /** Closes the socket. What was not sent yet is lost. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#parts = [];
    this.#partBytes = this.#clearedParts = this.#clearedBytes = 0;
    this.#idle();
    closeQuietly(this.#connection);
    // Whoever waits for room, and does not read meanwhile, has to see the end.
    this.#onDrained();
  }
}

/** Bytes as they are counted while they wait. */
function lengthOf(part: FrameWriter | LargeBody): number {
  return part instanceof FrameWriter ? part.length : part.body.length;
}
