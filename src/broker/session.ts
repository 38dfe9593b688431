/**
 * One connection after its handshake: frames in, answers out, heartbeats, and the only place where
 * faults become reply codes.
 *
 * States: running > closing (we sent connection.close and wait for close-ok) > ended, or
 * running > leaving (we sent close-ok and wait for the client to close the socket) > ended.
 */

import type { Alarms } from "./alarms.ts";
import { ByteReader, MalformedError } from "./bytes.ts";
import { Channel, type ChannelSession } from "./channel.ts";
import type { Deadline, Deadlines } from "./deadlines.ts";
import { Fault, type FaultKind } from "./faults.ts";
import { FrameError, type FrameSource, FrameType } from "./frames.ts";
import type { Login } from "./handshake.ts";
import type { Limits } from "./limits.ts";
import {
  type Arguments,
  decodeArguments,
  idsOf,
  type Method,
  type MethodName,
  readMethodName,
} from "./methods.ts";
import { Outbox } from "./outbox.ts";
import type { ReplyTo } from "./reply_to.ts";
import type { Turn } from "./turn.ts";
import type { VirtualHost } from "./virtual_host.ts";
import type { Logger } from "../observe/log.ts";

interface Reply {
  code: number;
  name: string;
  /** Whether it ends the connection and not only the channel. */
  hard: boolean;
}

/** AMQP 0-9-1 section 1.2. */
const REPLIES: Record<FaultKind, Reply> = {
  "content-too-large": { code: 311, name: "CONTENT_TOO_LARGE", hard: false },
  "connection-forced": { code: 320, name: "CONNECTION_FORCED", hard: true },
  "access-refused": { code: 403, name: "ACCESS_REFUSED", hard: false },
  "not-found": { code: 404, name: "NOT_FOUND", hard: false },
  "resource-locked": { code: 405, name: "RESOURCE_LOCKED", hard: false },
  "precondition-failed": { code: 406, name: "PRECONDITION_FAILED", hard: false },
  "frame-error": { code: 501, name: "FRAME_ERROR", hard: true },
  "syntax-error": { code: 502, name: "SYNTAX_ERROR", hard: true },
  "command-invalid": { code: 503, name: "COMMAND_INVALID", hard: true },
  "channel-error": { code: 504, name: "CHANNEL_ERROR", hard: true },
  "unexpected-frame": { code: 505, name: "UNEXPECTED_FRAME", hard: true },
  "resource-error": { code: 506, name: "RESOURCE_ERROR", hard: true },
  "not-allowed": { code: 530, name: "NOT_ALLOWED", hard: true },
  "not-implemented": { code: 540, name: "NOT_IMPLEMENTED", hard: true },
  "internal-error": { code: 541, name: "INTERNAL_ERROR", hard: true },
};

/** Reply texts are short strings. */
const LONGEST_TEXT = 255;

/** Milliseconds that a client has to answer connection.close. */
const CLOSE_MS = 5_000;

/** Milliseconds that a client has to close the socket after our close-ok. Not closing it first
 * spares clients a race between close-ok and the end of the stream. */
const LEAVE_MS = 1_000;

/** What a session shares with all others. */
export interface SessionHost {
  readonly limits: Limits;
  readonly turn: Turn;
  readonly deadlines: Deadlines;
  readonly replyTo: ReplyTo;
  readonly alarms: Alarms;
  readonly log: Logger;
}

const NO_METHOD = { classId: 0, methodId: 0 };
const PUBLISH = idsOf("basic.publish");

export class Session implements ChannelSession {
  readonly id: number;
  readonly user: string;
  readonly vhost: VirtualHost;
  readonly outbox: Outbox;
  readonly frameMax: number;
  readonly limits: Limits;
  readonly turn: Turn;
  readonly deadlines: Deadlines;
  readonly replyTo: ReplyTo;
  readonly cancelNotify: boolean;
  needsCommit = false;

  readonly #host: SessionHost;
  readonly #login: Login;
  readonly #source: FrameSource;
  /** By number; a closing channel, whose frames are ignored until close-ok, is null. */
  readonly #channels = new Map<number, Channel | null>();
  #state: "running" | "closing" | "leaving" | "ended" = "running";
  /** The method that is being done: error replies name it. */
  #current = NO_METHOD;
  #lastRead = Date.now();
  #heartbeat: Deadline | undefined;
  #closeDeadline: Deadline | undefined;
  #blocked = false;
  /** The stream lost its frames: whatever still comes is ignored. */
  #unreadable = false;
  #resume: (() => void) | undefined;

  constructor(id: number, login: Login, host: SessionHost) {
    this.id = id;
    this.user = login.user;
    this.vhost = login.vhost;
    this.frameMax = login.frameMax;
    this.cancelNotify = login.cancelNotify;
    this.limits = host.limits;
    this.turn = host.turn;
    this.deadlines = host.deadlines;
    this.replyTo = host.replyTo;
    this.#host = host;
    this.#login = login;
    this.#source = login.source;
    this.outbox = new Outbox(login.connection, () => this.#drained());
    this.send(0, "connection.open-ok", { knownHosts: "" });
    this.#armHeartbeat();
  }

  // -- reading --

  /** Serves the connection until it ends. */
  async run(): Promise<void> {
    try {
      do {
        this.#readFrames();
        if (this.#blocked || this.outbox.isOverfull) await this.#whenReadable();
      } while (this.#state !== "ended" && await this.#source.fill());
    } catch (error) {
      if (!isConnectionLoss(error)) throw error;
    } finally {
      this.#end();
      this.outbox.close();
    }
  }

  #readFrames(): void {
    this.#lastRead = Date.now();
    try {
      if (this.#unreadable || this.#state === "leaving") return this.#source.discard();
      while (this.#isReading && this.#source.next(this.frameMax)) this.#frame();
    } catch (error) {
      this.#unreadable = true;
      this.#current = NO_METHOD;
      this.#failConnection(faultOf(error, this.#host.log));
    }
  }

  get #isReading(): boolean {
    return this.#state === "running" || this.#state === "closing";
  }

  #frame(): void {
    const { type, channel: number, bytes, payloadStart, payloadEnd } = this.#source;
    this.#current = NO_METHOD;
    try {
      if (type === FrameType.heartbeat) return this.#checkHeartbeat(number);
      if (type < FrameType.method || type > FrameType.body) throw this.#unknownFrame();
      const channel = number === 0 ? undefined : this.#channels.get(number);
      if (this.#state === "running" && channel) {
        if (channel.publishing.isReceiving || type === FrameType.method) this.#current = PUBLISH;
        const reader = channel.receive(type, bytes, payloadStart, payloadEnd);
        if (reader !== undefined) this.#channelMethod(number, channel, this.#decode(reader));
        return;
      }
      this.#otherFrame(type, number);
    } catch (error) {
      this.#fail(number, faultOf(error, this.#host.log));
    }
  }

  #checkHeartbeat(number: number): void {
    if (number !== 0) throw new Fault("unexpected-frame", this.#source.snippet);
    if (this.#source.payloadEnd > this.#source.payloadStart) throw this.#unknownFrame();
  }

  #unknownFrame(): Fault {
    return new Fault("frame-error", `${this.#source.snippet}: unknown_frame`);
  }

  #decode(reader: ByteReader): Method {
    this.#current = NO_METHOD;
    if (reader.end - reader.position < 4) throw this.#unknownFrame();
    const name = readMethodName(reader);
    if (name === undefined) throw new Fault("command-invalid", "unknown method");
    this.#current = idsOf(name);
    const start = reader.position;
    try {
      return decodeArguments(name, reader);
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error;
      const octets = this.#source.bytes.subarray(start, reader.end).join(",");
      throw new Fault("frame-error", `cannot decode <<${octets}>>`);
    }
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
    if (method.name === "channel.close-ok") this.#channels.delete(number);
    if (method.name === "channel.close") this.send(number, "channel.close-ok", {});
  }

  isClosed(number: number): boolean {
    return !this.#channels.get(number);
  }

  // -- faults --

  fail(number: number, fault: Fault): void {
    this.#current = NO_METHOD;
    this.#fail(number, fault);
  }

  #fail(number: number, fault: Fault): void {
    const channel = this.#channels.get(number);
    if (REPLIES[fault.kind].hard || !channel) return this.#failConnection(fault);
    this.#log("channel closed", fault, number);
    channel.end();
    this.#channels.set(number, null);
    this.send(number, "channel.close", this.#closeArguments(fault));
  }

  #failConnection(fault: Fault): void {
    if (this.#state !== "running") return this.#abandon();
    this.#log("connection closed", fault, 0);
    this.close(fault);
  }

  #log(message: string, fault: Fault, channel: number): void {
    const { peer } = this.#login;
    this.#host.log.debug(message, { peer, user: this.user, channel, reason: fault.message });
  }

  #closeArguments(fault: Fault): Arguments<"connection.close"> {
    const { code, name } = REPLIES[fault.kind];
    const replyText = `${name} - ${fault.message}`.slice(0, LONGEST_TEXT);
    return { replyCode: code, replyText, ...this.#current };
  }

  /** Ends the connection in an orderly way: the client has some seconds to agree. */
  close(fault: Fault): void {
    if (this.#state !== "running") return;
    this.#state = "closing";
    this.#endChannels();
    this.send(0, "connection.close", this.#closeArguments(fault));
    this.#closeDeadline = this.deadlines.add(Date.now() + CLOSE_MS, () => this.#abandon());
    this.#resume?.();
  }

  /** The client ends the connection. */
  #leave(): void {
    this.#endChannels();
    this.#state = "leaving";
    this.send(0, "connection.close-ok", {});
    this.deadlines.cancel(this.#closeDeadline);
    this.#closeDeadline = this.deadlines.add(Date.now() + LEAVE_MS, () => this.#abandon());
  }

  /** Both sides have agreed to end: what is written still goes out. */
  #finish(): void {
    this.#end();
    this.turn.end();
    this.outbox.idle().then(() => this.outbox.close());
  }

  #abandon(): void {
    this.#end();
    this.outbox.close();
  }

  #end(): void {
    if (this.#state === "ended") return;
    this.#endChannels();
    this.#state = "ended";
    this.deadlines.cancel(this.#heartbeat);
    this.deadlines.cancel(this.#closeDeadline);
    this.#resume?.();
  }

  /** First no channel takes deliveries any more, then all give back what they hold. */
  #endChannels(): void {
    for (const channel of this.#channels.values()) channel?.silence();
    for (const channel of this.#channels.values()) channel?.end();
    this.#channels.clear();
    for (const queue of [...this.vhost.queues()]) {
      if (queue.identity.ownerId === this.id) this.vhost.deleteQueue(queue);
    }
    this.turn.schedule();
  }

  // -- writing --

  send<N extends MethodName>(channel: number, name: N, args: Arguments<N>): void {
    this.outbox.frames.method(channel, name, args);
    this.touch();
  }

  touch(): void {
    this.turn.flush(this);
  }

  mustBeSafe(): void {
    this.needsCommit = true;
    this.touch();
  }

  flush(): void {
    this.needsCommit = false;
    this.outbox.flush();
  }

  #drained(): void {
    for (const channel of this.#channels.values()) channel?.wake();
    if (!this.#blocked) this.#resume?.();
  }

  // -- holding back --

  published(): void {
    if (this.#host.alarms.reason === undefined || this.#blocked) return;
    this.#blocked = true;
    if (this.#login.blockedNotify) {
      this.send(0, "connection.blocked", { reason: this.#host.alarms.reason });
    }
  }

  /** The alarm is over. */
  unblock(): void {
    if (!this.#blocked) return;
    this.#blocked = false;
    this.#lastRead = Date.now();
    if (this.#login.blockedNotify && this.#state === "running") {
      this.send(0, "connection.unblocked", {});
    }
    this.#resume?.();
  }

  async #whenReadable(): Promise<void> {
    while (this.#state === "running" && (this.#blocked || this.outbox.isOverfull)) {
      await new Promise<void>((resolve) => this.#resume = resolve);
    }
    this.#resume = undefined;
  }

  // -- heartbeats --

  /** Half the interval is how often both sides send, and how often is looked. */
  #armHeartbeat(): void {
    const interval = this.#login.heartbeat * 1000;
    if (interval === 0) return;
    this.#heartbeat = this.deadlines.add(Date.now() + interval / 2, () => this.#beat(interval));
  }

  #beat(interval: number): void {
    const now = Date.now();
    const reading = !this.#blocked && !this.outbox.isOverfull;
    if (reading && now - this.#lastRead > interval * 2) {
      this.#host.log.warn("connection closed: no heartbeat from the client", {
        peer: this.#login.peer,
        seconds: this.#login.heartbeat,
      });
      return this.#abandon();
    }
    if (now - this.outbox.lastWrite >= interval / 2 - 50) {
      this.outbox.frames.heartbeat();
      // Not with the turn: a heartbeat says that we live, even while the disk makes us wait.
      if (!this.needsCommit) this.outbox.flush();
    }
    this.#armHeartbeat();
  }
}

/** What a peer or the code did wrong, as a fault. A fault of the code is logged. */
function faultOf(error: unknown, log: Logger): Fault {
  if (error instanceof Fault) return error;
  if (error instanceof FrameError) return new Fault("frame-error", error.message);
  if (error instanceof MalformedError) return new Fault("frame-error", error.message);
  log.error("a fault in the broker", {
    error: error instanceof Error ? error.stack ?? error.message : String(error),
  });
  return new Fault("internal-error", "the broker failed to do this; its log has the reason");
}

/** The peer is gone, or we closed the socket. */
export function isConnectionLoss(error: unknown): boolean {
  return error instanceof Deno.errors.ConnectionReset ||
    error instanceof Deno.errors.ConnectionAborted ||
    error instanceof Deno.errors.BrokenPipe ||
    error instanceof Deno.errors.BadResource ||
    error instanceof Deno.errors.Interrupted ||
    error instanceof Deno.errors.UnexpectedEof ||
    error instanceof Deno.errors.InvalidData ||
    error instanceof Deno.errors.TimedOut;
}
