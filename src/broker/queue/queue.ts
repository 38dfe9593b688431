/**
 * A queue: ready messages in lanes, consumers, and the rules between them.
 *
 * A message is ready (in a lane), or delivered (owned by a channel until it is settled here by
 * {@link Queue.ack}, {@link Queue.requeue} or {@link Queue.reject}), or gone.
 */

import { now } from "../../time/clock.ts";
import { ConsumerList, type QueueConsumer } from "./consumers.ts";
import { Disuse } from "./disuse.ts";
import { Duplicates } from "./duplicates.ts";
import { Expiry, expiryOf } from "./expiry.ts";
import { Flow } from "./flow.ts";
import { type Fetched, letGo, release } from "./held.ts";
import type { QueueHost } from "./host.ts";
import { Overflow } from "./overflow.ts";
import { ReadyMessages } from "./ready.ts";
import { Rereading } from "./rereading.ts";
import { type Content, LARGE_BYTES } from "../message/content.ts";
import type { DeathReason } from "../message/deaths.ts";
import { type LaneRecord, Message, type Publication } from "../message/message.ts";
import { isKept, type QueueArguments, type QueueIdentity } from "./arguments.ts";
import type { Slice, Work } from "../../time/scheduler.ts";
import type { DeadCount } from "../store/messages/dead_messages.ts";
import type { StoredLane } from "../store/messages/lane_counters.ts";

/** Dead letters of a queue that may wait to be sent before more of its messages expire. */
const MOST_DYING = 1_000;

/** Messages whose time is over that somebody takes away who wants the one behind them. */
const MOST_SKIPPED = 100;

/** Messages after which the clock is looked at, and milliseconds after which others have their turn. */
const DELIVERED_AT_ONCE = 64;
const DELIVER_MS = 3;

/** Milliseconds between two rounds of a queue whose dead letters have nowhere to go. */
const KEPT_MS = 1_000;

export class Queue implements Work {
  readonly name: string;
  readonly vhost: string;
  readonly identity: QueueIdentity;
  readonly arguments: QueueArguments;
  readonly consumers: ConsumerList;
  readonly duplicates: Duplicates | undefined;
  readonly flow = new Flow();
  deleted = false;
  /** Dead letters that have nowhere to go and stay stored here. Written by the dead letters. */
  keptLetters = 0;
  /** Dead letters that wait to be sent, and are stored here until then. Written by the dead letters. */
  dying = 0;
  /** How many were sent so far. Written by the dead letters. */
  sentLetters = 0;

  readonly #host: QueueHost<Queue>;
  readonly #ready: ReadyMessages;
  readonly #overflow = new Overflow();
  /** Absent: it may be unused for ever. */
  readonly #disuse: Disuse | undefined;
  /** No consumer could take a message when last asked: nobody is asked again before {@link wake}. */
  #allBusy = false;
  /** These are made when they are needed first: there may be very many queues that are idle. */
  #madeExpiry: Expiry | undefined;
  #rereading: Rereading | undefined;

  constructor(identity: QueueIdentity, args: QueueArguments, host: QueueHost<Queue>) {
    this.identity = identity;
    this.name = identity.name;
    this.vhost = identity.vhost;
    this.arguments = args;
    const single = args.type === "classic" ? "by priority" : "in turn";
    this.consumers = new ConsumerList(args.singleActiveConsumer ? single : undefined);
    this.#host = host;
    const { store, memory } = host;
    this.#ready = new ReadyMessages(
      store,
      memory,
      identity.id,
      args.maxPriority ?? 0,
      () => this.#reread(),
      (message) => this.duplicates?.forget(message),
    );
    this.duplicates = args.duplicates &&
      new Duplicates(args.duplicates, identity, store.seen, memory.keys);
    if (args.expires === undefined) return;
    // Their time was over before the queue's; the loop may have been late for both.
    const onUnused = () => this.#expiry.begin();
    this.#disuse = new Disuse(host.deadlines, args.expires, this.consumers, onUnused);
  }

  get #expiry(): Expiry {
    return this.#madeExpiry ??= new Expiry(this.#host.deadlines, this.#ready, {
      due: () => this.#host.scheduler.add(this),
      isStuck: () => this.#host.store.lastCommitFailed || this.keptLetters >= MOST_DYING,
      isCrowded: () => this.dying + this.keptLetters >= MOST_DYING,
      die: (message) => this.#die(message, "expired"),
    });
  }

  #reread(): void {
    const { deadlines, scheduler } = this.#host;
    this.#rereading ??= new Rereading(deadlines, this.#ready, () => scheduler.add(this));
    this.#rereading.arm();
  }

  get title(): string {
    return `queue '${this.name}' in vhost '${this.vhost}'`;
  }

  get durable(): boolean {
    return this.identity.id !== 0;
  }

  get readyCount(): number {
    return this.#ready.count;
  }

  /** To be looked at; {@link remove} takes one out. */
  get messages(): Omit<ReadyMessages, "take" | "putBack" | "takeOut" | "append" | "drop"> {
    return this.#ready;
  }

  /** @param dead messages of a former process, which are not ready */
  restore(stored: StoredLane, dead: DeadCount | undefined): LaneRecord {
    // Reading the first messages of every queue would delay the start.
    if (stored.depth > 0) this.#expiry.beginAfterStart();
    return this.#ready.restore(stored, dead);
  }

  // -- publishing --

  /** @returns whether it took it, or has had it; a full queue that rejects publishes does not */
  publish(publication: Publication): boolean {
    const { overflow } = this.arguments;
    const durable = isKept(this, publication);
    const key = this.duplicates?.keyOf(publication);
    const isDuplicate = key !== undefined && this.duplicates!.has(key, durable);
    if (isDuplicate || this.#ready.rejects(this.arguments, publication.content.bodyLength)) {
      if (!isDuplicate && overflow === "reject-publish-dlx") {
        // It becomes a dead letter without ever having been in the queue.
        this.#die(new Message(this.#ready.lowest, 0, publication.content, 0, false), "maxlen");
      }
      publication.content.notTaken();
      return isDuplicate;
    }
    const message = this.#ready
      .append(publication, expiryOf(publication, this.arguments), durable);
    this.flow.published++;
    if (key !== undefined) this.duplicates!.add(key, message);
    if (message.expiresAt !== 0) this.#expiry.isPossible = true;
    if (this.consumers.size > 0) this.deliver(message);
    if (this.#ready.count > 0) this.#ready.keep(message);
    this.#dropOverflow();
    if (message.expiresAt !== 0) this.#expiry.headChanged();
    return true;
  }

  /** Queues that reject publishes keep what comes back to them. */
  #dropOverflow(): void {
    if (!this.#overflow.isUnderWay && !this.#ready.isTooLong(this.arguments)) return;
    const die = (message: Message) => this.#die(message, "maxlen");
    if (this.#overflow.drop(this.#ready, this.arguments, die)) this.#madeExpiry?.headChanged();
    if (this.#overflow.isUnderWay) this.#host.scheduler.add(this);
  }

  // -- delivering --

  /**
   * Hands out messages while there are any and somebody can take one.
   * @param fresh a message of this moment: it is delivered even if it lives no longer than that
   */
  deliver(fresh?: Message): void {
    if (this.#overflow.isUnderWay) return;
    let end = Infinity;
    for (let count = 1; this.#ready.count > 0 && !this.#allBusy && !this.flow.paused; count++) {
      if (count >= DELIVERED_AT_ONCE) {
        count = 0;
        const time = performance.now();
        if (time > end) return this.#host.scheduler.add(this);
        if (end === Infinity) end = time + DELIVER_MS;
      }
      const consumer = this.consumers.next();
      if (consumer === undefined) return void (this.#allBusy = true);
      count += this.consumers.effort;
      const message = this.#takeLive(fresh);
      if (message === undefined) return;
      if (message === "busy") { // many may have died: while nothing can be written, few at a time
        if (this.#host.store.lastCommitFailed) return this.#expiry.wait(KEPT_MS);
        return this.#host.scheduler.add(this);
      }
      if (message.size >= LARGE_BYTES) count = DELIVERED_AT_ONCE; // it takes long to read
      const content = this.contentOf(message);
      if (content === undefined) this.setAside(message);
      else consumer.deliver(this.flow.deliver(message), content);
    }
  }

  /** Somebody may be able to take messages again. */
  wake(): void {
    this.#allBusy = false;
    this.#goOn();
  }

  /** Many wake it in one turn, or give back: it delivers once for all, but before it drops for it. */
  #goOn(): void {
    if (!this.#host.scheduler.has(this) || this.#ready.isTooLong(this.arguments)) this.deliver();
  }

  /**
   * Takes one message for basic.get; or some are over, of it or those behind it, which are counted
   * next: to be asked again after {@link expireMany}.
   */
  get(): Fetched | "busy" | undefined {
    this.#disuse?.interrupt();
    if (this.flow.paused) return undefined;
    if (this.#overflow.isUnderWay) return "busy";
    for (;;) {
      const message = this.#takeLive(undefined);
      if (message === undefined || message === "busy") return message;
      if (this.#madeExpiry?.isDue) {
        this.#ready.untake(message);
        return "busy";
      }
      const content = this.contentOf(message);
      if (content !== undefined) return { message: this.flow.deliver(message), content };
      this.setAside(message);
    }
  }

  /** {@link Expiry.expireMany} */
  expireMany(slice: Slice): number {
    return this.#madeExpiry?.expireMany(slice) ?? 0;
  }

  /** Whether so many dead letters wait that no more should die, or many messages are still to go. */
  get isDying(): boolean {
    return (this.#overflow.isUnderWay && !this.deleted) || this.#hasManyLetters;
  }

  get #hasManyLetters(): boolean {
    if (this.dying < MOST_DYING && !this.#host.isDying) return false;
    return this.dying > 0 && !this.#host.store.lastCommitFailed;
  }

  #takeLive(fresh: Message | undefined): Message | "busy" | undefined {
    for (let skipped = 0; skipped < MOST_SKIPPED; skipped++) {
      const message = this.#ready.take();
      if (message === undefined) return this.#ready.isSlow ? "busy" : undefined;
      if (message.expiresAt === 0 || message === fresh || this.#ready.expiryOf(message) > now()) {
        this.#madeExpiry?.headChanged();
        this.#ready.delivered(message);
        return message;
      }
      this.#die(message, "expired");
    }
    return "busy";
  }

  /** The content of a message, read back from the store if memory has given it up and it can. */
  contentOf(message: Message): Content | undefined {
    return message.content ?? this.#host.store.load(message);
  }

  /** What cannot be read must not stop the others. It is tried again later. */
  setAside(message: Message): void {
    if (!this.deleted) this.#ready.setAside(message);
  }

  /** A message was delivered, and waits for its acknowledgement. */
  release(message: Message): void {
    release(message, this.#host.store, this.#host.memory);
  }

  // -- settling --

  ack(message: Message): void {
    this.flow.acked++;
    letGo(message, this.#host.memory);
    if (this.deleted) return;
    message.done();
    this.#host.store.remove(message);
  }

  /** Back to where they were, to be delivered again. */
  requeue(messages: Message[]): void {
    for (const message of messages) letGo(message, this.#host.memory);
    this.flow.returned += messages.length;
    if (this.deleted) return;
    const isClassic = this.arguments.type === "classic";
    this.#ready.putBack(isClassic ? messages : messages.filter((one) => this.#countDelivery(one)));
    // A quorum queue looks at its limit once its consumers have had what they can take.
    if (isClassic) this.#dropOverflow();
    this.#madeExpiry?.headChanged();
    this.#goOn();
    this.#dropOverflow();
  }

  /** Counts a return to the queue; past the limit the message is dead. */
  #countDelivery(message: Message): boolean {
    message.countDelivery();
    if (message.deliveries > (this.arguments.deliveryLimit ?? Infinity)) {
      this.#die(message, "delivery_limit");
      return false;
    }
    this.#host.store.update(message);
    return true;
  }

  reject(message: Message): void {
    this.flow.rejected++;
    letGo(message, this.#host.memory);
    if (!this.deleted) this.#die(message, "rejected");
  }

  #die(message: Message, reason: DeathReason): void {
    this.flow.dead++;
    if (this.arguments.deadLetterExchange === undefined) this.bury(message);
    else this.#host.deadLetter(this, message, reason);
  }

  bury(message: Message): void {
    letGo(message, this.#host.memory);
    this.#host.store.remove(message);
  }

  /** The machine's clock was set. */
  clockSet(): void {
    if (this.#madeExpiry?.isPossible) this.#madeExpiry.begin();
  }

  /** What is over expires, piece by piece; then a queue that nobody uses goes. */
  work(slice: Slice): boolean {
    if (this.deleted) return false;
    if (this.#overflow.isUnderWay && !this.#hasManyLetters) this.#dropOverflow();
    if (this.#overflow.isUnderWay) return true;
    if (this.#rereading?.work() || this.#madeExpiry?.expire(slice)) return true;
    if (this.dying >= MOST_DYING || (this.#disuse?.isOver && this.dying > 0)) return true;
    const isFailing = this.#host.store.lastCommitFailed;
    if (isFailing || this.keptLetters > 0) this.#expiry.wait(KEPT_MS);
    else this.#madeExpiry?.arm();
    if (!this.#disuse?.isOver) this.deliver();
    else if (!isFailing && this.#disuse.confirm()) this.#host.deleteQueue(this);
    return false;
  }

  /** Somebody declared the queue again. */
  used(): void {
    this.#disuse?.interrupt();
  }

  addConsumer(consumer: QueueConsumer): void {
    this.consumers.add(consumer);
    this.#allBusy = false;
  }

  /** All at once: what is ready is offered to the others only after that. */
  removeConsumers(consumers: readonly QueueConsumer[]): void {
    for (const consumer of consumers) consumer.canceled = true;
    this.consumers.remove(consumers);
    this.#disuse?.interrupt();
    // The others have no more room than before, but one of them may be the next single active one.
    if (this.arguments.singleActiveConsumer) this.#allBusy = false;
    if (this.deleted) return;
    if (this.identity.autoDelete && this.consumers.size === 0) this.#host.deleteQueue(this);
    else this.#goOn();
  }

  /** Removes one ready message, wherever it stands. @returns whether it was there */
  remove(message: Message): boolean {
    const taken = this.#ready.takeOut(message);
    if (taken !== undefined) this.bury(taken);
    return taken !== undefined;
  }

  /** @returns how many they were */
  purge(): number {
    return this.#ready.purge();
  }

  /** Ends the queue; the caller has taken it out of its virtual host. Returns the ready messages. */
  drop(): number {
    this.deleted = true;
    const { count } = this.#ready;
    const lanes = this.#ready.drop();
    this.#madeExpiry?.end();
    this.#rereading?.end();
    this.#disuse?.end();
    this.duplicates?.drop();
    if (this.durable) this.#host.store.changes.removeQueue(this.identity, lanes);
    const consumers = this.consumers.all();
    this.consumers.remove(consumers);
    for (const consumer of consumers) {
      consumer.canceled = true;
      consumer.queueGone();
    }
    return count;
  }
}
