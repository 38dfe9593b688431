/**
 * What a connection reads: frames, each of which goes to its channel or to the connection itself,
 * and which method is being done, as error replies name it.
 */

import { METHOD_IDS_BYTES } from "../../amqp/protocol.ts";
import { ByteReader, MalformedError, NotTextError } from "../wire/bytes.ts";
import type { ChannelHost, WorkKind } from "../channel/host.ts";
import type { Channels } from "./channels.ts";
import type { Backpressure } from "./backpressure.ts";
import { Fault } from "../wire/faults.ts";
import { faultOf, undecodable, unknownFrame } from "./frame_faults.ts";
import { networkOf } from "./network.ts";
import type { FrameSource } from "../net/inbox.ts";
import { FRAME_OVERHEAD, FrameType } from "../wire/frames.ts";
import { decodeArguments, readMethodName } from "../wire/method_codec.ts";
import { idsOf, type Method } from "../wire/methods.ts";
import type { Borrower } from "../net/frame_line.ts";
import type { FrameRoom } from "../net/frame_room.ts";
import type { Looks } from "../net/looks.ts";
import type { Scheduler, Slice, Work } from "../../time/scheduler.ts";
import type { State } from "./state.ts";
import type { Author } from "../store/refusals.ts";
import type { Logger } from "../../observe/log.ts";

/** A connection, as its reading sees it. */
export interface ReadingSession extends ChannelHost, Author {
  readonly state: State;
  /** Where it comes from: address and port. */
  readonly peer: string;
  readonly channels: Channels;
  readonly backpressure: Backpressure;
  /** The client is alive. */
  heard(): void;
  /** A method of the connection itself. */
  handle(method: Method): void;
  /** Ends a channel, or the connection, for what the method that is being done did. */
  answerFault(channel: number, fault: Fault): void;
  /** The same, whatever channel it was. @param ms that its client has to agree */
  failConnection(fault: Fault, ms?: number): void;
}

/** What all connections have together. */
export interface ReadingHost {
  readonly frameRoom: FrameRoom;
  readonly scheduler: Scheduler;
  readonly looks: Looks;
  readonly log: Logger;
}

/** Frames of publishes and acknowledgements after which the clock is looked at. */
const LIGHT_FRAMES = 48;

/** Bytes of some small frames: what takes long mostly comes in more. */
const LITTLE_BYTES = 2_048;

/** Milliseconds of a read that did not wait for its bytes. */
const AT_ONCE_MS = 0.05;

/** Milliseconds that a client has to agree to its end when others wait for what it holds. */
const REFUSED_MS = 1_000;

/** A method that is being done piece by piece. */
interface Unfinished {
  readonly work: Work;
  readonly then: () => void;
  readonly channel: number;
  readonly current: typeof NO_METHOD;
  readonly kind: WorkKind | undefined;
}

const NO_METHOD = { classId: 0, methodId: 0 };
const PUBLISH = idsOf("basic.publish");
const ACK = idsOf("basic.ack");

export class Reading implements Work, Borrower {
  readonly #session: ReadingSession;
  readonly #source: FrameSource;
  readonly #frameRoom: FrameRoom;
  readonly #scheduler: Scheduler;
  readonly #looks: Looks;
  readonly #log: Logger;
  #current = NO_METHOD;
  /** The stream lost its frames: whatever still comes is ignored. */
  #unreadable = false;
  /** Nothing happens before the client sends or reads something, or others let it go on. */
  #isIdle = false;
  /** Frames of publishes and acknowledgements since the clock was looked at. */
  #lightFrames = 0;
  /** What the next frame waits for. */
  #unfinished: Unfinished | undefined;
  /** Told when everything that has arrived was taken. */
  #whenDone: (() => void) | undefined;

  constructor(
    session: ReadingSession,
    source: FrameSource,
    { frameRoom, scheduler, looks, log }: ReadingHost,
  ) {
    this.#session = session;
    this.#source = source;
    this.#frameRoom = frameRoom;
    this.#scheduler = scheduler;
    this.#looks = looks;
    this.#log = log;
  }

  /** The method that is being done. */
  get current(): { classId: number; methodId: number } {
    return this.#current;
  }

  /** What happens next happens outside of any method. */
  leaveMethod(): void {
    this.#current = NO_METHOD;
  }

  /** {@link ChannelHost.spread} */
  spread(copies: number): void {
    this.#lightFrames += copies;
  }

  /** Reads until the connection ends, or its client has no more to say. */
  async run(): Promise<void> {
    const { backpressure } = this.#session;
    let foundBytes = false;
    for (;;) {
      this.#session.heard();
      const start = performance.now();
      if (this.#scheduler.start(this)) {
        // Whoever had to wait for his bytes has waited for a look.
        if (foundBytes) await this.#looks.beforeRead(performance.now() - start);
      } else await new Promise<void>((resolve) => this.#whenDone = resolve);
      this.#isIdle = true;
      // Frames may be left in the buffer, with no byte behind them to wake us.
      if (backpressure.mustWait) await backpressure.whenOff();
      else {
        const asked = performance.now();
        if (this.#session.state === "ended" || !await this.#source.fill()) return;
        foundBytes = this.#source.isFull || performance.now() - asked < AT_ONCE_MS;
      }
      this.#isIdle = false;
    }
  }

  /** The connection is over. */
  end(): void {
    this.#source.close();
    this.#frameRoom.leave(this);
  }

  /** {@link Work.isLittle} */
  get isLittle(): boolean {
    return this.#unfinished === undefined && this.#source.length <= LITTLE_BYTES;
  }

  /** Takes what has arrived. */
  work(slice: Slice): boolean {
    // What it sends meanwhile waits for us.
    this.#session.heard();
    this.#session.groupCommit.author = this.#session;
    const hasMore = this.#readFrames(slice);
    this.#session.groupCommit.author = undefined;
    if (!hasMore) this.#fitBuffer();
    if (!hasMore) this.#whenDone?.();
    return hasMore;
  }

  /** @returns whether there may be more */
  #readFrames(slice: Slice): boolean {
    try {
      if (this.#mustWait) return false;
      if (this.#unfinished !== undefined && this.#goOn(this.#unfinished, slice)) return true;
      if (this.#unreadable || this.#session.state === "leaving") {
        this.#source.discard();
        return false;
      }
      while (this.#isReading && this.#source.next(this.#session.frameMax)) {
        if (this.#holdBack(true)) this.#source.stepBack();
        else this.#frame();
        if (this.#unfinished !== undefined) return true;
        // Looking at the clock takes time too.
        const isLight = this.#current === PUBLISH || this.#current === ACK;
        if (isLight && ++this.#lightFrames < LIGHT_FRAMES) continue;
        this.#lightFrames = 0;
        if (slice.isOver) return true;
      }
    } catch (error) {
      this.#unreadable = true;
      this.#current = NO_METHOD;
      this.#session.failConnection(faultOf(error, this.#log));
    }
    return false;
  }

  // -- room for large frames --

  /** Gives back the room of a frame that was taken, and asks for some if one has begun. */
  #fitBuffer(): void {
    if (this.#source.isBorrowing && this.#source.isEmpty) {
      this.#source.giveBack();
      this.#frameRoom.leave(this);
    }
    const { state, backpressure } = this.#session;
    if (state !== "running") return this.#waitNoMore();
    if (!this.#source.isCramped || backpressure.isOn || this.#holdBack(false)) return;
    if (this.#frameRoom.ask(this, this.#source.frameBytes)) this.#source.borrow();
    else backpressure.isCramped = true;
  }

  /** {@link Borrower} */
  get user(): string {
    return this.#session.user;
  }

  get network(): string {
    const { peer } = this.#session;
    return networkOf(peer.slice(0, peer.lastIndexOf(":")));
  }

  get received(): number {
    return this.#source.received;
  }

  get isBlocked(): boolean {
    return this.#session.isBlocked;
  }

  /** All that has come was taken. What comes meanwhile is not read before. */
  get isIdle(): boolean {
    return this.#isIdle;
  }

  get isHeldBack(): boolean {
    return !this.#isIdle || this.isBlocked || this.#session.backpressure.isStarved;
  }

  get goesFirst(): boolean {
    return this.#session.pending.isFirst(this.#session);
  }

  goOn(): void {
    this.#source.borrow();
    this.#session.backpressure.isCramped = false;
  }

  refuse(fault: Fault): void {
    this.leaveMethod();
    this.#unreadable = true;
    this.#session.failConnection(fault, REFUSED_MS);
    // Others do not wait for him to agree.
    this.#source.giveUp();
    this.#frameRoom.leave(this);
  }

  /** The end is near: what else comes is not worth waiting for. */
  #waitNoMore(): void {
    if (!this.#source.isBorrowing) this.#frameRoom.leave(this);
    if (!this.#source.isCramped) return;
    this.#unreadable = true;
    this.#source.discard();
  }

  /** @returns whether it is not done yet */
  #goOn({ work, then, channel, current }: Unfinished, slice: Slice): boolean {
    if (this.#session.channels.find(channel) && work.work(slice)) return true;
    this.#unfinished = undefined;
    if (!this.#session.channels.find(channel)) return false;
    this.#current = current;
    try {
      then();
    } catch (error) {
      this.#session.answerFault(channel, this.#faultOf(error));
    }
    // It may take further work.
    return this.#unfinished !== undefined;
  }

  /** {@link ChannelHost.finishFirst} */
  finishFirst(channel: number, work: Work, then: () => void, kind?: WorkKind): void {
    this.#unfinished = { work, then, channel, current: this.#current, kind };
  }

  /** What is being done waits for the disk; {@link run} waits with it. */
  get #mustWait(): boolean {
    const { backpressure } = this.#session;
    return this.#unfinished?.kind?.writes === true && backpressure.isBlocked &&
      backpressure.mustWait;
  }

  get #isReading(): boolean {
    if (this.#session.state === "running") return !this.#session.backpressure.isOn;
    return this.#session.state === "closing";
  }

  /**
   * Holds the connection back when the frame is content for which there is no memory now.
   * @param isThere all of it, or only its beginning
   * @returns whether it is held back
   */
  #holdBack(isThere: boolean): boolean {
    const { type, channel, bytes, payloadStart, payloadEnd } = this.#source;
    if (type === FrameType.method || !this.#session.pending.isTight) return false;
    if (this.#session.state !== "running") return false;
    const publishing = this.#session.channels.find(channel)?.publishing;
    if (!publishing?.isReceiving) return false;
    const size = isThere ? payloadEnd - payloadStart : this.#source.frameBytes - FRAME_OVERHEAD;
    return this.#session.backpressure.isStarved = !this.#session.pending.askToGoOn(
      this.#session,
      isThere ? size : 0,
      publishing.wants(bytes, payloadStart, size, isThere),
    );
  }

  #frame(): void {
    const { type, channel: number, bytes, payloadStart, payloadEnd } = this.#source;
    this.#current = NO_METHOD;
    try {
      if (type === FrameType.heartbeat) return this.#checkHeartbeat(number);
      if (type < FrameType.method || type > FrameType.body) throw unknownFrame(this.#source);
      const channel = number === 0 ? undefined : this.#session.channels.find(number);
      if (this.#session.state === "running" && channel) {
        if (channel.publishing.isReceiving || type === FrameType.method) this.#current = PUBLISH;
        if (type === FrameType.method && isAck(bytes, payloadStart, payloadEnd)) {
          channel.publishing.expect(type);
          this.#current = ACK;
          return channel.acknowledge(bytes, payloadStart + METHOD_IDS_BYTES);
        }
        const reader = channel.receive(type, bytes, payloadStart, payloadEnd);
        if (reader !== undefined) {
          this.#session.channels.handle(number, channel, this.#decode(reader));
        }
        return;
      }
      this.#otherFrame(type, number);
    } catch (error) {
      this.#session.answerFault(number, this.#faultOf(error));
    }
  }

  /** Errors in arguments name their method, those in other payloads none. */
  #faultOf(error: unknown): Fault {
    if (error instanceof MalformedError) {
      const isMethod = this.#source.type === FrameType.method;
      if (isMethod && !(error instanceof NotTextError)) return undecodable(this.#source);
      this.#current = NO_METHOD;
    }
    return faultOf(error, this.#log);
  }

  #checkHeartbeat(number: number): void {
    if (number !== 0) throw new Fault("unexpected-frame", this.#source.snippet);
    if (this.#source.payloadEnd > this.#source.payloadStart) throw unknownFrame(this.#source);
  }

  #decode(reader: ByteReader): Method {
    this.#current = NO_METHOD;
    if (reader.end - reader.position < METHOD_IDS_BYTES) throw unknownFrame(this.#source);
    const name = readMethodName(reader);
    if (name === undefined) throw new Fault("command-invalid", "unknown method");
    this.#current = idsOf(name);
    return decodeArguments(name, reader);
  }

  /** Frames of the connection itself, and of channels that are not open. */
  #otherFrame(type: number, number: number): void {
    const { bytes, payloadStart, payloadEnd } = this.#source;
    const closing = this.#session.state === "closing" || this.#session.channels.isClosing(number);
    if (type !== FrameType.method) {
      if (closing) return;
      throw new Fault(
        "unexpected-frame",
        number === 0 ? this.#source.snippet : "expected method frame, got non method frame instead",
      );
    }
    const method = this.#decode(new ByteReader(bytes, payloadStart, payloadEnd));
    if (number === 0) return this.#session.handle(method);
    if (this.#session.state === "closing") return;
    if (closing) return this.#session.channels.handleClosing(number, method);
    if (method.name !== "channel.open") throw new Fault("channel-error", "expected 'channel.open'");
    // RabbitMQ names no method when there are too many.
    if (this.#session.channels.isFull) this.#current = NO_METHOD;
    this.#session.channels.open(number);
  }
}

/** The payload of a basic.ack, which is as frequent as basic.publish. */
function isAck(bytes: Uint8Array, start: number, end: number): boolean {
  return end - start === 13 && bytes[start + 3] === ACK.methodId && bytes[start + 2] === 0 &&
    bytes[start + 1] === ACK.classId && bytes[start] === 0;
}
