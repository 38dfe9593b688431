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
import { ChannelMethod, ClassId, ConnectionMethod, Type } from "@cloudamqp/amqp-client/amqp-frame";
import {
  ChannelError,
  ConnectionError,
  EXIT,
  exitCodeForReply,
  reason,
  ToolError,
} from "../errors.ts";
import { deadline } from "../time/deadline.ts";
import { dial, type Socket, tlsFault } from "./dial.ts";
import { dispatch, type FrameReceiver, outOfTurn } from "./client/dispatch.ts";
import { FrameBuffer, protocolError } from "./frame_buffer.ts";
import {
  agree,
  explainForeignBytes,
  PROTOCOL_HEADER,
  readClose,
  readStart,
  type ServerProperties,
  writeCloseOk,
  writeStartOk,
  writeTuneOkAndOpen,
} from "./handshake.ts";
import { Heartbeat } from "./heartbeat.ts";
import { Outbox } from "./outbox.ts";
import { type Attempt, reach } from "./reach.ts";
import { type Endpoint, redact, withPassword } from "./url.ts";
import type { AMQPView } from "./client/view.ts";

const FRAME_MAX_BYTES = 131072;
/** How long the broker may take to answer a method, in milliseconds. */
const REPLY_TIMEOUT_MS = 20_000;
/** How long a polite goodbye may take, in milliseconds. */
const CLOSE_TIMEOUT_MS = 1000;
const SENT = Promise.resolve();
const HEARTBEAT_FRAME = new Uint8Array([Type.HEARTBEAT, 0, 0, 0, 0, 0, 0, 0xce]);

/** Who this connection is, for the broker's tools. */
export interface ClientIdentity {
  /** Connection name: "worker on host1 pid 42". */
  readonly name: string;
  readonly version: string;
}

/** Told about the end of a channel or of its consumer; at most one call each. */
export interface ChannelWatcher {
  /** The broker closed the channel, or the connection has ended. */
  ended(error: ChannelError | ConnectionError): void;
  /** The broker cancelled the consumer, for instance because its queue was deleted. */
  cancelled?(consumerTag: string): void;
}

export class Transport extends AMQPBaseClient {
  readonly endpoint: Endpoint;
  /** Resolves with the cause when the connection has ended; never rejects. */
  readonly ended: Promise<ConnectionError>;
  /** Known after the handshake. */
  server: ServerProperties = { product: "", version: "" };
  readonly #socket: Socket;
  readonly #identity: ClientIdentity;
  readonly #outbox: Outbox;
  readonly #frames = new FrameBuffer(FRAME_MAX_BYTES);
  /** By the number of their channel. */
  readonly #watchers = new Map<number, ChannelWatcher>();
  /** Wake those who wait until the broker accepts publications. */
  #blockWaiters: (() => void)[] = [];
  #resolveEnded!: (error: ConnectionError) => void;
  /** Why it has ended. Written by {@link #end}. */
  #endError: ConnectionError | undefined;
  /** The broker has sent something: what it says from now on are frames. */
  #spoke = false;
  /** The handshake is through. */
  #opened = false;
  /** The broker has sent connection.close with this cause; the socket's end follows. */
  #goodbye: ConnectionError | undefined;
  /** The handshake's next method from the broker; undefined once it is through. */
  #awaited: ConnectionMethod | undefined = ConnectionMethod.START;
  #beats: Heartbeat | undefined;
  /** Reject the requests that wait for an answer. */
  readonly #requests = new Set<(error: ConnectionError) => void>();

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
    this.#identity = identity;
    this.#outbox = new Outbox(socket, (error) => this.#lost(error));
    this.ended = new Promise((resolve) => this.#resolveEnded = resolve);
    this.onunblocked = () => this.#wakeBlocked();
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
    attempt: Attempt,
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
    this.#readLoop();
    return opened;
  }

  /** The connection is over; nothing can be sent any more. */
  get isEnded(): boolean {
    return this.#endError !== undefined;
  }

  /** More bytes are waiting to be sent than should be. */
  get congested(): boolean {
    return this.#outbox.congested;
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
      await new Promise<void>((resolve) => this.#blockWaiters.push(resolve));
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
    else this.#watchers.set(channel.id, watcher);
  }

  /**
   * Waits for the answer to a method. A broker that does not answer is taken for dead.
   *
   * @param what the action, for the error: "declaring the queue"
   * @throws {ChannelError | ConnectionError}
   */
  async request<T>(what: string, reply: Promise<T>): Promise<T> {
    const { promise: ended, reject } = Promise.withResolvers<never>();
    this.#requests.add(reject);
    if (this.#endError !== undefined) reject(this.#endError);
    try {
      return await deadline(Promise.race([ended, reply]), REPLY_TIMEOUT_MS, () => {
        const error = new ConnectionError(
          `${redact(this.endpoint)} did not answer ${what} within ${REPLY_TIMEOUT_MS / 1000} s`,
        );
        this.#end(error);
        return error;
      });
    } catch (error) {
      if (error instanceof ToolError) throw error;
      throw new ChannelError(`${what} failed: ${reason(error)}`, 0, "", { cause: error });
    } finally {
      this.#requests.delete(reject);
    }
  }

  /** Says goodbye, waits a moment for the answer, and ends. Never throws. */
  async shutdown(): Promise<void> {
    if (this.#endError === undefined && this.#opened) {
      await deadline(this.close(), CLOSE_TIMEOUT_MS, () => new Error("late")).catch(() => {});
    }
    this.#end(new ConnectionError("the connection was closed by us"));
  }

  /** Ends it at once, without a word to the broker. */
  destroy(error: ConnectionError): void {
    this.#end(error);
  }

  protected override closeSocket(): void {
    this.#end(new ConnectionError("the connection was closed by us"));
  }

  async #readLoop(): Promise<void> {
    const receiver = this.#frameReceiver();
    const onFrame = (start: number, end: number) => {
      // Nothing that follows connection.close means anything (section 1.4.2.9).
      if (this.#endError === undefined && this.#goodbye === undefined) {
        dispatch(receiver, this.#frames, start, end);
      }
    };
    for (;;) {
      let n: number | null;
      try {
        n = await this.#socket.read(this.#frames.room);
      } catch (error) {
        return this.#lost(error);
      }
      if (this.#endError !== undefined) return;
      if (n === null) return this.#lost(undefined);
      this.#beats?.heard();
      try {
        if (this.#spoke || this.#speaksFrames(n)) this.#frames.take(n, onFrame);
      } catch (error) {
        return this.#end(
          error instanceof ConnectionError
            ? error
            : protocolError(`a frame cannot be read: ${reason(error)}`, error),
        );
      }
    }
  }

  /** The first bytes tell AMQP frames from anything else. */
  #speaksFrames(n: number): boolean {
    const first = this.#frames.room.subarray(0, n);
    if (first[0] === Type.METHOD) return this.#spoke = true;
    throw new ConnectionError(
      `cannot connect to ${redact(this.endpoint)}: ${explainForeignBytes(first)}`,
      EXIT.protocol,
      true,
    );
  }

  #frameReceiver(): FrameReceiver {
    return {
      channel: (id) => this.channels[id],
      isClosing: () => this.closePromise !== undefined,
      onConnectionMethod: (methodId, args) => this.#onConnectionMethod(methodId, args),
      onChannelClose: (channelId, args) => this.#onChannelClose(channelId, args),
      onConsumerCancel: (channelId, args) => this.#onConsumerCancel(channelId, args),
      leaveToPackage: (frame) => super.parseFrames(frame),
    };
  }

  #onConnectionMethod(methodId: ConnectionMethod, args: AMQPView): void {
    if (methodId === ConnectionMethod.CLOSE) return this.#onClose(args);
    if (methodId !== this.#awaited) throw outOfTurn(ClassId.CONNECTION, methodId);
    if (methodId === ConnectionMethod.START) return this.#onStart(args);
    if (methodId === ConnectionMethod.TUNE) return this.#onTune(args);
    return this.#onOpenOk();
  }

  #onStart(args: AMQPView): void {
    const start = readStart(args);
    this.server = start.server;
    this.#awaited = ConnectionMethod.TUNE;
    this.#outbox.add(
      writeStartOk(this.endpoint, start, this.#identity.name, this.#identity.version),
    );
  }

  #onTune(args: AMQPView): void {
    const tune = agree(args, {
      channelMax: this.channelMax,
      frameMax: this.frameMax,
      heartbeat: this.heartbeat,
    });
    this.channelMax = tune.channelMax;
    this.frameMax = tune.frameMax;
    this.heartbeat = tune.heartbeat;
    this.#frames.maxPayload = tune.frameMax;
    this.#awaited = ConnectionMethod.OPEN_OK;
    this.#outbox.add(writeTuneOkAndOpen(tune, this.vhost));
    if (tune.heartbeat > 0) this.#beats = this.#keepAlive(tune.heartbeat);
  }

  #onOpenOk(): void {
    this.#opened = true;
    this.#awaited = undefined;
    this.closed = false;
    const waiting = this.connectPromise;
    delete this.connectPromise;
    waiting?.[0](this);
  }

  #onClose(args: AMQPView): void {
    const { code, text } = readClose(args);
    this.#outbox.add(writeCloseOk(0, ClassId.CONNECTION, ConnectionMethod.CLOSE_OK));
    const refused = !this.#opened;
    const error = this.#goodbye = new ConnectionError(
      refused
        ? `cannot log in at ${redact(this.endpoint)}: ${text} (${code})`
        : `the broker closed the connection to ${redact(this.endpoint)}: ${text} (${code})`,
      exitCodeForReply(code, text),
      refused && exitCodeForReply(code, text) === EXIT.noPermission,
    );
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
    const watcher = this.#watchers.get(channelId);
    this.#watchers.delete(channelId);
    delete this.channels[channelId];
    channel.setClosed(error);
    watcher?.ended(error);
  }

  #onConsumerCancel(channelId: number, args: AMQPView): void {
    const [consumerTag] = args.getShortString(0);
    this.channels[channelId]?.consumers.delete(consumerTag);
    this.#watchers.get(channelId)?.cancelled?.(consumerTag);
  }

  /** @param seconds as agreed with the broker */
  #keepAlive(seconds: number): Heartbeat {
    return new Heartbeat({
      timeout: seconds * 1000,
      lastWrite: () => this.#outbox.lastWrite,
      beat: () => {
        // What waits to be sent is as good as a heartbeat, and must not grow by them.
        if (this.#outbox.empty) this.#outbox.add(HEARTBEAT_FRAME);
      },
      onSilence: () =>
        this.#end(
          new ConnectionError(`${redact(this.endpoint)} has been silent for ${seconds} s`),
        ),
    });
  }

  #lost(cause: unknown): void {
    const where = redact(this.endpoint);
    const why = cause === undefined ? "the broker closed the socket" : reason(cause);
    if (this.#opened) {
      const sentence = `the connection to ${where} was lost: ${why}`;
      return this.#end(new ConnectionError(sentence, EXIT.temporary, false, { cause }));
    }
    // With TLS 1.3 the broker refuses a client's certificate after the handshake, and its reset may
    // overtake the reason.
    const hint = this.endpoint.tls
      ? ", as with a client certificate that is missing or refused"
      : "";
    const sentence = `cannot log in at ${where}: ${why} during the handshake${hint}`;
    this.#end(
      tlsFault(this.endpoint, cause) ??
        new ConnectionError(sentence, EXIT.temporary, false, { cause }),
    );
  }

  #end(cause: ConnectionError): void {
    if (this.#endError !== undefined) return;
    const error = this.#endError = this.#goodbye ?? cause;
    this.closed = true;
    this.#beats?.stop();
    this.#outbox.discard();
    this.#socket.close();
    const waiting = this.connectPromise;
    delete this.connectPromise;
    waiting?.[1](error);
    const closing = this.closePromise;
    delete this.closePromise;
    closing?.[0]();
    for (const reject of this.#requests) reject(error);
    for (const channel of this.channels) channel?.setClosed(error);
    const watchers = [...this.#watchers.values()];
    this.#watchers.clear();
    for (const watcher of watchers) watcher.ended(error);
    this.#wakeBlocked();
    this.#resolveEnded(error);
  }

  #wakeBlocked(): void {
    const waiters = this.#blockWaiters;
    this.#blockWaiters = [];
    for (const resume of waiters) resume();
  }
}

function asConnectionError(error: unknown): ConnectionError {
  if (error instanceof ConnectionError) return error;
  return new ConnectionError(reason(error), EXIT.temporary, false, { cause: error });
}
