/**
 * One AMQP connection over one socket: the package's client with our own way to connect, send and
 * end. It is never reused: another attempt is another object, so nothing of a dead connection
 * (blocked flag, half a frame, old channels) can reach the next one.
 *
 * States: connecting > open > ended, or connecting > ended. `#end` is the only way into the last one,
 * from any place, once; everything that waits on the connection is settled there. After the broker's
 * connection.close, which can come in either of the others, only our answer is still sent.
 */
import { AMQPBaseClient } from "@cloudamqp/amqp-client/amqp-base-client";
import type { AMQPChannel } from "@cloudamqp/amqp-client/amqp-channel";
import { ChannelMethod, ClassId, ConnectionMethod } from "@cloudamqp/amqp-client/amqp-frame";
import { ChannelError, ConnectionError } from "../errors.ts";
import { deadline } from "../time/deadline.ts";
import { Waiters } from "../time/waiters.ts";
import { type ChannelWatcher, ChannelWatchers } from "./channel_watchers.ts";
import type { ClientIdentity } from "./client_identity.ts";
import { dial, type Socket } from "./dial.ts";
import { dispatch, type FrameReceiver } from "./client/dispatch.ts";
import {
  asConnectionError,
  closedByBroker,
  lostConnection,
  lostHandshake,
  refusedByBroker,
} from "./endings.ts";
import { FrameReader } from "./frame_reader.ts";
import {
  Handshake,
  readClose,
  type ServerProperties,
  type Tune,
  writeCloseOk,
} from "./handshake.ts";
import { type Heartbeat, keepAlive } from "./heartbeat.ts";
import type { MessageTracing } from "./message_tracing.ts";
import { Outbox } from "./outbox.ts";
import { OUR_BROKER, PROTOCOL_HEADER } from "./protocol.ts";
import { type ConnectAttempt, reach } from "./reach.ts";
import { Requests } from "./requests.ts";
import { type Endpoint, redact, withPassword } from "./url.ts";
import type { AMQPView } from "./client/view.ts";

const FRAME_MAX_BYTES = 131072;
/** How long a polite goodbye may take, in milliseconds. */
const CLOSE_TIMEOUT_MS = 1000;
const SENT = Promise.resolve();

export class Transport extends AMQPBaseClient {
  readonly endpoint: Endpoint;
  /** Whoever publishes on it tells that. */
  tracing: MessageTracing | undefined;
  /** Resolves with the cause when the connection has ended; never rejects. */
  readonly ended: Promise<ConnectionError>;
  readonly #socket: Socket;
  readonly #handshake: Handshake;
  readonly #outbox: Outbox;
  readonly #reader: FrameReader;
  readonly #watchers = new ChannelWatchers();
  /** Those who wait until the broker accepts publications. */
  readonly #blockWaiters = new Waiters();
  #resolveEnded!: (error: ConnectionError) => void;
  /** Why it has ended. Written by {@link #end}. */
  #endError: ConnectionError | undefined;
  /** The broker has sent connection.close with this cause; the socket's end follows. */
  #goodbye: ConnectionError | undefined;
  #beats: Heartbeat | undefined;
  readonly #requests: Requests;

  private constructor(endpoint: Endpoint, socket: Socket, identity: ClientIdentity) {
    super(
      endpoint.vhost,
      endpoint.username,
      "", // start-ok is written here and not by the package
      identity.name,
      undefined,
      FRAME_MAX_BYTES,
      endpoint.heartbeat,
      endpoint.channelMax,
    );
    this.endpoint = endpoint;
    this.#socket = socket;
    this.#outbox = new Outbox(socket, (error) => this.#lost(error), identity.bytesPerSecond);
    this.#handshake = new Handshake(endpoint, identity, {
      ours: this,
      send: (bytes) => this.#outbox.add(bytes),
      onTuned: (tune) => this.#onTuned(tune),
      onOpened: () => this.#onOpened(),
    });
    this.#reader = new FrameReader(socket, endpoint, FRAME_MAX_BYTES);
    this.#requests = new Requests(
      redact(endpoint),
      (error) => this.#end(error),
      () => this.#reader.paused,
    );
    this.ended = new Promise((resolve) => this.#resolveEnded = resolve);
    this.onunblocked = () => this.#blockWaiters.wake();
  }

  /**
   * Connects and logs in.
   *
   * @throws {ConnectionError} `fatal` when trying again cannot help
   * @throws {InputError} a certificate file cannot be read
   */
  static async open(endpoint: Endpoint, identity: ClientIdentity): Promise<Transport> {
    const known = withPassword(endpoint);
    return await reach(
      known,
      (attempt) => Transport.#openAt(known, attempt, identity),
      (late) => late.destroy(new ConnectionError("it was opened too late")),
    );
  }

  static async #openAt(
    endpoint: Endpoint,
    attempt: ConnectAttempt,
    identity: ClientIdentity,
  ): Promise<Transport> {
    const { signal } = attempt;
    const transport = new Transport(endpoint, await dial(endpoint, attempt), identity);
    const giveUp = () => transport.#end(asConnectionError(signal.reason));
    signal.addEventListener("abort", giveUp);
    if (signal.aborted) giveUp();
    try {
      await transport.connect();
    } catch (error) {
      transport.#end(asConnectionError(error));
      throw error;
    } finally {
      signal.removeEventListener("abort", giveUp);
    }
    return transport;
  }

  /** Logs in over the socket. Called once, by `open`. */
  override connect(): Promise<AMQPBaseClient> {
    const opened = new Promise<AMQPBaseClient>((resolve, reject) => {
      this.connectPromise = [resolve, reject];
    });
    if (this.#endError !== undefined) return Promise.reject(this.#endError);
    this.#outbox.add(PROTOCOL_HEADER);
    this.#read();
    return opened;
  }

  /** Known after the handshake. */
  get server(): ServerProperties {
    return this.#handshake.server;
  }

  /** The connection is over; nothing can be sent any more. */
  get isEnded(): boolean {
    return this.#endError !== undefined;
  }

  /** More bytes are waiting to be sent than should be. */
  get congested(): boolean {
    return this.#outbox.congested;
  }

  /** performance.now() of the last bytes that the operating system took. */
  get lastWrite(): number {
    return this.#outbox.lastWrite;
  }

  /** Reads on, or leaves what comes to the operating system, which lets the broker send no more. */
  set reading(reading: boolean) {
    this.#reader.paused = !reading;
  }

  /** Leaves what comes to the operating system until that has resolved. @param room never rejects */
  readAfter(room: Promise<unknown>): void {
    this.#reader.readAfter(room);
  }

  /** Resolves when there is room to send again, or the connection has ended. */
  drained(): Promise<void> {
    return this.#outbox.drained();
  }

  /** Queues bytes to send. Large pieces must not change until they are sent. */
  override send(bytes: Uint8Array): Promise<void> {
    if (this.#endError !== undefined) return Promise.reject(this.#endError);
    this.#outbox.add(bytes);
    return SENT;
  }

  /** As `send`, without a promise; does nothing when the connection has ended. */
  enqueue(bytes: Uint8Array): void {
    if (this.#endError === undefined) this.#outbox.add(bytes);
  }

  /** Resolves when the broker accepts publications, or the connection has ended. */
  async unblocked(): Promise<void> {
    while (this.blocked !== undefined && this.#endError === undefined) {
      await this.#blockWaiters.wait();
    }
  }

  /** Opens a channel. @throws {ChannelError} refused, or there are as many as may be */
  openChannel(): Promise<AMQPChannel> {
    return this.onNewChannel((channel) => Promise.resolve(channel));
  }

  /**
   * Opens a channel for `use`, which is called at once: what it asks for first leaves in the same
   * packet as channel.open, and saves waiting for open-ok.
   *
   * @returns what `use` returns, when the channel is open
   * @throws {ChannelError} refused, or there are as many as may be
   */
  async onNewChannel<T>(use: (channel: AMQPChannel) => Promise<T>): Promise<T> {
    const free = this.channels.findIndex((channel) => channel === undefined);
    const id = free < 0 ? this.channels.length : free;
    if (this.channelMax > 0 && id > this.channelMax) {
      throw new ChannelError(
        `cannot open a channel at ${redact(this.endpoint)}: the connection may have ` +
          `${this.channelMax} (channel_max), and has them all`,
        0,
        "",
      );
    }
    this.#outbox.gather();
    const opened = this.request("opening a channel", this.channel(id));
    const channel = this.channels[id];
    if (channel === undefined) return await opened as never; // the connection has ended
    const [, result] = await Promise.all([opened, use(channel)]);
    return result;
  }

  /** Tells `watcher` about the end of a channel, at once when it has ended already. */
  watch(channel: AMQPChannel, watcher: ChannelWatcher): void {
    if (this.#endError !== undefined) watcher.ended(this.#endError);
    else if (channel.closed) watcher.ended(new ChannelError("the channel is closed", 0, ""));
    else this.#watchers.add(channel.id, watcher);
  }

  /**
   * Waits for the answer to a method. A broker that does not answer is taken for dead.
   *
   * @param what the action, for the error: "declaring the queue"
   * @throws {ChannelError | ConnectionError}
   */
  request<T>(what: string, reply: Promise<T>): Promise<T> {
    return this.#requests.answer(what, reply);
  }

  /** Says goodbye, waits a moment for the answer, and ends. Never throws. */
  async shutdown(): Promise<void> {
    if (this.#endError === undefined && this.#handshake.isThrough) {
      await deadline(this.close(), CLOSE_TIMEOUT_MS, () => new Error("late")).catch(() => {});
    }
    this.#end(new ConnectionError("the connection was closed by us"));
  }

  /**
   * Says goodbye as the last thing before the process ends, which closes the socket: without waiting
   * for the answer of a broker that does not mind. Never throws.
   */
  async leave(): Promise<void> {
    if (this.#endError !== undefined) return;
    const answer = this.close().catch(() => {}); // then it has ended
    // Of TLS nobody says when the last bytes are with the operating system. RabbitMQ ends the channels
    // first, and warns of a client that is gone before.
    const isMinded = this.endpoint.tls || this.server.product !== OUR_BROKER;
    const left = isMinded ? answer : this.#outbox.flushed();
    await deadline(left, CLOSE_TIMEOUT_MS, () => new Error("late")).catch(() => {});
  }

  /** Ends it at once, without a word to the broker. */
  destroy(error: ConnectionError): void {
    this.#end(error);
  }

  protected override closeSocket(): void {
    this.#end(new ConnectionError("the connection was closed by us"));
  }

  #read(): void {
    const { frames } = this.#reader;
    const receiver = this.#frameReceiver();
    const isEnded = () => this.#endError !== undefined;
    this.#reader.run({
      get isEnded() {
        return isEnded();
      },
      heard: () => this.#beats?.heard(),
      onFrame: (start, end) => {
        // Nothing that follows connection.close means anything (section 1.4.2.9).
        if (isEnded() || this.#goodbye !== undefined) return;
        dispatch(receiver, frames, start, end);
      },
      onEnd: (cause) => this.#lost(cause),
      onFault: (error) => this.#end(error),
    });
  }

  #frameReceiver(): FrameReceiver {
    return {
      channel: (id) => this.channels[id],
      onConnectionMethod: (methodId, args) => this.#onConnectionMethod(methodId, args),
      onChannelClose: (channelId, args) => this.#onChannelClose(channelId, args),
      onConsumerCancel: (channelId, args) => this.#onConsumerCancel(channelId, args),
      leaveToPackage: (frame) => super.parseFrames(frame),
    };
  }

  #onConnectionMethod(methodId: ConnectionMethod, args: AMQPView): void {
    if (methodId === ConnectionMethod.CLOSE) return this.#onClose(args);
    if (methodId === ConnectionMethod.CLOSE_OK && this.closePromise) return this.#settleClose();
    this.#handshake.onMethod(methodId, args);
  }

  #onTuned(tune: Tune): void {
    this.channelMax = tune.channelMax;
    this.frameMax = tune.frameMax;
    this.heartbeat = tune.heartbeat;
    this.#reader.frames.maxPayload = tune.frameMax;
    if (tune.heartbeat === 0) return;
    this.#beats = keepAlive(tune.heartbeat, this.#outbox, this.#reader, () => {
      this.#end(
        new ConnectionError(`${redact(this.endpoint)} has been silent for ${tune.heartbeat} s`),
      );
    });
  }

  #onOpened(): void {
    this.closed = false;
    const waiting = this.connectPromise;
    delete this.connectPromise;
    waiting?.[0](this);
  }

  #onClose(args: AMQPView): void {
    const { code, text } = readClose(args);
    this.#outbox.add(writeCloseOk(0, ClassId.CONNECTION, ConnectionMethod.CLOSE_OK));
    const describe = this.#handshake.isThrough ? closedByBroker : refusedByBroker;
    const error = this.#goodbye = describe(this.endpoint, code, text);
    // The answer leaves before the socket closes; whoever waits is told after that.
    deadline(this.#outbox.flushed(), CLOSE_TIMEOUT_MS, () => error)
      .catch(() => {})
      .then(() => this.#end(error));
  }

  #onChannelClose(channelId: number, args: AMQPView): void {
    const { code, text } = readClose(args);
    const channel = this.channels[channelId];
    this.#outbox.add(writeCloseOk(channelId, ClassId.CHANNEL, ChannelMethod.CLOSE_OK));
    if (channel === undefined) return;
    const error = new ChannelError(`the broker closed the channel: ${text} (${code})`, code, text);
    const watcher = this.#watchers.take(channelId);
    delete this.channels[channelId];
    channel.setClosed(error);
    watcher?.ended(error);
  }

  #onConsumerCancel(channelId: number, args: AMQPView): void {
    const [consumerTag] = args.getShortString(0);
    this.channels[channelId]?.consumers.delete(consumerTag);
    this.#watchers.cancelled(channelId, consumerTag);
  }

  /** @param cause undefined: the broker closed the socket */
  #lost(cause: unknown): void {
    const describe = this.#handshake.isThrough ? lostConnection : lostHandshake;
    this.#end(describe(this.endpoint, cause));
  }

  #end(cause: ConnectionError): void {
    if (this.#endError !== undefined) return;
    const error = this.#endError = this.#goodbye ?? cause;
    this.closed = true;
    this.#beats?.stop();
    this.#reader.paused = false;
    this.#outbox.discard();
    this.#socket.close();
    const waiting = this.connectPromise;
    delete this.connectPromise;
    waiting?.[1](error);
    this.#settleClose();
    this.#requests.end(error);
    for (const channel of this.channels) channel?.setClosed(error);
    this.#watchers.endAll(error);
    this.#blockWaiters.wake();
    this.#resolveEnded(error);
  }

  /** Whoever said goodbye goes on, and ends it. */
  #settleClose(): void {
    const closing = this.closePromise;
    delete this.closePromise;
    closing?.[0]();
  }
}
