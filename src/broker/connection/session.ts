/**
 * One connection after its handshake: frames in, answers out, and the only place where faults
 * become reply codes.
 */

import type { Alarms } from "../store/alarms.ts";
import { Backpressure } from "./backpressure.ts";
import type { Budget } from "../channel/budget.ts";
import { ByteReader, MalformedError, NotTextError } from "../wire/bytes.ts";
import { Channel } from "../channel/channel.ts";
import type { ChannelHost, Promised } from "../channel/host.ts";
import type { Deadline, Deadlines } from "../../time/deadlines.ts";
import { Fault } from "../wire/faults.ts";
import { faultOf, undecodable, unknownFrame } from "./frame_faults.ts";
import type { FrameSource } from "../net/inbox.ts";
import { FrameType } from "../wire/frames.ts";
import type { Login } from "./handshake.ts";
import { Heartbeat, type HeartbeatSession } from "./heartbeat.ts";
import type { Limits } from "../net/limits.ts";
import {
  type Arguments,
  decodeArguments,
  idsOf,
  type Method,
  METHOD_IDS_BYTES,
  type MethodName,
  type PlainName,
  type PromiseName,
  readMethodName,
} from "../wire/methods.ts";
import { Outbox } from "../net/outbox.ts";
import { replyOf } from "./reply_codes.ts";
import type { ReplyTo } from "../channel/reply_to.ts";
import { isConnectionLoss } from "../net/socket.ts";
import type { Scheduler, Slice, Work } from "../../time/scheduler.ts";
import type { GroupCommit } from "../store/group_commit.ts";
import type { VirtualHost } from "../routing/virtual_host.ts";
import type { Logger } from "../../observe/log.ts";

/** Milliseconds that a client has to answer connection.close. */
const CLOSE_MS = 5_000;

/** Milliseconds that a client has to close the socket after our close-ok. Not closing it first
 * spares clients a race between close-ok and the end of the stream. */
const LEAVE_MS = 1_000;

/** What a session shares with all others. */
export interface SessionHost {
  readonly limits: Limits;
  readonly pending: Budget;
  readonly groupCommit: GroupCommit;
  readonly deadlines: Deadlines;
  readonly replyTo: ReplyTo;
  readonly alarms: Alarms;
  readonly scheduler: Scheduler;
  readonly log: Logger;
}

/** Frames of publishes and acknowledgements after which the clock is looked at. */
const LIGHT_FRAMES = 24;

/** A method that is being done piece by piece. */
interface Unfinished {
  readonly work: Work;
  readonly then: () => void;
  readonly channel: number;
  readonly current: typeof NO_METHOD;
}

const NO_METHOD = { classId: 0, methodId: 0 };
const PUBLISH = idsOf("basic.publish");
const ACK = idsOf("basic.ack");

/** In the order in which they come. */
const STATES = ["running", "closing", "leaving", "ended"] as const;
type State = typeof STATES[number];

/**
 * States, each of which can be followed by every later one: running; closing, when we sent
 * connection.close and wait for close-ok; leaving, when we sent close-ok and wait for the client to
 * close the socket; ended.
 */
export class Session implements ChannelHost, HeartbeatSession, Work {
  readonly id: number;
  readonly user: string;
  readonly vhost: VirtualHost;
  readonly outbox: Outbox;
  readonly frameMax: number;
  readonly limits: Limits;
  readonly pending: Budget;
  readonly groupCommit: GroupCommit;
  readonly deadlines: Deadlines;
  readonly replyTo: ReplyTo;
  readonly cancelNotify: boolean;
  readonly qosForChannel: boolean;
  /** An answer in the outbox is only true once it is on disk. */
  needsCommit = false;

  readonly #host: SessionHost;
  readonly #login: Login;
  readonly #source: FrameSource;
  /** By number; a closing channel, whose frames are ignored until close-ok, is null. */
  readonly #channels = new Map<number, Channel | null>();
  /** Written by {@link #enter}. */
  #state: State = "running";
  /** The method that is being done: error replies name it. */
  #current = NO_METHOD;
  readonly #heartbeat: Heartbeat;
  readonly #backpressure: Backpressure;
  /** When the client has had its time to close the connection or the socket. */
  #closeDeadline: Deadline | undefined;
  /** It has published: alarms concern it. */
  #isPublisher = false;
  /** The stream lost its frames: whatever still comes is ignored. */
  #unreadable = false;
  /** Frames of publishes and acknowledgements since the clock was looked at. */
  #lightFrames = 0;
  /** What the next frame waits for. */
  #unfinished: Unfinished | undefined;
  /** Told when everything that has arrived was taken. */
  #whenDone: (() => void) | undefined;
  /** Bytes of answers that were written although much waited already. */
  #lateReplies = 0;

  constructor(id: number, login: Login, host: SessionHost) {
    this.id = id;
    this.user = login.user;
    this.vhost = login.vhost;
    this.frameMax = login.frameMax;
    this.cancelNotify = login.cancelNotify;
    this.qosForChannel = login.qosForChannel;
    this.limits = host.limits;
    this.pending = host.pending;
    this.groupCommit = host.groupCommit;
    this.deadlines = host.deadlines;
    this.replyTo = host.replyTo;
    this.#host = host;
    this.#login = login;
    this.#source = login.source;
    this.outbox = new Outbox(login.connection, () => this.#drained());
    this.#backpressure = new Backpressure(this.outbox);
    this.#heartbeat = new Heartbeat(this, login.heartbeat);
    this.send(0, "connection.open-ok", { knownHosts: "" });
  }

  // -- reading --

  /** Serves the connection until it ends. */
  async run(): Promise<void> {
    try {
      for (;;) {
        this.#heartbeat.heard();
        if (!this.#host.scheduler.start(this)) {
          await new Promise<void>((resolve) => this.#whenDone = resolve);
        }
        // Frames may be left in the buffer, with no byte behind them to wake us.
        if (this.#backpressure.mustWait) await this.#backpressure.whenOff();
        else if (this.#state === "ended" || !await this.#source.fill()) break;
      }
    } catch (error) {
      if (!isConnectionLoss(error)) throw error;
    } finally {
      this.#end();
      this.outbox.close();
    }
  }

  /** Takes what has arrived. */
  work(slice: Slice): boolean {
    // What it sends meanwhile waits for us.
    this.#heartbeat.heard();
    this.groupCommit.author = this;
    const hasMore = this.#readFrames(slice);
    this.groupCommit.author = undefined;
    if (!hasMore) this.#whenDone?.();
    return hasMore;
  }

  /** @returns whether there may be more */
  #readFrames(slice: Slice): boolean {
    try {
      if (this.#unfinished !== undefined && this.#goOn(this.#unfinished, slice)) return true;
      if (this.#unreadable || this.#state === "leaving") {
        this.#source.discard();
        return false;
      }
      while (this.#isReading && this.#source.next(this.frameMax)) {
        if (this.#lacksMemory()) this.#source.stepBack();
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
      this.#failConnection(faultOf(error, this.#host.log));
    }
    return false;
  }

  /** @returns whether it is not done yet */
  #goOn({ work, then, channel, current }: Unfinished, slice: Slice): boolean {
    if (this.#channels.get(channel) && work.work(slice)) return true;
    this.#unfinished = undefined;
    if (!this.#channels.get(channel)) return false;
    this.#current = current;
    try {
      then();
    } catch (error) {
      this.#fail(channel, this.#faultOf(error));
    }
    return false;
  }

  spread(copies: number): void {
    this.#lightFrames += copies;
  }

  finishFirst(channel: number, work: Work, then: () => void): void {
    this.#unfinished = { work, then, channel, current: this.#current };
  }

  get #isReading(): boolean {
    if (this.#state === "running") return !this.#backpressure.isOn;
    return this.#state === "closing";
  }

  /** Whether the frame is content for which there is no memory now. */
  #lacksMemory(): boolean {
    if (!this.pending.isTight || this.#state !== "running") return false;
    const { type, channel, payloadStart, payloadEnd } = this.#source;
    if (type === FrameType.method || !this.#channels.get(channel)?.publishing.isReceiving) {
      return false;
    }
    return this.#backpressure.isStarved = !this.pending.admits(this, payloadEnd - payloadStart);
  }

  #frame(): void {
    const { type, channel: number, bytes, payloadStart, payloadEnd } = this.#source;
    this.#current = NO_METHOD;
    try {
      if (type === FrameType.heartbeat) return this.#checkHeartbeat(number);
      if (type < FrameType.method || type > FrameType.body) throw unknownFrame(this.#source);
      const channel = number === 0 ? undefined : this.#channels.get(number);
      if (this.#state === "running" && channel) {
        if (channel.publishing.isReceiving || type === FrameType.method) this.#current = PUBLISH;
        if (type === FrameType.method && isAck(bytes, payloadStart, payloadEnd)) {
          channel.publishing.expect(type);
          this.#current = ACK;
          return channel.acknowledge(bytes, payloadStart + METHOD_IDS_BYTES);
        }
        const reader = channel.receive(type, bytes, payloadStart, payloadEnd);
        if (reader !== undefined) this.#channelMethod(number, channel, this.#decode(reader));
        return;
      }
      this.#otherFrame(type, number);
    } catch (error) {
      this.#fail(number, this.#faultOf(error));
    }
  }

  /** Errors in arguments name their method, those in other payloads none. */
  #faultOf(error: unknown): Fault {
    if (error instanceof MalformedError) {
      const isMethod = this.#source.type === FrameType.method;
      if (isMethod && !(error instanceof NotTextError)) return undecodable(this.#source);
      this.#current = NO_METHOD;
    }
    return faultOf(error, this.#host.log);
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
    const closing = this.#state === "closing" || this.#channels.get(number) === null;
    if (type !== FrameType.method) {
      if (closing) return;
      throw new Fault(
        "unexpected-frame",
        number === 0 ? this.#source.snippet : "expected method frame, got non method frame instead",
      );
    }
    const method = this.#decode(new ByteReader(bytes, payloadStart, payloadEnd));
    if (number === 0) return this.#connectionMethod(method);
    if (this.#state === "closing") return;
    if (closing) return this.#closingChannelMethod(number, method);
    if (method.name !== "channel.open") throw new Fault("channel-error", "expected 'channel.open'");
    this.#openChannel(number);
  }

  #connectionMethod(method: Method): void {
    switch (method.name) {
      case "connection.close":
        return this.#leave();
      case "connection.close-ok":
        return this.#finish();
      case "connection.update-secret":
        if (this.#state === "running") this.send(0, "connection.update-secret-ok", {});
        return;
      default:
        if (this.#state === "closing") return;
        throw new Fault("channel-error", "unexpected method in connection state running");
    }
  }

  // -- channels --

  #openChannel(number: number): void {
    const { channelMax } = this.#login;
    if (this.#channels.size >= channelMax) {
      this.#current = NO_METHOD;
      throw new Fault(
        "not-allowed",
        `number of channels opened (${this.#channels.size}) has reached the negotiated ` +
          `channel_max (${channelMax})`,
      );
    }
    this.#channels.set(number, new Channel(this, number));
    this.send(number, "channel.open-ok", { channelId: "" });
  }

  #channelMethod(number: number, channel: Channel, method: Method): void {
    switch (method.name) {
      case "channel.open":
        throw new Fault("channel-error", "second 'channel.open' seen");
      case "channel.close":
        channel.end();
        this.#channels.delete(number);
        return this.send(number, "channel.close-ok", {});
      default:
        channel.handle(method);
    }
  }

  /** After a channel.close of ours everything up to close-ok was sent before it arrived. */
  #closingChannelMethod(number: number, method: Method): void {
    if (method.name === "channel.open") {
      throw new Fault("channel-error", "second 'channel.open' seen");
    }
    if (method.name === "channel.close-ok") this.#channels.delete(number);
    if (method.name === "channel.close") this.send(number, "channel.close-ok", {});
  }

  /** What it asked for cannot be stored: no answer that says so may leave. */
  unstored(reason: string): void {
    this.outbox.takeBack();
    this.refuse(new Fault("internal-error", reason));
  }

  // -- faults --

  fail(number: number, fault: Fault): void {
    this.#current = NO_METHOD;
    this.#fail(number, fault);
  }

  #fail(number: number, fault: Fault): void {
    const channel = this.#channels.get(number);
    if (replyOf(fault).hard || !channel) return this.#failConnection(fault);
    this.#log("channel closed", fault, number);
    channel.end();
    this.#channels.set(number, null);
    this.send(number, "channel.close", this.#closeArguments(fault));
  }

  /** Once the end is agreed on or asked for, further faults change nothing: it has its deadline. */
  #failConnection(fault: Fault): void {
    if (this.#state !== "running") return;
    this.#log("connection closed", fault, 0);
    this.close(fault);
  }

  #log(message: string, fault: Fault, channel: number): void {
    const { peer } = this.#login;
    this.#host.log.debug(message, { peer, user: this.user, channel, reason: fault.message });
  }

  #closeArguments(fault: Fault): Arguments<"connection.close"> {
    const { code, text } = replyOf(fault);
    return { replyCode: code, replyText: text, ...this.#current };
  }

  // -- ending --

  /** The only place that changes the state. @returns whether it is a later one */
  #enter(state: State): boolean {
    if (STATES.indexOf(state) <= STATES.indexOf(this.#state)) return false;
    this.#state = state;
    this.#endChannels();
    this.deadlines.cancel(this.#closeDeadline);
    this.#backpressure.lift();
    return true;
  }

  /** Ends the connection in an orderly way: the client has some seconds to agree. */
  close(fault: Fault): void {
    if (!this.#enter("closing")) return;
    this.send(0, "connection.close", this.#closeArguments(fault));
    this.#closeDeadline = this.deadlines.after(CLOSE_MS, () => this.#cut());
  }

  /** The client ends the connection. */
  #leave(): void {
    if (!this.#enter("leaving")) return;
    this.send(0, "connection.close-ok", {});
    this.#closeDeadline = this.deadlines.after(LEAVE_MS, () => this.#cut());
  }

  /** Both sides have agreed to end: what is written still goes out. */
  #finish(): void {
    this.#end();
    this.groupCommit.endTurn();
    this.outbox.idle().then(() => this.outbox.close());
  }

  abandon(reason: string): void {
    const { peer, heartbeat } = this.#login;
    this.#host.log.warn(`connection closed: ${reason}`, { peer, heartbeat });
    this.#cut();
  }

  #cut(): void {
    this.#end();
    this.outbox.close();
  }

  #end(): void {
    if (!this.#enter("ended")) return;
    this.pending.leave(this);
    this.#heartbeat.stop();
  }

  /** First no channel takes deliveries any more, then all give back what they hold, then they end. */
  #endChannels(): void {
    for (const channel of this.#channels.values()) channel?.silence();
    for (const channel of this.#channels.values()) channel?.giveBack();
    for (const channel of this.#channels.values()) channel?.end();
    this.#channels.clear();
    this.vhost.deleteQueuesOf(this.id);
  }

  // -- writing --

  send<N extends PlainName>(channel: number, name: N, args: Arguments<N>): void {
    this.#write(channel, name, args);
  }

  answerAfterCommit<N extends PromiseName>(
    channel: number,
    name: N,
    args: Arguments<N>,
    promised: Promised,
  ): void {
    if (!this.#isSaved(promised)) this.needsCommit = true;
    this.#write(channel, name, args);
  }

  #isSaved(promised: Promised): boolean {
    if (promised === "everything") return false;
    return promised === "nothing" || this.vhost.isSaved(promised);
  }

  #write<N extends MethodName>(channel: number, name: N, args: Arguments<N>): void {
    this.outbox.frames.method(channel, name, args);
    this.touch();
  }

  touch(): void {
    this.groupCommit.flush(this);
  }

  flush(): void {
    this.needsCommit = false;
    this.outbox.flush();
  }

  hasRoomForReply(bytes: number): boolean {
    if (!this.outbox.isOverfull) return true;
    if (!this.replyTo.takeRoom(bytes)) return false;
    this.#lateReplies += bytes;
    return true;
  }

  #drained(): void {
    this.replyTo.giveRoom(this.#lateReplies);
    this.#lateReplies = 0;
    for (const channel of this.#channels.values()) channel?.wake();
    this.#backpressure.check();
  }

  // -- holding back --

  get isWaiting(): boolean {
    return this.#backpressure.isWaiting;
  }

  get isBlocked(): boolean {
    return this.#backpressure.isBlocked;
  }

  goOn(): void {
    this.#backpressure.isStarved = false;
  }

  refuse(fault: Fault): void {
    this.#current = NO_METHOD;
    this.#failConnection(fault);
  }

  publishes(): void {
    this.#isPublisher = true;
    this.block();
  }

  /** An alarm is on. Those who never published may go on. */
  block(): void {
    const { reason } = this.#host.alarms;
    if (reason === undefined || this.isBlocked || !this.#isPublisher) return;
    this.#backpressure.isBlocked = true;
    this.#notify("connection.blocked", { reason });
  }

  /** The alarm is over. */
  unblock(): void {
    if (!this.isBlocked) return;
    this.#heartbeat.heard();
    this.#backpressure.isBlocked = false;
    this.#notify("connection.unblocked", {});
  }

  #notify<N extends "connection.blocked" | "connection.unblocked">(
    name: N,
    args: Arguments<N>,
  ): void {
    if (this.#login.blockedNotify && this.#state === "running") this.send(0, name, args);
  }
}

/** The payload of a basic.ack, which is as frequent as basic.publish. */
function isAck(bytes: Uint8Array, start: number, end: number): boolean {
  return end - start === 13 && bytes[start + 3] === ACK.methodId && bytes[start + 2] === 0 &&
    bytes[start + 1] === ACK.classId && bytes[start] === 0;
}
