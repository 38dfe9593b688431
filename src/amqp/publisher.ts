/**
 * Publishes tasks and knows what became of each: confirmed, returned, refused, or unknown because
 * the connection ended first. Always mandatory, always with confirms, on a channel of its own.
 */
import type { AMQPChannel } from "@cloudamqp/amqp-client/amqp-channel";
import type { AMQPMessage } from "@cloudamqp/amqp-client/amqp-message";
import {
  ChannelError,
  ConnectionError,
  EXIT,
  InDoubtError,
  NackError,
  TaskError,
  type ToolError,
} from "../errors.ts";
import { ContentWriter, type Publication } from "./client/content.ts";
import { formatDuration } from "../task/duration.ts";
import { DIRECT_REPLY_TO } from "../task/topology.ts";
import { after, type Timer } from "../time/timer.ts";
import { turnTime } from "../time/turn_time.ts";
import { type Pending, Told } from "./pending.ts";
import type { Transport } from "./transport.ts";
import { Unsettled } from "./unsettled.ts";

export type { Publication } from "./client/content.ts";

export interface PublisherOptions {
  /** How long a confirm may take, in milliseconds; default 30,000. */
  readonly confirmTimeout?: number;
  /** A queue that must be there; looking it up costs no round trip of its own. */
  readonly queue?: string | undefined;
  /**
   * Takes the answers to tasks published with `replyTo` {@linkcode DIRECT_REPLY_TO}: they come on
   * the channel on which those were published, and are gone with it.
   */
  readonly onAnswer?: ((message: AMQPMessage) => void) | undefined;
}

/** Why nothing can be published on a channel any more. */
type ChannelEnd = ChannelError | ConnectionError;

export class Publisher {
  readonly #transport: Transport;
  readonly #channel: AMQPChannel;
  readonly #writer: ContentWriter;
  readonly #confirmTimeout: number;
  readonly #pending = new Unsettled<Pending>();
  /** Who waits for answers on this channel; told of its end. */
  readonly #holders = new Set<(error: ChannelEnd) => void>();
  /** Publications that wait until they may be sent: each for the one before it. */
  #waiting = 0;
  #lastWaiting: Promise<void> | undefined;
  #ended: ChannelEnd | undefined;
  #refused = false;
  /** Runs on when nothing is pending, so that a steady stream does not set one for each task. */
  #timer: Timer | undefined;

  private constructor(transport: Transport, channel: AMQPChannel, options: PublisherOptions) {
    this.#transport = transport;
    this.#channel = channel;
    this.#writer = new ContentWriter(channel.id, transport.frameMax);
    this.#confirmTimeout = options.confirmTimeout ?? 30_000;
    channel.publishConfirmed = (tag, multiple, nack) => this.#onConfirm(tag, multiple, nack);
    channel.onReturn = (message) => this.#onReturn(message);
  }

  /**
   * Opens a channel with publisher confirms.
   *
   * @throws {ChannelError} the queue of the options may not be used or is missing (404)
   */
  static open(transport: Transport, options: PublisherOptions = {}): Promise<Publisher> {
    const { queue, onAnswer } = options;
    return transport.onNewChannel(async (channel) => {
      const publisher = new Publisher(transport, channel, options);
      transport.watch(channel, { ended: (error) => publisher.#end(error) });
      await Promise.all([
        transport.request("confirm.select", channel.confirmSelect()),
        queue === undefined
          ? undefined
          : transport.request("queue.declare", channel.queueDeclare(queue, { passive: true })),
        onAnswer === undefined ? undefined : takeAnswers(transport, channel, onAnswer),
      ]);
      return publisher;
    });
  }

  /**
   * Open another one for the next task: the channel or connection is gone, or the broker has
   * refused a task. RabbitMQ goes on refusing everything on a channel that published while a quorum
   * queue had no leader. What is pending still settles.
   */
  get isEnded(): boolean {
    return this.#ended !== undefined || this.#refused;
  }

  /** The channel or connection is gone. */
  get isGone(): boolean {
    return this.#ended !== undefined;
  }

  /** Counts as ended from here on, and closes when nobody holds it any more. */
  retire(): void {
    this.#refused = true;
  }

  /** Takes tasks again after a refusal. */
  goOn(): void {
    this.#refused = false;
  }

  /** Publications that the broker has not confirmed yet, and those who wait for answers. */
  get pending(): number {
    return this.#pending.size + this.#holders.size;
  }

  /**
   * Counts as pending: the channel has to stay, because answers come on it.
   *
   * @param onEnd told of the channel's end, at once when it has ended
   * @returns ends that
   */
  hold(onEnd: (error: ToolError) => void): () => void {
    if (this.#ended !== undefined) onEnd(this.#ended);
    else this.#holders.add(onEnd);
    return () => {
      if (!this.#holders.delete(onEnd) || !this.#refused || this.pending > 0) return;
      this.close().catch(() => {});
    };
  }

  /**
   * Publishes a task; resolves when the broker has confirmed it.
   *
   * Waits before sending while the broker blocks publishers or the socket is full.
   *
   * @throws {TaskError} returned (69), refused (75), not confirmed in time (75: it may be on the
   *   queue), or impossible to encode or to accept (65)
   * @throws {ConnectionError | ChannelError} ended before the confirm: it may be on the queue, if
   *   the sentence says so
   */
  publish(task: Publication): Promise<void> {
    const { endpoint, tracing } = this.#transport;
    return tracing === undefined
      ? this.#publish(task)
      : tracing.publish(task, endpoint, (traced) => this.#publish(traced));
  }

  /**
   * Publishes a task at once, for whoever has seen to it that the broker takes tasks and the socket
   * has room. It is never told of before this returns.
   */
  send(task: Publication, pending: Pending): void {
    if (this.#transport.tracing !== undefined) {
      this.publish(task).then(() => pending.onConfirmed(), (error) => pending.onFailed(error));
      return;
    }
    try {
      this.#sendNow(task, pending);
    } catch (error) {
      queueMicrotask(() => pending.onFailed(error));
    }
  }

  #publish(task: Publication): Promise<void> {
    const { blocked, congested } = this.#transport;
    const mustWait = this.#waiting > 0 || congested || blocked !== undefined;
    return mustWait ? this.#publishLater(task) : this.#send(task);
  }

  async #publishLater(task: Publication): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const ahead = this.#lastWaiting;
    this.#lastWaiting = promise;
    this.#waiting++;
    await ahead;
    while (this.#transport.blocked !== undefined || this.#transport.congested) {
      if (this.#ended !== undefined) break;
      await (this.#transport.blocked === undefined
        ? this.#transport.drained()
        : this.#transport.unblocked());
    }
    this.#waiting--;
    resolve();
    await this.#send(task);
  }

  #send(task: Publication): Promise<void> {
    // What is thrown here rejects it.
    return new Promise((resolve, reject) => {
      this.#sendNow(task, new Told(resolve, reject));
    });
  }

  /** @throws {TaskError | ConnectionError | ChannelError} nothing was sent */
  #sendNow(task: Publication, pending: Pending): void {
    if (this.#ended !== undefined) throw this.#ended;
    const messageId = task.encoded === undefined
      ? (task.properties.messageId || crypto.randomUUID()).toWellFormed()
      : "";
    const pieces = this.#writer.publish(task, messageId);
    pending.messageId = messageId;
    pending.exchange = task.exchange;
    pending.routingKey = task.routingKey;
    pending.size = task.body.length;
    pending.since = Math.floor(turnTime()); // a fraction would be an object of its own
    pending.returned = undefined;
    this.#pending.add(pending);
    for (const piece of pieces) this.#transport.enqueue(piece);
    this.#timer ??= after(this.#confirmTimeout, () => this.#expire());
  }

  /** Closes the channel; publications still pending are rejected. */
  async close(): Promise<void> {
    if (this.#ended !== undefined) return;
    this.#end(new ChannelError("the publisher was closed by us", 0, ""));
    await this.#transport.request("closing a channel", this.#channel.close());
  }

  #onConfirm(tag: number, multiple: boolean, nack: boolean): void {
    if (!multiple) {
      const one = this.#pending.take(tag);
      if (one !== undefined) this.#settle(one, nack);
      return;
    }
    // Tag 0 with multiple means all so far (section 1.8.3.13).
    const last = tag === 0 ? this.#pending.last : tag;
    for (let each; (each = this.#pending.takeOldest(last)) !== undefined;) {
      this.#settle(each, nack);
    }
  }

  #settle(pending: Pending, nack: boolean): void {
    if (pending.returned !== undefined) {
      pending.onFailed(new TaskError(pending.returned, EXIT.unavailable));
    } else if (nack) {
      this.#refused = true;
      pending.onFailed(new NackError());
    } else {
      pending.onConfirmed();
    }
  }

  /**
   * A return carries no delivery tag; the confirm that follows it does. Should the message id not
   * be readable, another task on the same way is as unroutable.
   */
  #onReturn(message: AMQPMessage): void {
    const { exchange, routingKey, replyText, replyCode } = message;
    const { messageId } = message.properties;
    let found: Pending | undefined;
    for (const pending of this.#pending.values()) {
      if (pending.returned !== undefined) continue;
      // As the broker sends them back: half a surrogate pair cannot travel.
      if (pending.exchange.toWellFormed() !== exchange) continue;
      if (pending.routingKey.toWellFormed() !== routingKey) continue;
      found ??= pending;
      if ((pending.messageId || pending.encodedId) !== messageId) continue;
      found = pending;
      break;
    }
    if (found === undefined) return;
    const target = exchange === ""
      ? `there is no queue ${JSON.stringify(routingKey)}`
      : `the exchange ${JSON.stringify(exchange)} has no queue for the routing key ` +
        JSON.stringify(routingKey);
    found.returned = `the broker returned the task: ${target} (${replyText} ${replyCode})`;
  }

  /** Gives up on the publications whose confirm is overdue. */
  #expire(): void {
    this.#timer = undefined;
    if (this.#transport.blocked !== undefined) {
      this.#transport.unblocked().then(() => this.#startAnew());
      return;
    }
    const now = performance.now();
    for (let pending; (pending = this.#pending.oldest) !== undefined;) {
      const left = pending.since + this.#confirmTimeout - now;
      if (left > 0) {
        this.#timer = after(left, () => this.#expire());
        return;
      }
      this.#pending.takeOldest(this.#pending.last);
      pending.onFailed(
        new TaskError(
          `the broker did not confirm the task within ${formatDuration(this.#confirmTimeout)}: ` +
            "it may be on the queue or not",
          EXIT.temporary,
        ),
      );
    }
  }

  /**
   * What is under way when the broker stops reading is read when it goes on: whoever was told
   * before that it was not confirmed would have it there twice.
   */
  #startAnew(): void {
    if (this.#pending.size === 0) return;
    const now = Math.floor(performance.now());
    for (const pending of this.#pending.values()) pending.since = now;
    this.#timer ??= after(this.#confirmTimeout, () => this.#expire());
  }

  #end(error: ChannelEnd): void {
    if (this.#ended !== undefined) return;
    this.#ended = error;
    this.#timer?.cancel();
    const lost = [...this.#pending.values()];
    this.#pending.clear();
    const refused = refusedOf(lost, error);
    // First, for those who wait for several and hear of one.
    refused?.onFailed(refusal(error));
    const doubt = inDoubt(error);
    for (const pending of lost) if (pending !== refused) pending.onFailed(doubt);
    const holders = [...this.#holders];
    this.#holders.clear();
    for (const onEnd of holders) onEnd(error);
  }
}

async function takeAnswers(
  transport: Transport,
  channel: AMQPChannel,
  onAnswer: (message: AMQPMessage) => void,
): Promise<void> {
  channel.deliver = onAnswer;
  await transport.request(
    "basic.consume",
    channel.basicConsume(DIRECT_REPLY_TO, { noAck: true }, () => {}),
  );
}

/**
 * The publication that the broker closed the channel for, where that can be told: the only one, the
 * first one to the exchange that is missing, or the one that has the size it does not accept.
 */
function refusedOf(lost: readonly Pending[], error: ChannelEnd): Pending | undefined {
  if (!(error instanceof ChannelError) || error.exitCode === EXIT.temporary) return undefined;
  if (lost.length === 1) return lost[0];
  const exchange = /no exchange '(.*)' in vhost/s.exec(error.replyText)?.[1];
  if (exchange !== undefined) {
    return lost.find((pending) => pending.exchange.toWellFormed() === exchange);
  }
  const size = /message size (\d+) .*larger than/i.exec(error.replyText)?.[1];
  return lost.find((pending) => String(pending.size) === size);
}

/** What brokers require of a task (406): a body within their limit, headers of their types. */
function refusal(error: ChannelEnd): ToolError {
  if (!(error instanceof ChannelError) || error.replyCode !== 406) return error;
  return new TaskError(`the broker refused the task: ${error.replyText}`, EXIT.badData, {
    cause: error,
  });
}

function inDoubt(error: ChannelEnd): ChannelEnd {
  const sentence = `${error.message}; the task may be on the queue or not`;
  const options = { cause: error };
  return error instanceof ChannelError
    ? new InDoubtError(sentence, error.replyCode, error.replyText, options)
    : new ConnectionError(sentence, error.exitCode, error.fatal, options);
}
