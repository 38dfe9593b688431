/**
 * Sends what is written for a connection. Frames of a turn are written behind one another and leave
 * in one piece; while a piece is on its way the next one collects. Nothing leaves before
 * {@link Outbox.flush} has it: an answer may only be true once it is on disk.
 */

import { now } from "../../time/clock.ts";
import { FRAME_OVERHEAD, FrameWriter } from "../wire/frames.ts";
import { LargeBody, type Lender } from "./large_body.ts";
import { type Holder, LEAST_SHARE, type OutboxRoom } from "./outbox_room.ts";
import { closeQuietly, type Socket } from "./socket.ts";
import { Unsent } from "./unsent.ts";

/** Bytes that may wait before consumers of the connection are held back. */
const HIGH_WATER = 1024 * 1024;

/** Bytes beyond which a body is not copied as a whole; and where memory for frames is short. */
const LARGE_BODY = 256 * 1024;
const LARGE_IF_TIGHT = 16 * 1024;

/** Bytes of answers that a connection may have, and how many times its share where memory is short. */
const MOST_ANSWERS = 4 * HIGH_WATER;
const ANSWER_SHARES = 4;

export class Outbox implements Holder {
  readonly #connection: Socket;
  readonly #room: OutboxRoom;
  readonly #onDrained: () => void;
  readonly #unsent = new Unsent();
  /** The body that is being sent, and the bytes of it that wait. */
  #body: LargeBody | undefined;
  #bodyLeft = 0;
  /** Bytes of frames that are counted in the room. */
  #counted = 0;
  /** The same of large buffers. */
  #kept = 0;
  #isSending = false;
  /** Somebody waits for room. */
  #holdsBack = false;
  /** Answers wait although memory was short. */
  #answersWait = false;
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
  constructor(connection: Socket, room: OutboxRoom, onDrained: () => void) {
    this.#connection = connection;
    this.#room = room;
    this.#onDrained = onDrained;
  }

  /** Where frames are written. It is another one whenever something leaves: nobody may keep it. */
  get frames(): FrameWriter {
    return this.#unsent.frames;
  }

  get #waiting(): number {
    return this.#unsent.length + this.#bodyLeft + this.#sending;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  get isEmpty(): boolean {
    return this.#waiting === 0;
  }

  /**
   * Whether the peer reads fast enough to be given more deliveries. A no is taken back later.
   * @param next where to find the bytes of the next one
   */
  askForRoom(next?: { readonly nextSize: number }): boolean {
    if (this.#closed || !this.#askFor(HIGH_WATER)) return false;
    this.#count();
    const room = this.#room;
    if (!room.isTight) return true;
    if (room.framesAreTight && !this.#askFor(room.share)) return false;
    if (!room.bodiesAreTight || next === undefined || next.nextSize <= this.#large) return true;
    room.wait(this);
    return false;
  }

  /** Bytes from which on a body is lent. */
  get #large(): number {
    return this.#room.framesAreTight ? LARGE_IF_TIGHT : LARGE_BODY;
  }

  #count(): void {
    const bodies = this.#unsent.bodyBytes + this.#bodyLeft;
    const frames = this.#closed ? 0 : this.#waiting - bodies;
    this.#room.frames += frames - this.#counted;
    this.#counted = frames;
  }

  /**
   * The same for answers, which have room for longer. When there is none its requests are not read. A
   * closed one holds nobody back: what waits in it will never leave.
   */
  askForAnswerRoom(): boolean {
    // Asked for each frame that is read.
    if (this.#closed || this.#waiting < LEAST_SHARE) return true;
    this.#count();
    return this.#askFor(this.#answersWait ? this.#room.share : this.#answerRoom);
  }

  get #answerRoom(): number {
    const { share, framesAreTight } = this.#room;
    return framesAreTight ? ANSWER_SHARES * share : MOST_ANSWERS;
  }

  /** Whether there is room for so many bytes with which one request is answered. */
  hasAnswerRoom(bytes: number): boolean {
    this.#count();
    return this.#waiting + bytes <= this.#answerRoom;
  }

  /** Whether a direct reply has room: nobody has asked for it at this moment. */
  hasReplyRoom(): boolean {
    this.#count();
    if (this.#room.isTight && this.#waiting >= this.#room.share) return false;
    return this.askForAnswerRoom();
  }

  /** A content was written that answers a request: where memory is short there is none to be next. */
  answered(): void {
    this.#count();
    if (this.#room.isTight && this.#waiting >= this.#room.share) this.#answersWait = true;
  }

  /** Whoever hears no is told when there is room again. */
  #askFor(room: number): boolean {
    if (this.#waiting < room) return true;
    this.#holdsBack = true;
    return false;
  }

  /** Whether the peer has read nothing for some milliseconds although something is sent. */
  isStalled(ms: number): boolean {
    // Whoever waits for his turn has read all that he was sent.
    return this.#sending > 0 && now() - this.#lastProgress > ms;
  }

  /**
   * Writes basic.deliver and its content.
   * @param consumerTag as a short string
   * @param frameMax the negotiated limit
   * @param header instead of its own
   */
  delivery(
    channel: number,
    consumerTag: Uint8Array,
    deliveryTag: number,
    redelivered: boolean,
    content: Lender,
    frameMax: number,
    header?: Uint8Array,
  ): void {
    const { array, start, size, addressLength, headerEnd } = content;
    const most = Math.min(this.#large, frameMax - FRAME_OVERHEAD);
    if (header === undefined && size - headerEnd <= most) {
      this.#unsent.makeRoom(size);
      return this.frames.delivery(channel, consumerTag, deliveryTag, redelivered, content);
    }
    this.frames
      .deliver(channel, consumerTag, deliveryTag, redelivered, array, start, addressLength);
    this.content(channel, content, frameMax, header);
  }

  /**
   * Writes a content header and the body frames.
   * @param frameMax the negotiated limit
   * @param header instead of its own
   */
  content(channel: number, content: Lender, frameMax: number, header?: Uint8Array): void {
    const { array, start, size, addressLength, headerEnd } = content;
    if (header !== undefined) this.frames.header(channel, header, 0, header.length);
    else this.frames.header(channel, array, start + addressLength, start + headerEnd);
    if (size - headerEnd <= this.#large) {
      this.#unsent.makeRoom(size - headerEnd);
      const end = start + size;
      return void this.frames.body(channel, array, start + headerEnd, end, frameMax, end);
    }
    if (this.#closed) return;
    const body = new LargeBody(content, channel, frameMax, this.#room);
    this.#unsent.addBody(body);
    this.#room.hold(this);
    // Others had taken all before: it was not asked for room.
    if (this.#room.isFullWithout(size)) { while (body.isLent && body.spillPiece()); }
  }

  get holdsBodies(): boolean {
    return this.#lentBody !== undefined;
  }

  /** The last one: it is sent last. */
  get #lentBody(): LargeBody | undefined {
    return this.#unsent.lentBody ?? (this.#body?.isLent ? this.#body : undefined);
  }

  spillPiece(): boolean {
    return this.#lentBody?.spillPiece() ?? false;
  }

  wake(): void {
    if (this.#askFor(HIGH_WATER)) this.#onDrained();
  }

  /** Sends what was written so far. What is written later waits for the next call. */
  flush(): void {
    this.#unsent.clear();
    this.#start();
  }

  #start(): void {
    if (this.#isSending || this.#closed || this.isEmpty) return;
    this.#send().catch(() => this.close());
  }

  /** How much was written so far, for {@link flushTo}. */
  get end(): number {
    return this.#unsent.end;
  }

  /** Sends what was written before an {@link end}, except what it is mixed with. */
  flushTo(end: number): void {
    this.#unsent.clearTo(end);
    this.#start();
  }

  /** Forgets what was written since then. */
  takeBack(): void {
    this.#unsent.takeBack();
  }

  async #send(): Promise<void> {
    this.#isSending = true;
    while (!this.#closed) {
      const part = this.#unsent.take();
      if (part === undefined) break;
      if (part instanceof FrameWriter) {
        await this.#write(part);
        this.#unsent.keep(part, this.#room.buffers.haveRoom);
        this.#countKept();
      } else await this.#writeBody(part);
      this.#count();
      if (this.#holdsBack && this.#waiting < HIGH_WATER) {
        this.#holdsBack = this.#answersWait = false;
        this.#onDrained();
      }
    }
    this.#isSending = false;
    this.#idle();
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

  async #writeBody(body: LargeBody): Promise<void> {
    this.#body = body;
    let piece = new FrameWriter();
    for (this.#bodyLeft = body.length; this.#bodyLeft > 0 && !this.#closed;) {
      const turn = this.#room.turns.next(body.nextBytes);
      if (turn !== undefined) await turn;
      if (this.#closed) break;
      if (this.#room.isTight && piece.bytes.length > LARGE_BODY / 2) piece = new FrameWriter();
      piece.length = 0;
      this.#bodyLeft -= body.next(piece);
      await this.#write(piece);
    }
    this.#body = undefined;
  }

  /** Counts what is beyond the buffers that every connection has. */
  #countKept(): void {
    const kept = this.#closed ? 0 : this.#unsent.largeBytes;
    this.#room.buffers.bytes += kept - this.#kept;
    this.#kept = kept;
  }

  /** Gives up the buffers that grew, when nothing has been sent for a while. */
  trim(): void {
    if (!this.isEmpty) return;
    this.#unsent.trim();
    this.#countKept();
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
    this.#body?.drop();
    this.#unsent.drop();
    this.#bodyLeft = 0;
    this.#count();
    this.#countKept();
    this.#room.leave(this);
    this.#idle();
    closeQuietly(this.#connection);
    // Whoever waits for room, and does not read meanwhile, has to see the end.
    this.#onDrained();
  }
}
