/**
 * One connection after its handshake: what its channels share, what it answers, and how it ends. A
 * fault of its client becomes a channel.close or connection.close here. What it reads and writes
 * has a class each.
 */

import type { Alarms } from "../store/alarms.ts";
import { Backpressure } from "./backpressure.ts";
import type { Budget } from "../channel/budget.ts";
import type { ClientRoom, ClientShare } from "../channel/client_room.ts";
import type { DeliveryRoom } from "../channel/delivery_room.ts";
import type { ChannelHost, Promised, WorkKind } from "../channel/host.ts";
import type { Deadline, Deadlines } from "../../time/deadlines.ts";
import { Fault } from "../wire/faults.ts";
import type { Client, Login } from "./handshake.ts";
import { Heartbeat, type HeartbeatSession } from "./heartbeat.ts";
import type { Limits } from "../net/limits.ts";
import type { Arguments, Method, PlainName, PromiseName } from "../wire/methods.ts";
import type { OutboxRoom } from "../net/outbox_room.ts";
import { replyOf } from "./reply_codes.ts";
import type { ReplyTo } from "../channel/reply_to.ts";
import type { FrameRoom } from "../net/frame_room.ts";
import type { Looks } from "../net/looks.ts";
import { isConnectionLoss } from "../net/socket.ts";
import { Reading, type ReadingSession } from "./reading.ts";
import type { Scheduler, Work } from "../../time/scheduler.ts";
import { isLater, type State } from "./state.ts";
import { type SharedOutbox, Writing, type WritingSession } from "./writing.ts";
import { Channels } from "./channels.ts";
import type { GroupCommit } from "../store/group_commit.ts";
import type { GrowingBody } from "../store/messages/bodies.ts";
import type { Store } from "../store/store.ts";
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
  readonly clientRoom: ClientRoom;
  readonly deliveryRoom: DeliveryRoom;
  readonly frameRoom: FrameRoom;
  readonly looks: Looks;
  readonly outboxRoom: OutboxRoom;
  readonly groupCommit: GroupCommit;
  readonly store: Pick<Store, "beginBody">;
  readonly deadlines: Deadlines;
  readonly replyTo: ReplyTo;
  readonly alarms: Alarms;
  readonly scheduler: Scheduler;
  readonly log: Logger;
}

export class Session implements ChannelHost, HeartbeatSession, ReadingSession, WritingSession {
  readonly id: number;
  readonly user: string;
  readonly vhost: VirtualHost;
  readonly outbox: SharedOutbox;
  readonly frameMax: number;
  readonly limits: Limits;
  readonly pending: Budget;
  readonly clientShare: ClientShare;
  readonly deliveryRoom: DeliveryRoom;
  readonly groupCommit: GroupCommit;
  readonly deadlines: Deadlines;
  readonly replyTo: ReplyTo;
  readonly cancelNotify: boolean;
  readonly qosForChannel: boolean;
  /** {@link Taker} */
  taken = 0;
  sent = 0;
  turns = 0;

  readonly #host: SessionHost;
  /** When it began, in milliseconds since the epoch. */
  readonly since = Date.now();
  readonly #login: Login;
  readonly #reading: Reading;
  readonly #writing: Writing;
  readonly channels: Channels;
  /** Written by {@link #enter}. */
  #state: State = "running";
  readonly #heartbeat: Heartbeat;
  readonly backpressure: Backpressure;
  /** When the client has had its time to close the connection or the socket. */
  #closeDeadline: Deadline | undefined;
  /** It has published: alarms concern it. */
  #isPublisher = false;
  /** It hears what becomes of each of its publishes. */
  #isTold = true;

  constructor(id: number, login: Login, host: SessionHost) {
    this.id = id;
    this.user = login.user;
    this.vhost = login.vhost;
    this.frameMax = login.frameMax;
    this.cancelNotify = login.cancelNotify;
    this.qosForChannel = login.qosForChannel;
    this.limits = host.limits;
    this.pending = host.pending;
    this.clientShare = host.clientRoom.share();
    this.deliveryRoom = host.deliveryRoom;
    this.groupCommit = host.groupCommit;
    this.deadlines = host.deadlines;
    this.replyTo = host.replyTo;
    this.#host = host;
    this.#login = login;
    login.source.trust(host.outboxRoom.buffers);
    this.#writing = new Writing(this, login.connection, host.outboxRoom);
    this.outbox = this.#writing.outbox;
    this.backpressure = new Backpressure(this.outbox);
    this.#heartbeat = new Heartbeat(this, login.heartbeat);
    this.channels = new Channels(this, login.channelMax);
    this.#reading = new Reading(this, login.source, host);
    this.send(0, "connection.open-ok", { knownHosts: "" });
  }

  /** Its address. */
  get peer(): string {
    return this.#login.peer;
  }

  /** What its client says that it is. */
  get client(): Client {
    return this.#login.client;
  }

  get state(): State {
    return this.#state;
  }

  // -- reading --

  /** Serves the connection until it ends. */
  async run(): Promise<void> {
    const who = { peer: this.peer, user: this.user, client: this.client.name };
    this.#host.log.debug("connection opened", who);
    let why: string | undefined;
    try {
      await this.#reading.run();
    } catch (error) {
      if (!isConnectionLoss(error)) throw error;
      why = (error as Error).message;
    } finally {
      this.#host.log.debug("connection ended", { ...who, reason: why });
      this.#end();
      this.#writing.close();
      this.#reading.end();
    }
  }

  heard(): void {
    this.#heartbeat.heard();
  }

  spread(copies: number): void {
    this.#reading.spread(copies);
  }

  finishFirst(channel: number, work: Work, then: () => void, kind?: WorkKind): void {
    this.#reading.finishFirst(channel, work, then, kind);
  }

  beginBody(length: number, kind: "durable" | "transient"): GrowingBody {
    return this.#host.store.beginBody(length, kind);
  }

  outlive(work: Work): void {
    this.#host.scheduler.add(work);
  }

  handle(method: Method): void {
    switch (method.name) {
      case "connection.close":
        return this.#leave();
      case "connection.close-ok":
        return this.#finish();
      case "connection.update-secret":
        if (this.state === "running") this.send(0, "connection.update-secret-ok", {});
        return;
      default:
        if (this.state === "closing") return;
        throw new Fault("channel-error", "unexpected method in connection state running");
    }
  }

  // -- faults --

  /** What it asked for cannot be stored: no answer that says so may leave. */
  unstored(reason: string): void {
    this.#writing.takeBack();
    this.refuse(new Fault("internal-error", reason));
  }

  fail(number: number, fault: Fault): void {
    this.#reading.leaveMethod();
    this.answerFault(number, fault);
  }

  answerFault(number: number, fault: Fault): void {
    const channel = this.channels.find(number);
    if (replyOf(fault).hard || !channel) return this.failConnection(fault);
    this.#log("channel closed", fault, number);
    this.channels.close(number, channel, this.#closeArguments(fault));
  }

  /** Once the end is agreed on or asked for, further faults change nothing: it has its deadline. */
  failConnection(fault: Fault, ms?: number): void {
    if (this.state !== "running") return;
    this.#log("connection closed", fault, 0);
    this.close(fault, ms);
  }

  #log(message: string, fault: Fault, channel: number): void {
    const { peer } = this.#login;
    this.#host.log.debug(message, { peer, user: this.user, channel, reason: fault.message });
  }

  #closeArguments(fault: Fault): Arguments<"connection.close"> {
    const { code, text } = replyOf(fault);
    return { replyCode: code, replyText: text, ...this.#reading.current };
  }

  // -- ending --

  /**
   * The only place that changes the state.
   * @param then when the queues are gone that only this connection had
   * @returns whether it is a later one
   */
  #enter(state: State, then = () => {}): boolean {
    if (!isLater(state, this.state)) return false;
    this.#state = state;
    this.deadlines.cancel(this.#closeDeadline);
    this.backpressure.lift();
    this.channels.end(() => this.vhost.deleteQueuesOf(this.id, then));
    return true;
  }

  /** Ends the connection in an orderly way. @param ms that the client has to agree */
  close(fault: Fault, ms = CLOSE_MS): void {
    if (!this.#enter("closing")) return;
    this.send(0, "connection.close", this.#closeArguments(fault));
    this.#closeDeadline = this.deadlines.after(ms, () => this.#cut());
  }

  /** The client ends the connection. */
  #leave(): void {
    this.#enter("leaving", () => {
      if (this.state !== "leaving") return;
      this.send(0, "connection.close-ok", {});
      this.#closeDeadline = this.deadlines.after(LEAVE_MS, () => this.#cut());
    });
  }

  /** Both sides have agreed to end: what is written still goes out. */
  #finish(): void {
    this.#end();
    this.groupCommit.endTurn();
    this.#writing.finish();
  }

  abandon(reason: string): void {
    const { peer, heartbeat } = this.#login;
    this.#host.log.warn(`connection closed: ${reason}`, { peer, heartbeat });
    this.#cut();
  }

  #cut(): void {
    this.#end();
    this.#writing.close();
  }

  #end(): void {
    if (!this.#enter("ended")) return;
    this.pending.leave(this);
    this.#heartbeat.stop();
  }

  // -- writing --

  send<N extends PlainName>(channel: number, name: N, args: Arguments<N>): void {
    this.#writing.send(channel, name, args);
  }

  answerAfterCommit<N extends PromiseName>(
    channel: number,
    name: N,
    args: Arguments<N>,
    promised: Promised,
  ): void {
    this.#writing.answerAfterCommit(channel, name, args, promised);
  }

  touch(): void {
    this.#writing.touch();
  }

  flush(): void {
    this.#writing.flush();
  }

  hasRoomForReply(bytes: number): boolean {
    return this.#writing.hasRoomForReply(bytes);
  }

  drained(): void {
    this.channels.wake();
    this.backpressure.check();
  }

  // -- holding back --

  get isWaiting(): boolean {
    return this.backpressure.isWaiting || !this.#reading.isIdle;
  }

  get isBlocked(): boolean {
    return this.backpressure.isBlocked;
  }

  get isCramped(): boolean {
    return this.backpressure.isCramped;
  }

  goOn(): void {
    this.backpressure.isStarved = false;
  }

  refuse(fault: Fault): void {
    this.#reading.leaveMethod();
    this.failConnection(fault);
  }

  publishes(isTold: boolean): void {
    this.#isPublisher = true;
    if (!isTold) this.#isTold = false;
    this.block();
  }

  get isRefusing(): boolean {
    return this.#isTold && this.#host.alarms.isRefusing;
  }

  /** An alarm is on. Those who never published may go on. */
  block(): void {
    const { reason } = this.#host.alarms;
    if (reason === undefined || this.isBlocked || !this.#isPublisher) return;
    if (this.isRefusing) return;
    this.backpressure.isBlocked = true;
    this.#notify("connection.blocked", { reason });
  }

  /** The alarm is over. */
  unblock(): void {
    if (!this.isBlocked) return;
    this.#heartbeat.heard();
    this.backpressure.isBlocked = false;
    this.#notify("connection.unblocked", {});
  }

  #notify<N extends "connection.blocked" | "connection.unblocked">(
    name: N,
    args: Arguments<N>,
  ): void {
    if (this.#login.blockedNotify && this.state === "running") this.send(0, name, args);
  }
}
