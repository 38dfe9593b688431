/**
 * What a channel consumes: its consumers and their limits, the messages that are written to the
 * client, whether pushed (basic.deliver), asked for (basic.get) or direct replies.
 *
 * States: consuming > silent, from which nothing is delivered any more.
 */

import type { ChannelHost } from "./host.ts";
import { roughlyNow } from "../../time/clock.ts";
import { consumerBytes } from "./client_room.ts";
import { Consumer, type ConsumerOwner } from "./consumer.ts";
import { parseConsumerArguments } from "./consumer_arguments.ts";
import type { Declarations } from "./declarations.ts";
import { shortString } from "../wire/bytes.ts";
import type { Content } from "../message/content.ts";
import { deliveredHeader, fitHeader } from "../message/deaths.ts";
import {
  accessRefused,
  Fault,
  notAllowed,
  notImplemented,
  preconditionFailed,
} from "../wire/faults.ts";
import { FRAME_OVERHEAD } from "../wire/frames.ts";
import type { Message } from "../message/message.ts";
import type { Arguments, PlainName } from "../wire/methods.ts";
import { randomName } from "../wire/names.ts";
import type { Publishing } from "./publishing.ts";
import type { Queue } from "../queue/queue.ts";
import type { Requester } from "./reply_to.ts";
import { DIRECT_REPLY_TO } from "../../task/topology.ts";
import type { Slice } from "../../time/scheduler.ts";
import { type Delivery, Unacked, wakeQueues } from "./unacked.ts";

export class Consuming implements ConsumerOwner, Requester {
  readonly #session: ChannelHost;
  readonly #channel: number;
  readonly #declarations: Declarations;
  readonly #publishing: Publishing;
  readonly unacked: Unacked;
  /** By consumer tag. */
  readonly #consumers = new Map<string, Consumer>();
  /** The tag of the last message that was delivered on the channel. */
  #deliveryTag = 0;
  /** Prefetch of consumers to come; 0 for no limit. */
  #prefetch = 0;
  /** Prefetch of all consumers together; 0 for no limit. */
  #channelPrefetch = 0;
  /** The client has called it global, which quorum queues do not support. */
  #globalQos = false;
  /** Queues that found no room here since they were last told of some, in turn. */
  readonly #refused = new Set<Queue>();
  /** The consumer tag of direct replies, while the client consumes them. */
  #replyTag: string | undefined;
  #silent = false;
  /** {@link #waitFor} */
  #awaited: Queue | undefined;

  /** @param publishing is told under which name answers reach this channel */
  constructor(
    session: ChannelHost,
    channel: number,
    declarations: Declarations,
    publishing: Publishing,
  ) {
    this.#session = session;
    this.#channel = channel;
    this.#declarations = declarations;
    this.#publishing = publishing;
    this.unacked = new Unacked(session, channel);
  }

  /** How many consumers it has. */
  get size(): number {
    return this.#consumers.size;
  }

  get connectionId(): number {
    return this.#session.id;
  }

  #send<N extends PlainName>(name: N, args: Arguments<N>): void {
    this.#session.send(this.#channel, name, args);
  }

  /** Answers, unless the client does not want to wait. */
  #reply<N extends PlainName>(noWait: boolean, name: N, args: Arguments<N>): void {
    if (!noWait) this.#send(name, args);
  }

  // -- consumers --

  qos({ prefetchSize, prefetchCount, global }: Arguments<"basic.qos">): void {
    if (prefetchSize !== 0) throw notImplemented(`prefetch_size!=0 (${prefetchSize})`);
    if (global || this.#session.qosForChannel) this.#channelPrefetch = prefetchCount;
    else this.#prefetch = prefetchCount;
    if (global) this.#globalQos = prefetchCount > 0;
    this.#send("basic.qos-ok", {});
    this.wake();
  }

  consume(args: Arguments<"basic.consume">): void {
    const { noAck, exclusive, noWait } = args;
    if (args.queue === DIRECT_REPLY_TO) return this.#consumeReplies(args);
    const queue = this.#declarations.queue(args.queue);
    const tag = this.#newTag(args.consumerTag);
    const shared = queue.consumers.size > 0 || queue.arguments.singleActiveConsumer;
    if (queue.consumers.hasExclusive || (exclusive && shared)) {
      throw accessRefused(`${queue.title} in exclusive use`);
    }
    if (this.#globalQos && queue.arguments.type === "quorum") {
      throw notImplemented(`${queue.title} does not support global qos`);
    }
    const { priority } = parseConsumerArguments(args.arguments, queue);
    this.#session.clientShare.take(() => `consume from ${queue.title}`, consumerBytes(tag));
    const consumer = new Consumer(this, queue, tag, noAck, exclusive, priority, this.#prefetch);
    this.#consumers.set(tag, consumer);
    queue.addConsumer(consumer);
    this.#reply(noWait, "basic.consume-ok", { consumerTag: tag });
    queue.wake();
  }

  #newTag(given: string): string {
    if (given === "") return randomName("amq.ctag-");
    if (this.#consumers.has(given) || given === this.#replyTag) {
      throw notAllowed(`attempt to reuse consumer tag '${given}'`);
    }
    return given;
  }

  /** Canceling a consumer that does not exist is fine. */
  cancel({ consumerTag, noWait }: Arguments<"basic.cancel">): void {
    const consumer = this.#consumers.get(consumerTag);
    if (consumer !== undefined) this.#forget(consumer);
    if (consumerTag === this.#replyTag) this.#dropReplies();
    this.#reply(noWait, "basic.cancel-ok", { consumerTag });
    consumer?.queue.removeConsumers([consumer]);
  }

  #forget({ tag }: Consumer): void {
    this.#consumers.delete(tag);
    this.#session.clientShare.giveBack(consumerBytes(tag));
  }

  cancelConsumer(consumer: Consumer): void {
    if (this.#consumers.get(consumer.tag) !== consumer) return;
    this.#forget(consumer);
    if (!this.#session.cancelNotify || this.#silent) return;
    this.#send("basic.cancel", { consumerTag: consumer.tag, noWait: true });
  }

  // -- delivering --

  askForRoom({ queue, noAck }: Consumer): boolean {
    if (this.#silent) return false;
    if (this.#askConnection(queue) && (noAck || !this.#isFull)) return true;
    this.#refused.add(queue);
    return false;
  }

  /** Whether channel and connection have room. If not, {@link wake} is called when they have. */
  #askConnection(queue?: Queue): boolean {
    // The limit of the channel holds no-ack consumers back as well, though they do not count.
    if (this.#channelPrefetch > 0 && this.unacked.consumed >= this.#channelPrefetch) return false;
    return this.#session.outbox.askForRoom(queue?.messages);
  }

  get #isFull(): boolean {
    const { size } = this.unacked;
    return size >= this.#session.limits.unacked || this.#session.deliveryRoom.isFullFor(this, size);
  }

  /** These were settled: there may be room for others. */
  offerRoom(deliveries: Delivery[]): void {
    if (this.#channelPrefetch === 0) {
      wakeQueues(deliveries);
      if (this.#refused.size === 0) return;
    } else {
      // One queue could use up the limit of the channel every time: others are first.
      for (const { queue } of deliveries) this.#refused.add(queue);
    }
    this.#wakeRefused(() => this.#askConnection() && !this.#isFull);
  }

  /** The same of one delivery of a queue. */
  offerRoomOf(queue: Queue): void {
    if (this.#channelPrefetch > 0) this.#refused.add(queue);
    else {
      queue.wake();
      this.#session.spread(queue.consumers.effort);
    }
    if (this.#refused.size > 0) this.#wakeRefused(() => this.#askConnection() && !this.#isFull);
  }

  /** Its consumers may be able to take messages again. */
  wake(): void {
    this.#wakeRefused(() => true);
  }

  /** The same, but others wake the queues. */
  takeRefused(): Iterable<Queue> {
    const refused = [...this.#refused];
    this.#refused.clear();
    return refused;
  }

  /** Wakes those that were refused so far, in turn; not again those that are refused meanwhile. */
  #wakeRefused(goesOn: () => boolean): void {
    let left = this.#refused.size;
    for (const queue of this.#refused) {
      if (left-- === 0 || !goesOn()) return;
      this.#refused.delete(queue);
      queue.wake();
    }
  }

  deliver(consumer: Consumer, message: Message, content: Content): void {
    const { queue } = consumer;
    const { outbox, frameMax } = this.#session;
    const tag = ++this.#deliveryTag;
    const header = this.#headerOf(queue, message, content, false);
    const { redelivered } = message;
    outbox.delivery(this.#channel, consumer.tagBytes, tag, redelivered, content, frameMax, header);
    this.#written(message, content);
    if (consumer.noAck) queue.ack(message);
    else this.#track(tag, message, queue, consumer);
  }

  /** @returns the header of a delivery, if it is not that of the content */
  #headerOf(
    queue: Queue,
    message: Message,
    content: Content,
    always: boolean,
  ): Uint8Array | undefined {
    const { deliveries } = message;
    let header: Uint8Array | undefined;
    const isCounted = queue.arguments.type === "quorum" && (always || deliveries > 0);
    if (isCounted) header = deliveredHeader(content.header, deliveries);
    const most = this.#session.frameMax - FRAME_OVERHEAD;
    if ((header?.length ?? content.headerLength) > most) {
      header = fitHeader(header ?? content.header, most);
    }
    return header;
  }

  #written(message: Message, content: Content): void {
    // It was read for this delivery.
    if (message.content !== content) content.giveUp();
    this.#session.touch();
  }

  #track(tag: number, message: Message, queue: Queue, consumer: Consumer | undefined): void {
    this.unacked.add({ tag, message, queue, consumer, at: roughlyNow(), isTaken: false });
    queue.release(message);
  }

  get(args: Arguments<"basic.get">): void {
    const { queue: name, noAck } = args;
    const queue = this.#declarations.queue(name);
    if (queue.arguments.type === "quorum" && queue.arguments.singleActiveConsumer) {
      throw new Fault(
        "resource-locked",
        `cannot obtain access to locked ${queue.title}. basic.get operations are not supported by ` +
          `quorum queues with single active consumer`,
      );
    }
    if (!noAck && this.#isFull) {
      const { size } = this.unacked;
      const when = size < this.#session.limits.unacked ? " while all channels have too many" : "";
      throw preconditionFailed(
        `${size} deliveries on channel ${this.#channel} are unacknowledged, which is the most${when}`,
      );
    }
    const taken = queue.get();
    this.#waitFor(taken === "busy" ? queue : undefined);
    if (taken === undefined) return this.#send("basic.get-empty", { clusterId: "" });
    if (taken === "busy") {
      // The answer says how many are left.
      const work = (slice: Slice) => queue.isDying || queue.expireMany(slice) > 0;
      return this.#session.finishFirst(this.#channel, { work }, () => this.get(args));
    }
    const { message, content } = taken;
    const tag = ++this.#deliveryTag;
    const { outbox, frameMax } = this.#session;
    outbox.frames.addressed(
      this.#channel,
      "basic.get-ok",
      (writer) => {
        writer.longlong(tag);
        writer.octet(message.redelivered ? 1 : 0);
      },
      content.address,
      queue.readyCount,
    );
    const header = this.#headerOf(queue, message, content, true);
    outbox.content(this.#channel, content, frameMax, header);
    outbox.answered();
    this.#written(message, content);
    if (noAck) queue.ack(message);
    else this.#track(tag, message, queue, undefined);
  }

  /** @param queue where a basic.get waits until what is over has gone; undefined: none does */
  #waitFor(queue: Queue | undefined): void {
    if (this.#awaited !== undefined) this.#awaited.flow.gets--;
    if (queue !== undefined) queue.flow.gets++;
    this.#awaited = queue;
  }

  // -- direct replies --

  #consumeReplies({ noAck, noWait, consumerTag }: Arguments<"basic.consume">): void {
    if (!noAck) throw preconditionFailed("reply consumer cannot acknowledge");
    if (this.#replyTag !== undefined) throw preconditionFailed("reply consumer already set");
    this.#replyTag = this.#newTag(consumerTag);
    this.#publishing.replyName = this.#session.replyTo.add(this);
    this.#reply(noWait, "basic.consume-ok", { consumerTag: this.#replyTag });
  }

  #dropReplies(): void {
    if (this.#publishing.replyName !== undefined) {
      this.#session.replyTo.remove(this.#publishing.replyName);
    }
    this.#publishing.replyName = this.#replyTag = undefined;
  }

  deliverReply(content: Content): boolean {
    const { outbox, frameMax } = this.#session;
    const { size } = content;
    if (!this.#session.hasRoomForReply(size)) return false;
    const consumerTag = shortString(this.#replyTag!);
    const tag = ++this.#deliveryTag;
    outbox.delivery(this.#channel, consumerTag, tag, false, content, frameMax);
    this.#session.touch();
    return true;
  }

  // -- ending --

  /** Nothing is delivered here any more. */
  silence(): void {
    this.#silent = true;
  }

  /**
   * The channel is over. What it has not settled stays in {@link unacked}.
   * @returns its consumers, who are to leave their queues
   */
  end(): Consumer[] {
    this.#silent = true;
    this.#waitFor(undefined);
    this.#session.deliveryRoom.leave(this);
    this.#dropReplies();
    const consumers = [...this.#consumers.values()];
    for (const consumer of consumers) this.#forget(consumer);
    return consumers;
  }
}
