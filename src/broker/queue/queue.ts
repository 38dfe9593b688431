/**
 * A queue: ready messages in lanes, consumers, and the rules between them.
 *
 * A message is ready (in a lane), or delivered (owned by a channel until it is settled here by
 * {@link Queue.ack}, {@link Queue.requeue} or {@link Queue.reject}), or gone.
 */

import { clockShift, now } from "../../time/clock.ts";
import { ConsumerList, type QueueConsumer } from "./consumers.ts";
import type { Deadline, Deadlines } from "../../time/deadlines.ts";
import { preconditionFailed } from "../wire/faults.ts";
import type { Table } from "../wire/fields.ts";
import { Lane, type MemoryUse } from "./lane.ts";
import type { DeathReason } from "../message/deaths.ts";
import { Message, type Publication, Row } from "../message/message.ts";
import type { QueueArguments, QueueFlags } from "./arguments.ts";
import type { Scheduler, Slice, Work } from "../../time/scheduler.ts";
import type { StoredLane } from "../store/lane_counters.ts";
import type { Store } from "../store/store.ts";

/** What a queue uses and whom it tells. */
export interface QueueHost {
  readonly store: Store;
  readonly memory: MemoryUse;
  readonly deadlines: Deadlines;
  readonly scheduler: Scheduler;
  /** Takes a dead message; it must call {@link Queue.bury} when the message is dealt with. */
  deadLetter(queue: Queue, message: Message, reason: DeathReason): void;
  /** Publishes the dead letters so far: what changes next must not change where they go. */
  settleDeadLetters(): void;
  /** Deletes a queue that nobody needs any more. */
  deleteQueue(queue: Queue): void;
}

/** Dead letters of a queue that may wait to be sent before more of its messages expire. */
const MOST_DYING = 1_000;

/** Messages whose time is over that somebody takes away who wants the one behind them. */
const MOST_SKIPPED = 100;

/** Messages after which the clock is looked at, and milliseconds after which others have their turn. */
const DELIVERED_AT_ONCE = 64;
const DELIVER_MS = 3;

/** Milliseconds between two rounds of a queue whose dead letters have nowhere to go. */
const KEPT_MS = 1_000;

const EXPIRE_AFTER_START_MS = 500;

/** A message that basic.get took. */
export interface Taken {
  readonly message: Message;
  readonly bytes: Uint8Array;
}

export interface QueueIdentity extends QueueFlags {
  /** Row id, or 0 for a queue that does not survive a restart. */
  id: number;
  vhost: string;
  name: string;
  /** The connection that an exclusive queue belongs to. */
  ownerId: number | undefined;
  table: Table;
}

export class Queue implements Work {
  readonly name: string;
  readonly vhost: string;
  readonly identity: QueueIdentity;
  readonly arguments: QueueArguments;
  readonly consumers: ConsumerList;
  deleted = false;
  /** Dead letters that have nowhere to go and stay stored here. Written by the dead letters. */
  keptLetters = 0;
  /** Dead letters that wait to be sent, and are stored here until then. Written by the dead letters. */
  dying = 0;
  /** How many were sent so far. Written by the dead letters. */
  sentLetters = 0;

  readonly #host: QueueHost;
  /** By priority; a queue without priorities has one lane. */
  readonly #lanes: (Lane | undefined)[] = [];
  readonly #topPriority: number;
  #ready = 0;
  #readyBytes = 0;
  /** No consumer could take a message when last asked: nobody is asked again before {@link wake}. */
  #allBusy = false;
  #expiry: Deadline | undefined;
  /** A message with a time to live has been seen. */
  #anyExpires = false;
  #unusedDeadline: Deadline | undefined;
  /** Nobody used it for too long: it is deleted when everything has expired that is to expire. */
  #isUnused = false;
  /** Milliseconds since the epoch. */
  #lastUse = now();

  constructor(identity: QueueIdentity, args: QueueArguments, host: QueueHost) {
    this.identity = identity;
    this.name = identity.name;
    this.vhost = identity.vhost;
    this.arguments = args;
    const single = args.type === "classic" ? "by priority" : "in turn";
    this.consumers = new ConsumerList(args.singleActiveConsumer ? single : undefined);
    this.#host = host;
    this.#topPriority = args.maxPriority ?? 0;
    this.#watchUse();
  }

  /** As error texts name it. */
  get title(): string {
    return `queue '${this.name}' in vhost '${this.vhost}'`;
  }

  get durable(): boolean {
    return this.identity.id !== 0;
  }

  get readyCount(): number {
    return this.#ready;
  }

  restore(stored: StoredLane): void {
    const { store, memory } = this.#host;
    const lane = new Lane(store, memory, this.identity.id, stored.priority, stored.id);
    lane.restore(stored.depth, stored.bytes, stored.deliveredTo, stored.lastPosition);
    this.#lanes[stored.priority] = lane;
    this.#ready += stored.depth;
    this.#readyBytes += stored.bytes;
    // Reading the first messages of every queue would delay the start.
    if (stored.depth > 0) {
      this.#anyExpires = true;
      this.#host.deadlines.after(EXPIRE_AFTER_START_MS, () => this.#expire());
    }
  }

  // -- publishing --

  /** @returns whether the queue took it; a full queue that rejects publishes does not */
  publish(publication: Publication): boolean {
    const { overflow } = this.arguments;
    const size = publication.bytes.length - publication.addressLength - publication.headerLength;
    if (overflow !== "drop-head" && this.#overflows(1, size)) {
      if (overflow === "reject-publish-dlx") this.#deadLetterUnqueued(publication);
      return false;
    }
    const message = this.#append(publication, size);
    if (this.consumers.size > 0) this.deliver(message);
    if (this.#ready > 0) this.#laneOf(message).keep(message);
    this.#dropOverflow();
    if (message.expiresAt !== 0) this.#armExpiry();
    return true;
  }

  #append(publication: Publication, size: number): Message {
    const priority = Math.min(publication.priority, this.#topPriority);
    const message = this.#laneFor(priority)
      .append(publication, this.#expiresAt(publication), this.#keeps(publication));
    this.#ready++;
    this.#readyBytes += size;
    if (message.expiresAt !== 0) this.#anyExpires = true;
    return message;
  }

  /** Whether a message survives a restart: in a quorum queue it does, whatever its delivery mode. */
  #keeps({ persistent }: Publication): boolean {
    return this.durable && (persistent || this.arguments.type === "quorum");
  }

  /** @param message that was appended here, or restored */
  #laneOf(message: Message): Lane {
    return this.#lanes[message.lane.priority]!;
  }

  #laneFor(priority: number): Lane {
    const { store, memory } = this.#host;
    return this.#lanes[priority] ??= new Lane(store, memory, this.identity.id, priority);
  }

  #expiresAt({ expiration }: Publication): number {
    const { messageTtl } = this.arguments;
    const ttl = Math.min(expiration ?? Infinity, messageTtl ?? Infinity);
    return ttl === Infinity ? 0 : now() + clockShift() + ttl;
  }

  #overflows(more: number, moreBytes: number): boolean {
    const { maxLength, maxLengthBytes } = this.arguments;
    return (maxLength !== undefined && this.#ready + more > maxLength) ||
      (maxLengthBytes !== undefined && this.#readyBytes + moreBytes > maxLengthBytes);
  }

  /** Queues that reject publishes keep what comes back to them. */
  #dropOverflow(): void {
    if (this.arguments.overflow !== "drop-head") return;
    let dropped = false;
    while (this.#ready > 0 && this.#overflows(0, 0)) {
      const message = this.#take();
      if (message === undefined) break;
      this.#die(message, "maxlen");
      dropped = true;
    }
    // The new head may live shorter than the timer knows.
    if (dropped && this.#anyExpires) this.#armExpiry();
  }

  /** The rejected message itself becomes a dead letter, without ever having been in the queue. */
  #deadLetterUnqueued({ bytes, addressLength, headerLength }: Publication): void {
    const message = new Message(
      ...[this.#laneFor(0), 0, bytes, bytes.length, addressLength, headerLength, 0, false] as const,
    );
    this.#die(message, "maxlen");
  }

  // -- delivering --

  /**
   * Hands out messages while there are any and somebody can take one.
   * @param fresh a message of this moment: it is delivered even if it lives no longer than that
   */
  deliver(fresh?: Message): void {
    let end = Infinity;
    for (let count = 1; this.#ready > 0 && !this.#allBusy; count++) {
      if (count % DELIVERED_AT_ONCE === 0) {
        const time = performance.now();
        if (time > end) return this.#host.scheduler.add(this);
        if (end === Infinity) end = time + DELIVER_MS;
      }
      const consumer = this.consumers.next();
      if (consumer === undefined) {
        this.#allBusy = true;
        return;
      }
      const message = this.#takeLive(fresh);
      if (message === undefined) return;
      if (message === "busy") return this.#host.scheduler.add(this);
      const bytes = this.bytesOf(message);
      if (bytes !== undefined) consumer.deliver(message, bytes);
    }
  }

  /** Somebody may be able to take messages again. */
  wake(): void {
    this.#allBusy = false;
    if (this.#ready > 0) this.deliver();
  }

  /** Takes one message for basic.get; or those before it that are over are many: to be asked again. */
  get(): Taken | "busy" | undefined {
    this.#lastUse = now();
    for (;;) {
      const message = this.#takeLive(undefined);
      if (message === "busy") return message;
      // The answer says how many are left: not those whose time is over.
      if (this.#anyExpires) this.#expire();
      if (message === undefined) return undefined;
      const bytes = this.bytesOf(message);
      if (bytes !== undefined) return { message, bytes };
    }
  }

  /** Whether so many dead letters wait that no more should die. */
  get isDying(): boolean {
    return this.dying >= MOST_DYING && !this.#host.store.lastCommitFailed;
  }

  #takeLive(fresh: Message | undefined): Message | "busy" | undefined {
    for (let skipped = 0; skipped < MOST_SKIPPED; skipped++) {
      const message = this.#take();
      if (message === undefined) return undefined;
      if (message.expiresAt === 0 || message === fresh || this.#expiryOf(message) > now()) {
        // The next one may live shorter than the timer knows.
        if (this.#anyExpires) this.#armExpiry();
        this.#laneOf(message).delivered(message);
        return message;
      }
      this.#die(message, "expired");
    }
    return "busy";
  }

  #take(): Message | undefined {
    for (let priority = this.#lanes.length - 1; priority >= 0; priority--) {
      const lane = this.#lanes[priority];
      if (lane === undefined || lane.peek() === undefined) continue;
      return this.#shift(lane);
    }
    return undefined;
  }

  #shift(lane: Lane): Message {
    const message = lane.shift();
    this.#ready--;
    this.#readyBytes -= message.bodyLength;
    return message;
  }

  /**
   * The bytes of a message, read back from the store if memory has given them up. When they cannot
   * be read the message stays in the file, and is not ready any more: it must not stop the others.
   */
  bytesOf(message: Message): Uint8Array | undefined {
    return message.bytes ?? this.#host.store.load(message);
  }

  /** Gives up the bytes of a delivered message, if there is no room for those of a transient one. */
  release(message: Message): void {
    message.release();
    if (message.row !== Row.none || message.held) return;
    const { memory, store } = this.#host;
    if (memory.isFull) return store.insert(message);
    message.detach();
    message.held = true;
    memory.add(message);
  }

  #letGo(message: Message): void {
    if (!message.held) return;
    message.held = false;
    this.#host.memory.remove(message);
  }

  // -- settling --

  /** The work is done: the message is gone. */
  ack(message: Message): void {
    this.#letGo(message);
    if (!this.deleted) this.#host.store.remove(message);
  }

  /** Back to where they were, to be delivered again. */
  requeue(messages: Message[]): void {
    for (const message of messages) this.#letGo(message);
    if (this.deleted) return;
    const live = this.arguments.type === "quorum"
      ? messages.filter((message) => this.#countDelivery(message))
      : messages;
    const byLane = Map.groupBy(live, (message) => this.#laneOf(message));
    for (const [lane, group] of byLane) {
      lane.putBack(group);
      this.#ready += group.length;
      for (const message of group) {
        message.redelivered = true;
        this.#readyBytes += message.bodyLength;
      }
    }
    this.#armExpiry();
    // A quorum queue looks at its limit once its consumers have had what they can take.
    if (this.arguments.type === "classic") this.#dropOverflow();
    this.deliver();
    this.#dropOverflow();
  }

  /** Counts a return to the queue; past the limit the message is dead. */
  #countDelivery(message: Message): boolean {
    message.deliveries++;
    const { deliveryLimit } = this.arguments;
    if (deliveryLimit !== undefined && message.deliveries > deliveryLimit) {
      this.#die(message, "delivery_limit");
      return false;
    }
    this.#host.store.update(message);
    return true;
  }

  /** The consumer refuses it for good. */
  reject(message: Message): void {
    this.#letGo(message);
    if (!this.deleted) this.#die(message, "rejected");
  }

  #die(message: Message, reason: DeathReason): void {
    if (this.arguments.deadLetterExchange === undefined) this.bury(message);
    else this.#host.deadLetter(this, message, reason);
  }

  /** Removes a dead message. */
  bury(message: Message): void {
    this.#letGo(message);
    this.#host.store.remove(message);
  }

  // -- time --

  #expiryOf(message: Message): number {
    return this.#laneOf(message).expiryOf(message);
  }

  /** The machine's clock was set. */
  clockSet(): void {
    if (this.#anyExpires) this.#expire();
  }

  /** Wakes up when the first message expires. Only heads of lanes expire, as in RabbitMQ. */
  #armExpiry(): void {
    let first = Infinity;
    for (const lane of this.#lanes) {
      const head = lane?.peek();
      const expiresAt = head === undefined ? 0 : this.#expiryOf(head);
      if (expiresAt !== 0) first = Math.min(first, expiresAt);
    }
    if (first === Infinity || (this.#expiry !== undefined && this.#expiry.at <= first)) return;
    this.#host.deadlines.cancel(this.#expiry);
    this.#expiry = this.#host.deadlines.add(first, () => this.#expire());
  }

  #expire(): void {
    this.#host.deadlines.cancel(this.#expiry);
    this.#expiry = undefined;
    this.#host.scheduler.start(this);
  }

  /** What is over expires, piece by piece; then a queue that nobody uses goes. */
  work(slice: Slice): boolean {
    if (this.deleted) return false;
    // Dead letters that cannot be written would collect in memory.
    const { lastCommitFailed } = this.#host.store;
    const time = now();
    while (
      !lastCommitFailed && this.dying + this.keptLetters < MOST_DYING && this.#expireHead(time)
    ) {
      if (slice.isOver) return true;
    }
    if (this.dying >= MOST_DYING || (this.#isUnused && this.dying > 0)) return true;
    if (lastCommitFailed || this.keptLetters > 0) {
      this.#host.deadlines.cancel(this.#expiry);
      this.#expiry = this.#host.deadlines.after(KEPT_MS, () => this.#expire());
      if (lastCommitFailed) return false;
    } else this.#armExpiry();
    if (this.#isUnused) this.#endUnused();
    else this.deliver();
    return false;
  }

  /** @returns whether there was a message whose time is over */
  #expireHead(time: number): boolean {
    for (const lane of this.#lanes) {
      const head = lane?.peek();
      if (head === undefined || head.expiresAt === 0 || this.#expiryOf(head) > time) continue;
      this.#die(this.#shift(lane!), "expired");
      return true;
    }
    return false;
  }

  /** Deletes the queue when nobody has used it for `x-expires`. */
  #watchUse(): void {
    const { expires } = this.arguments;
    if (expires === undefined) return;
    this.#unusedDeadline = this.#host.deadlines.add(this.#lastUse + expires, () => {
      if (this.deleted) return;
      if (this.consumers.size > 0) this.#lastUse = now();
      if (this.#lastUse + expires > now()) return this.#watchUse();
      // Their time was over before the queue's; the loop may have been late for both.
      this.#isUnused = true;
      this.#expire();
    });
  }

  /** Unless somebody came while its messages expired. */
  #endUnused(): void {
    this.#isUnused = false;
    const isUsed = this.consumers.size > 0 || this.#lastUse + this.arguments.expires! > now();
    if (isUsed) this.#watchUse();
    else this.#host.deleteQueue(this);
  }

  /** Somebody declared the queue again. */
  used(): void {
    this.#lastUse = now();
  }

  // -- consumers --

  addConsumer(consumer: QueueConsumer): void {
    this.consumers.add(consumer);
    this.#allBusy = false;
  }

  removeConsumer(consumer: QueueConsumer): void {
    this.removeConsumers([consumer]);
  }

  /** All at once: what is ready is offered to the others only after that. */
  removeConsumers(consumers: Iterable<QueueConsumer>): void {
    for (const consumer of consumers) {
      consumer.canceled = true;
      this.consumers.remove(consumer);
    }
    this.#lastUse = now();
    this.#allBusy = false;
    if (this.deleted) return;
    if (this.identity.autoDelete && this.consumers.size === 0) this.#host.deleteQueue(this);
    else this.deliver();
  }

  // -- ending --

  /** Removes the ready messages and returns how many they were. */
  purge(): number {
    let count = 0;
    for (const lane of this.#lanes) count += lane?.purge() ?? 0;
    this.#ready = this.#readyBytes = 0;
    return count;
  }

  /** @throws {Fault} precondition-failed */
  checkDeletable(ifUnused: boolean, ifEmpty: boolean): void {
    if (ifEmpty && this.#ready > 0) throw preconditionFailed(`${this.title} not empty`);
    if (ifUnused && this.consumers.size > 0) throw preconditionFailed(`${this.title} in use`);
  }

  /** Ends the queue; the caller has taken it out of its virtual host. Returns the ready messages. */
  drop(): number {
    this.deleted = true;
    const count = this.#ready;
    for (const lane of this.#lanes) lane?.drop();
    this.#ready = this.#readyBytes = 0;
    this.#host.deadlines.cancel(this.#expiry);
    this.#host.deadlines.cancel(this.#unusedDeadline);
    if (this.durable) {
      const lanes = this.#lanes.flatMap((lane) => lane === undefined ? [] : [lane.id]);
      this.#host.store.definitions.removeQueue(this.identity, lanes);
    }
    for (const consumer of this.consumers.all()) {
      consumer.canceled = true;
      this.consumers.remove(consumer);
      consumer.queueGone();
    }
    return count;
  }
}
