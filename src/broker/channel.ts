/**
 * A channel: what each method does, in one flat list. It knows queues and exchanges, but neither
 * sockets nor reply codes.
 */

import type { Budget, Taker } from "./budget.ts";
import { ByteReader, readLong } from "./bytes.ts";
import { now } from "./clock.ts";
import { Consumer, type ConsumerOwner } from "./consumer.ts";
import type { Deadlines } from "./deadlines.ts";
import { fitHeader } from "./dead_letters.ts";
import { Declarations } from "./declarations.ts";
import { deliveredHeader } from "./delivery_count.ts";
import { parseConsumerArguments } from "./consumer_arguments.ts";
import { accessRefused, Fault, notAllowed, notImplemented, preconditionFailed } from "./faults.ts";
import { FRAME_OVERHEAD, FrameType } from "./frames.ts";
import type { Limits } from "./limits.ts";
import type { Message } from "./message.ts";
import {
  type Arguments,
  BASIC_CLASS,
  BASIC_PUBLISH,
  idsOf,
  type Method,
  type MethodName,
} from "./methods.ts";
import type { Outbox } from "./outbox.ts";
import { type PendingPublish, Publishing } from "./publishing.ts";
import type { Queue } from "./queue.ts";
import { REPLY_TO, type ReplyTo, type Requester } from "./reply_to.ts";
import { randomName } from "./names.ts";
import type { Turn } from "./turn.ts";
import { type Delivery, requeueAll, Unacked, wakeQueues } from "./unacked.ts";
import type { VirtualHost } from "./virtual_host.ts";

/** A connection, as its channels see it. */
export interface ChannelSession extends Taker {
  readonly id: number;
  readonly user: string;
  readonly vhost: VirtualHost;
  readonly outbox: Outbox;
  readonly frameMax: number;
  readonly limits: Limits;
  readonly pending: Budget;
  readonly turn: Turn;
  readonly deadlines: Deadlines;
  readonly replyTo: ReplyTo;
  /** The client wants to hear when the broker cancels a consumer. */
  readonly cancelNotify: boolean;
  send<N extends MethodName>(channel: number, name: N, args: Arguments<N>): void;
  /** Whether an answer that nobody asked for at this moment can be written to the outbox. */
  hasRoomForReply(bytes: number): boolean;
  /** Something was written to the outbox. */
  touch(): void;
  /** What is answered now must be on disk before it is sent. */
  mustBeSafe(): void;
  /** A publish begins: while an alarm is on, its content is not read. */
  publishes(): void;
  /** Ends a channel outside of any method. */
  fail(channel: number, fault: Fault): void;
  isClosed(channel: number): boolean;
}

interface Settlement {
  deliveries: Delivery[];
  outcome: "ack" | "requeue" | "reject";
}

export class Channel implements ConsumerOwner, Requester {
  readonly number: number;
  readonly #session: ChannelSession;
  readonly publishing: Publishing;
  readonly #declarations: Declarations;
  readonly #unacked: Unacked;
  readonly #consumers = new Map<string, Consumer>();
  #deliveryTag = 0;
  /** Prefetch of consumers to come; 0 for no limit. */
  #prefetch = 0;
  /** Prefetch of all consumers together; 0 for no limit. */
  #channelPrefetch = 0;
  /** Counts the turns of the queues under that limit. */
  #firstQueue = 0;
  #settlements: Settlement[] | undefined;
  #replyTag: string | undefined;
  #ended = false;

  constructor(session: ChannelSession, number: number) {
    this.#session = session;
    this.number = number;
    this.publishing = new Publishing(session, number);
    this.#declarations = new Declarations(session, number);
    this.#unacked = new Unacked(session, number);
  }

  get connectionId(): number {
    return this.#session.id;
  }

  #send<N extends MethodName>(name: N, args: Arguments<N>): void {
    this.#session.send(this.number, name, args);
  }

  /** Answers, unless the client does not want to wait. */
  #reply<N extends MethodName>(noWait: boolean, name: N, args: Arguments<N>): void {
    if (!noWait) this.#send(name, args);
  }

  /** Method, header or body frame. @returns the method still to be done, unless it is done */
  receive(type: number, bytes: Uint8Array, start: number, end: number): ByteReader | undefined {
    const { publishing } = this;
    publishing.expect(type);
    if (type === FrameType.body) publishing.receiveBody(bytes, start, end);
    else if (type === FrameType.header) publishing.receiveHeader(bytes, start, end);
    else if (isPublish(bytes, start, end)) publishing.receiveMethod(bytes, start, end);
    else return new ByteReader(bytes, start, end);
    return undefined;
  }

  /** basic.ack: its tag and its bits. */
  acknowledge(bytes: Uint8Array, start: number): void {
    const tag = readLong(bytes, start) * 0x1_0000_0000 + readLong(bytes, start + 4);
    this.#settle(tag, (bytes[start + 8]! & 1) !== 0, "ack");
  }

  handle(method: Method): void {
    switch (method.name) {
      case "channel.flow":
        return this.#flow(method.args);
      case "access.request":
        return this.#send("access.request-ok", { ticket: 1 });
      case "exchange.declare":
        return this.#declarations.declareExchange(method.args);
      case "exchange.delete":
        return this.#declarations.deleteExchange(method.args);
      case "exchange.bind":
        return this.#declarations.bindExchange(method.args);
      case "exchange.unbind":
        return this.#declarations.unbindExchange(method.args);
      case "queue.declare":
        return this.#declarations.declareQueue(method.args);
      case "queue.bind":
        return this.#declarations.bindQueue(method.args);
      case "queue.unbind":
        return this.#declarations.unbindQueue(method.args);
      case "queue.purge":
        return this.#declarations.purgeQueue(method.args);
      case "queue.delete":
        return this.#declarations.deleteQueue(method.args);
      case "basic.qos":
        return this.#qos(method.args);
      case "basic.consume":
        return this.#consume(method.args);
      case "basic.cancel":
        return this.#cancel(method.args);
      case "basic.get":
        return this.#get(method.args);
      case "basic.ack":
        return this.#settle(method.args.deliveryTag, method.args.multiple, "ack");
      case "basic.nack":
        return this.#nack(method.args);
      case "basic.reject":
        return this.#nack({ ...method.args, multiple: false });
      case "basic.recover":
        return this.#recover(method.args.requeue, "basic.recover-ok");
      case "basic.recover-async":
        return this.#recover(method.args.requeue, undefined);
      case "confirm.select":
        return this.#confirmSelect(method.args);
      case "tx.select":
        return this.#txSelect();
      case "tx.commit":
        return this.#txCommit();
      case "tx.rollback":
        return this.#txRollback();
      default:
        throw new Fault("command-invalid", "unimplemented method");
    }
  }

  #flow({ active }: Arguments<"channel.flow">): void {
    if (!active) throw notImplemented("active=false");
    this.#send("channel.flow-ok", { active });
  }

  // -- consuming --

  #qos({ prefetchSize, prefetchCount, global }: Arguments<"basic.qos">): void {
    if (prefetchSize !== 0) throw notImplemented(`prefetch_size!=0 (${prefetchSize})`);
    if (global) this.#channelPrefetch = prefetchCount;
    else this.#prefetch = prefetchCount;
    this.#send("basic.qos-ok", {});
    this.wake();
  }

  #consume(args: Arguments<"basic.consume">): void {
    const { noAck, exclusive, noWait } = args;
    if (args.queue === REPLY_TO) return this.#consumeReplies(args);
    const queue = this.#declarations.queue(args.queue);
    const tag = this.#newTag(args.consumerTag);
    const shared = queue.consumers.size > 0 || queue.arguments.singleActiveConsumer;
    if (queue.consumers.hasExclusive || (exclusive && shared)) {
      throw accessRefused(`${queue.title} in exclusive use`);
    }
    if (this.#channelPrefetch > 0 && queue.arguments.type === "quorum") {
      throw notImplemented(`${queue.title} does not support global qos`);
    }
    const { priority } = parseConsumerArguments(args.arguments, queue);
    const consumer = new Consumer(this, queue, tag, noAck, exclusive, priority, this.#prefetch);
    this.#consumers.set(tag, consumer);
    queue.addConsumer(consumer);
    this.#reply(noWait, "basic.consume-ok", { consumerTag: tag });
    queue.deliver();
  }

  #newTag(given: string): string {
    if (given === "") return randomName("amq.ctag-");
    if (this.#consumers.has(given) || given === this.#replyTag) {
      throw notAllowed(`attempt to reuse consumer tag '${given}'`);
    }
    return given;
  }

  #consumeReplies({ noAck, noWait, consumerTag }: Arguments<"basic.consume">): void {
    if (!noAck) throw preconditionFailed("reply consumer cannot acknowledge");
    if (this.#replyTag !== undefined) throw preconditionFailed("reply consumer already set");
    this.#replyTag = this.#newTag(consumerTag);
    this.publishing.replyName = this.#session.replyTo.add(this);
    this.#reply(noWait, "basic.consume-ok", { consumerTag: this.#replyTag });
  }

  #dropReplies(): void {
    if (this.publishing.replyName !== undefined) {
      this.#session.replyTo.remove(this.publishing.replyName);
    }
    this.publishing.replyName = this.#replyTag = undefined;
  }

  /** Canceling a consumer that does not exist is fine. */
  #cancel({ consumerTag, noWait }: Arguments<"basic.cancel">): void {
    const consumer = this.#consumers.get(consumerTag);
    this.#consumers.delete(consumerTag);
    if (consumerTag === this.#replyTag) this.#dropReplies();
    this.#reply(noWait, "basic.cancel-ok", { consumerTag });
    consumer?.queue.removeConsumer(consumer);
  }

  cancelConsumer(consumer: Consumer): void {
    if (this.#consumers.get(consumer.tag) !== consumer) return;
    this.#consumers.delete(consumer.tag);
    if (!this.#session.cancelNotify || this.#ended) return;
    this.#send("basic.cancel", { consumerTag: consumer.tag, noWait: true });
  }

  canTake(noAck: boolean): boolean {
    if (this.#ended || !this.#session.outbox.askForRoom()) return false;
    // The limit of the channel holds no-ack consumers back as well, though they do not count.
    if (this.#channelPrefetch > 0 && this.#unacked.consumed >= this.#channelPrefetch) return false;
    return noAck || this.#unacked.size < this.#session.limits.unacked;
  }

  /** Its consumers may be able to take messages again. */
  wake(): void {
    const queues = [...new Set([...this.#consumers.values()].map(({ queue }) => queue))];
    if (this.#channelPrefetch === 0) return queues.forEach((queue) => queue.wake());
    // One queue could use up the limit of the channel every time: each gets its turn to be first.
    const first = this.#firstQueue++;
    queues.forEach((_, index) => queues[(first + index) % queues.length]!.wake());
  }

  deliver(consumer: Consumer, message: Message, bytes: Uint8Array): void {
    const { queue } = consumer;
    const { outbox } = this.#session;
    const address = bytes.subarray(0, message.addressLength);
    const tag = ++this.#deliveryTag;
    outbox.frames.deliver(this.number, consumer.tag, tag, message.redelivered, address);
    this.#writeContent(queue, message, bytes, false);
    if (consumer.noAck) queue.ack(message);
    else this.#track(tag, message, queue, consumer);
  }

  #writeContent(queue: Queue, message: Message, bytes: Uint8Array, always: boolean): void {
    const { addressLength, headerLength, deliveries } = message;
    const { outbox, frameMax } = this.#session;
    const headerEnd = addressLength + headerLength;
    const counted = queue.arguments.type === "quorum" && (always || deliveries > 0);
    let header = counted
      ? deliveredHeader(bytes, addressLength, headerEnd, deliveries)
      : bytes.subarray(addressLength, headerEnd);
    const most = frameMax - FRAME_OVERHEAD;
    if (header.length > most) header = fitHeader(header, most);
    outbox.content(this.number, header, bytes.subarray(headerEnd), frameMax);
    this.#session.touch();
  }

  #track(tag: number, message: Message, queue: Queue, consumer: Consumer | undefined): void {
    this.#unacked.add({ tag, message, queue, consumer, at: now() });
    queue.release(message);
  }

  #get({ queue: name, noAck }: Arguments<"basic.get">): void {
    const queue = this.#declarations.queue(name);
    const { size } = this.#unacked;
    if (!noAck && size >= this.#session.limits.unacked) {
      throw preconditionFailed(
        `${size} deliveries on channel ${this.number} are unacknowledged, which is the most`,
      );
    }
    const taken = queue.get();
    if (taken === undefined) return this.#send("basic.get-empty", { clusterId: "" });
    const { message, bytes } = taken;
    const tag = ++this.#deliveryTag;
    const { classId, methodId } = idsOf("basic.get-ok");
    this.#session.outbox.frames.addressed(
      this.number,
      classId * 0x10000 + methodId,
      (writer) => {
        writer.longlong(tag);
        writer.octet(message.redelivered ? 1 : 0);
      },
      bytes.subarray(0, message.addressLength),
      queue.readyCount,
    );
    this.#writeContent(queue, message, bytes, true);
    if (noAck) queue.ack(message);
    else this.#track(tag, message, queue, undefined);
  }

  deliverReply(bytes: Uint8Array, addressLength: number, headerLength: number): boolean {
    const { outbox, frameMax } = this.#session;
    if (!this.#session.hasRoomForReply(bytes.length)) return false;
    const headerEnd = addressLength + headerLength;
    const address = bytes.subarray(0, addressLength);
    outbox.frames.deliver(this.number, this.#replyTag!, ++this.#deliveryTag, false, address);
    const header = bytes.subarray(addressLength, headerEnd);
    outbox.content(this.number, header, bytes.subarray(headerEnd), frameMax);
    this.#session.touch();
    return true;
  }

  // -- settling --

  #nack({ deliveryTag, multiple, requeue }: Arguments<"basic.nack">): void {
    this.#settle(deliveryTag, multiple, requeue ? "requeue" : "reject");
  }

  #settle(tag: number, multiple: boolean, outcome: Settlement["outcome"]): void {
    const deliveries = this.#unacked.take(tag, multiple);
    if (this.#settlements !== undefined) this.#settlements.push({ deliveries, outcome });
    else this.#apply({ deliveries, outcome });
  }

  #apply({ deliveries, outcome }: Settlement): void {
    if (deliveries.length === 0) return;
    this.#unacked.settled(deliveries);
    if (outcome === "requeue") {
      requeueAll(deliveries);
    } else {
      for (const { queue, message } of deliveries) {
        if (outcome === "ack") queue.ack(message);
        else queue.reject(message);
      }
    }
    if (this.#channelPrefetch > 0) this.wake();
    else wakeQueues(deliveries);
    this.#session.turn.schedule();
  }

  #recover(requeue: boolean, answer: "basic.recover-ok" | undefined): void {
    if (!requeue) throw notImplemented("requeue=false");
    if (answer !== undefined) this.#send(answer, {});
    this.#apply({ deliveries: this.#unacked.takeAll(), outcome: "requeue" });
  }

  // -- confirms and transactions --

  #confirmSelect({ noWait }: Arguments<"confirm.select">): void {
    if (this.#settlements !== undefined) {
      throw preconditionFailed("cannot switch from tx to confirm mode");
    }
    this.publishing.confirming = true;
    this.#reply(noWait, "confirm.select-ok", {});
  }

  #txSelect(): void {
    if (this.publishing.confirming) {
      throw preconditionFailed("cannot switch from confirm to tx mode");
    }
    this.#settlements ??= [];
    this.publishing.transaction ??= [];
    this.#send("tx.select-ok", {});
  }

  /** Publishes and acknowledgements of the transaction become one commit of the store. */
  #txCommit(): void {
    const [publishes, settlements] = this.#takeTransaction();
    this.#session.mustBeSafe();
    const accepted = this.publishing.commit(publishes);
    if (accepted) this.#send("tx.commit-ok", {});
    for (const settlement of settlements) this.#apply(settlement);
    if (!accepted) throw preconditionFailed("partial tx completion");
  }

  /** Acknowledgements that were rolled back may be sent again. */
  #txRollback(): void {
    const [, settlements] = this.#takeTransaction();
    this.#unacked.restore(settlements.flatMap(({ deliveries }) => deliveries));
    this.#send("tx.rollback-ok", {});
  }

  #takeTransaction(): [PendingPublish[], Settlement[]] {
    if (this.#settlements === undefined) {
      throw preconditionFailed("channel is not transactional");
    }
    const taken: [PendingPublish[], Settlement[]] = [
      this.publishing.takeTransaction(),
      this.#settlements,
    ];
    this.#settlements = [];
    return taken;
  }

  // -- ending --

  /** Nothing is delivered here any more. */
  silence(): void {
    this.#ended = true;
  }

  /** The channel is over: what it holds goes back to the queues. */
  end(): void {
    this.#ended = true;
    this.publishing.end();
    this.#dropReplies();
    const consumers = [...this.#consumers.values()];
    this.#consumers.clear();
    for (const consumer of consumers) consumer.queue.removeConsumer(consumer);
    const uncommitted = this.#settlements?.flatMap(({ deliveries }) => deliveries) ?? [];
    this.#settlements = undefined;
    requeueAll([...uncommitted, ...this.#unacked.end()]);
    this.#session.turn.schedule();
  }
}

function isPublish(bytes: Uint8Array, start: number, end: number): boolean {
  return end - start >= 4 && bytes[start] === 0 && bytes[start + 1] === BASIC_CLASS &&
    bytes[start + 2] === 0 && bytes[start + 3] === BASIC_PUBLISH;
}
