/**
 * A channel: what each method does, in one flat list. It knows queues and exchanges, but neither
 * sockets nor reply codes.
 */

import { ByteReader } from "./bytes.ts";
import { Consumer, type ConsumerOwner } from "./consumer.ts";
import type { Deadline, Deadlines } from "./deadlines.ts";
import { deliveredHeader } from "./delivery_count.ts";
import { exchangeTypeOf } from "./exchange.ts";
import {
  accessRefused,
  Fault,
  notAllowed,
  notFound,
  notImplemented,
  preconditionFailed,
} from "./faults.ts";
import { integerOf, type Table } from "./fields.ts";
import { FrameType } from "./frames.ts";
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
export interface ChannelSession {
  readonly id: number;
  readonly user: string;
  readonly vhost: VirtualHost;
  readonly outbox: Outbox;
  readonly frameMax: number;
  readonly limits: Limits;
  readonly turn: Turn;
  readonly deadlines: Deadlines;
  readonly replyTo: ReplyTo;
  /** The client wants to hear when the broker cancels a consumer. */
  readonly cancelNotify: boolean;
  send<N extends MethodName>(channel: number, name: N, args: Arguments<N>): void;
  /** Something was written to the outbox. */
  touch(): void;
  /** What is answered now must be on disk before it is sent. */
  mustBeSafe(): void;
  /** Something was published: the connection is blocked while an alarm is on. */
  published(): void;
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
  readonly #unacked = new Unacked();
  readonly #consumers = new Map<string, Consumer>();
  #deliveryTag = 0;
  /** The queue that "" stands for. */
  #lastQueue = "";
  /** Prefetch of consumers to come; 0 for no limit. */
  #prefetch = 0;
  /** Prefetch of all consumers together; 0 for no limit. */
  #channelPrefetch = 0;
  #settlements: Settlement[] | undefined;
  #replyTag: string | undefined;
  #timeout: Deadline | undefined;
  #ended = false;

  constructor(session: ChannelSession, number: number) {
    this.#session = session;
    this.number = number;
    this.publishing = new Publishing(session, number);
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

  handle(method: Method): void {
    switch (method.name) {
      case "channel.flow":
        return this.#flow(method.args);
      case "access.request":
        return this.#send("access.request-ok", { ticket: 1 });
      case "exchange.declare":
        return this.#declareExchange(method.args);
      case "exchange.delete":
        return this.#deleteExchange(method.args);
      case "exchange.bind":
        return this.#bindExchange(method.args);
      case "exchange.unbind":
        return this.#unbindExchange(method.args);
      case "queue.declare":
        return this.#declareQueue(method.args);
      case "queue.bind":
        return this.#bindQueue(method.args);
      case "queue.unbind":
        return this.#unbindQueue(method.args);
      case "queue.purge":
        return this.#purgeQueue(method.args);
      case "queue.delete":
        return this.#deleteQueue(method.args);
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

  // -- exchanges --

  #declareExchange(args: Arguments<"exchange.declare">): void {
    const { exchange: name, passive, noWait } = args;
    const { vhost } = this.#session;
    if (name === "") throw accessRefused("operation not permitted on the default exchange");
    if (passive) {
      vhost.exchange(name);
    } else {
      const { durable, autoDelete, internal } = args;
      const type = exchangeTypeOf(args.type);
      this.#session.mustBeSafe();
      vhost.declareExchange({ name, type, durable, autoDelete, internal, table: args.arguments });
    }
    this.#reply(noWait, "exchange.declare-ok", {});
  }

  #deleteExchange({ exchange, ifUnused, noWait }: Arguments<"exchange.delete">): void {
    if (exchange === "") throw accessRefused("operation not permitted on the default exchange");
    this.#session.mustBeSafe();
    this.#session.vhost.deleteExchange(exchange, ifUnused);
    this.#reply(noWait, "exchange.delete-ok", {});
  }

  #bindExchange(args: Arguments<"exchange.bind">): void {
    this.#session.mustBeSafe();
    this.#session.vhost.bind({ ...args, kind: "exchange", connectionId: this.connectionId });
    this.#reply(args.noWait, "exchange.bind-ok", {});
  }

  #unbindExchange(args: Arguments<"exchange.unbind">): void {
    this.#session.mustBeSafe();
    this.#session.vhost.unbind({ ...args, kind: "exchange", connectionId: this.connectionId });
    this.#reply(args.noWait, "exchange.unbind-ok", {});
  }

  // -- queues --

  /** "" names the queue that this channel declared last. */
  #expand(name: string): string {
    if (name !== "") return name;
    if (this.#lastQueue !== "") return this.#lastQueue;
    throw new Fault("not-found", "no previously declared queue");
  }

  #queue(name: string): Queue {
    return this.#session.vhost.queue(this.#expand(name), this.connectionId);
  }

  #declareQueue(args: Arguments<"queue.declare">): void {
    const { passive, noWait } = args;
    if (args.queue.startsWith(REPLY_TO)) return this.#declareReplyQueue(args.queue, noWait);
    const queue = passive ? this.#passiveQueue(args.queue) : this.#createQueue(args);
    if (passive) queue.used();
    this.#lastQueue = queue.name;
    this.#reply(noWait, "queue.declare-ok", {
      queue: queue.name,
      messageCount: queue.readyCount,
      consumerCount: queue.consumers.size,
    });
  }

  /** "" without a last queue is looked for as such. */
  #passiveQueue(name: string): Queue {
    return this.#session.vhost.queue(name === "" ? this.#lastQueue : name, this.connectionId);
  }

  #createQueue(
    { queue: given, exclusive, autoDelete, durable, ...rest }: Arguments<"queue.declare">,
  ) {
    const { vhost } = this.#session;
    const name = given === "" ? randomName("amq.gen-") : given;
    if (given.startsWith("amq.") && vhost.findQueue(given) === undefined) {
      throw accessRefused(`queue name '${given}' contains reserved prefix 'amq.*'`);
    }
    this.#session.mustBeSafe();
    // An exclusive queue cannot outlive its connection, so it is never durable.
    const flags = { durable: durable && !exclusive, exclusive, autoDelete };
    return vhost.declareQueue(name, flags, rest.arguments, this.connectionId);
  }

  #declareReplyQueue(queue: string, noWait: boolean): void {
    if (queue !== REPLY_TO && this.#session.replyTo.find(queue) === undefined) {
      throw notFound(`queue '${queue}' in vhost '${this.#session.vhost.name}'`);
    }
    this.#lastQueue = queue;
    this.#reply(noWait, "queue.declare-ok", { queue, messageCount: 0, consumerCount: 1 });
  }

  #bindQueue(args: Arguments<"queue.bind">): void {
    const destination = this.#expand(args.queue);
    this.#session.mustBeSafe();
    this.#session.vhost.bind({
      ...{ source: args.exchange, destination, kind: "queue", arguments: args.arguments },
      ...{ routingKey: this.#bindingKey(args), connectionId: this.connectionId },
    });
    this.#reply(args.noWait, "queue.bind-ok", {});
  }

  #unbindQueue(args: Arguments<"queue.unbind">): void {
    const destination = this.#expand(args.queue);
    this.#session.mustBeSafe();
    this.#session.vhost.unbind({
      ...{ source: args.exchange, destination, kind: "queue", arguments: args.arguments },
      ...{ routingKey: this.#bindingKey(args), connectionId: this.connectionId },
    });
    this.#send("queue.unbind-ok", {});
  }

  /** With neither queue nor key, the key is the name of the last queue (AMQP 0-9-1 queue.bind). */
  #bindingKey({ queue, routingKey }: { queue: string; routingKey: string }): string {
    return queue === "" && routingKey === "" ? this.#lastQueue : routingKey;
  }

  #purgeQueue({ queue, noWait }: Arguments<"queue.purge">): void {
    const found = this.#queue(queue);
    this.#session.mustBeSafe();
    this.#reply(noWait, "queue.purge-ok", { messageCount: found.purge() });
  }

  /** Deleting a queue that does not exist is fine. */
  #deleteQueue({ queue: given, ifUnused, ifEmpty, noWait }: Arguments<"queue.delete">): void {
    const { vhost } = this.#session;
    const name = this.#expand(given);
    let messageCount = 0;
    if (vhost.findQueue(name) !== undefined) {
      const queue = this.#queue(name);
      queue.checkDeletable(ifUnused, ifEmpty);
      this.#session.mustBeSafe();
      messageCount = vhost.deleteQueue(queue);
    }
    this.#reply(noWait, "queue.delete-ok", { messageCount });
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
    const queue = this.#queue(args.queue);
    const tag = this.#newTag(args.consumerTag);
    const shared = queue.consumers.size > 0 || queue.arguments.singleActiveConsumer;
    if (queue.consumers.hasExclusive || (exclusive && shared)) {
      throw accessRefused(`${queue.title} in exclusive use`);
    }
    if (this.#channelPrefetch > 0 && queue.arguments.type === "quorum") {
      throw notImplemented(`${queue.title} does not support global qos`);
    }
    const priority = priorityOf(args.arguments);
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
    if (this.#ended || !this.#session.outbox.hasRoom) return false;
    if (noAck) return true;
    if (this.#channelPrefetch > 0 && this.#unacked.consumed >= this.#channelPrefetch) return false;
    return this.#unacked.size < this.#session.limits.unacked;
  }

  /** Its consumers may be able to take messages again. */
  wake(): void {
    for (const queue of new Set([...this.#consumers.values()].map(({ queue }) => queue))) {
      queue.wake();
    }
  }

  deliver(consumer: Consumer, message: Message): void {
    const { queue } = consumer;
    const { outbox } = this.#session;
    const bytes = queue.bytesOf(message);
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
    const header = counted
      ? deliveredHeader(bytes, addressLength, headerEnd, deliveries)
      : bytes.subarray(addressLength, headerEnd);
    outbox.frames.content(this.number, header, bytes.subarray(headerEnd), frameMax);
    this.#session.touch();
  }

  #track(tag: number, message: Message, queue: Queue, consumer: Consumer | undefined): void {
    const at = Date.now();
    this.#unacked.add({ tag, message, queue, consumer, at });
    queue.release(message);
    const expires = at + this.#timeoutOf(queue);
    if (this.#timeout === undefined || expires < this.#timeout.at) this.#armTimeout(expires);
  }

  #get({ queue: name, noAck }: Arguments<"basic.get">): void {
    const queue = this.#queue(name);
    const message = queue.get();
    if (message === undefined) return this.#send("basic.get-empty", { clusterId: "" });
    const bytes = queue.bytesOf(message);
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

  deliverReply(bytes: Uint8Array, addressLength: number, headerLength: number): void {
    const { outbox, frameMax } = this.#session;
    const headerEnd = addressLength + headerLength;
    const address = bytes.subarray(0, addressLength);
    outbox.frames.deliver(this.number, this.#replyTag!, ++this.#deliveryTag, false, address);
    const header = bytes.subarray(addressLength, headerEnd);
    outbox.frames.content(this.number, header, bytes.subarray(headerEnd), frameMax);
    this.#session.touch();
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
    if (outcome === "requeue") {
      requeueAll(deliveries);
    } else {
      for (const { queue, message } of deliveries) {
        if (outcome === "ack") queue.ack(message);
        else queue.reject(message);
      }
    }
    wakeQueues(deliveries);
    if (this.#channelPrefetch > 0) this.wake();
    this.#session.turn.schedule();
  }

  #recover(requeue: boolean, answer: "basic.recover-ok" | undefined): void {
    if (!requeue) throw notImplemented("requeue=false");
    if (answer !== undefined) this.#send(answer, {});
    this.#apply({ deliveries: this.#unacked.takeAll(), outcome: "requeue" });
  }

  #timeoutOf(queue: Queue): number {
    return queue.arguments.consumerTimeout ?? this.#session.limits.consumerTimeoutMs;
  }

  #armTimeout(at: number): void {
    this.#session.deadlines.cancel(this.#timeout);
    this.#timeout = this.#session.deadlines.add(at, () => this.#checkTimeout());
  }

  #checkTimeout(): void {
    this.#timeout = undefined;
    if (this.#ended) return;
    const first = this.#unacked.firstToExpire((queue) => this.#timeoutOf(queue));
    if (first === undefined) return;
    if (first.at > Date.now()) return this.#armTimeout(first.at);
    this.#session.fail(
      this.number,
      preconditionFailed(
        `delivery acknowledgement on channel ${this.number} timed out. Timeout value used: ` +
          `${first.timeout} ms. This timeout value can be configured, see consumers doc guide to ` +
          `learn more`,
      ),
    );
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
    this.publishing.commit(publishes);
    this.#send("tx.commit-ok", {});
    for (const settlement of settlements) this.#apply(settlement);
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
      this.publishing.transaction!,
      this.#settlements,
    ];
    this.publishing.transaction = [];
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
    this.#session.deadlines.cancel(this.#timeout);
    this.#dropReplies();
    const consumers = [...this.#consumers.values()];
    this.#consumers.clear();
    for (const consumer of consumers) consumer.queue.removeConsumer(consumer);
    const uncommitted = this.#settlements?.flatMap(({ deliveries }) => deliveries) ?? [];
    this.#settlements = undefined;
    requeueAll([...uncommitted, ...this.#unacked.takeAll()]);
    this.#session.turn.schedule();
  }
}

function isPublish(bytes: Uint8Array, start: number, end: number): boolean {
  return end - start >= 4 && bytes[start] === 0 && bytes[start + 1] === BASIC_CLASS &&
    bytes[start + 2] === 0 && bytes[start + 3] === BASIC_PUBLISH;
}

/** A consumer's `x-priority`. @throws {Fault} precondition-failed */
function priorityOf(table: Table): number {
  const field = table.get("x-priority");
  if (field === undefined) return 0;
  const priority = integerOf(field);
  if (priority !== undefined) return priority;
  throw preconditionFailed(
    `invalid arg 'x-priority' for basic.consume: {unacceptable_type,${field.type}}`,
  );
}
