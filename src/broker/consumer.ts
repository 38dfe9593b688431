/** Consumers of a queue, and the rule by which the next one is chosen. */

import type { Message } from "./message.ts";
import type { Queue } from "./queue.ts";

/** A channel, as its consumers and the queues see it. */
export interface ConsumerOwner {
  /** The id of its connection: exclusive queues belong to one. */
  readonly connectionId: number;
  /** Whether the channel and its connection can take one more delivery for this consumer. If not,
   * its queue hears when they can. */
  canTake(consumer: Consumer): boolean;
  /** Sends a message. It is acknowledged already if the consumer is no-ack. */
  deliver(consumer: Consumer, message: Message, bytes: Uint8Array): void;
  /** The queue is gone: basic.cancel. */
  cancelConsumer(consumer: Consumer): void;
}

export class Consumer {
  /** Deliveries that wait for an acknowledgement. Written by the channel. */
  unacked = 0;
  canceled = false;

  constructor(
    readonly owner: ConsumerOwner,
    readonly queue: Queue,
    readonly tag: string,
    readonly noAck: boolean,
    readonly exclusive: boolean,
    readonly priority: number,
    /** Most unacknowledged deliveries, or 0 for no limit of its own. */
    readonly prefetch: number,
  ) {}

  canTake(): boolean {
    if (this.canceled) return false;
    if (this.prefetch > 0 && this.unacked >= this.prefetch && !this.noAck) return false;
    return this.owner.canTake(this);
  }
}

/** Which of the waiting consumers is the next single active one. */
export type SingleActive = "by priority" | "in turn";

/** Consumers of one priority, each in turn. */
class Group {
  readonly priority: number;
  /** In order of arrival; those that are gone stay as gaps until they are half of it. */
  #members: (Consumer | undefined)[] = [];
  readonly #indexes = new Map<Consumer, number>();
  /** Index of the member whose turn is next. */
  #next = 0;

  constructor(priority: number) {
    this.priority = priority;
  }

  get size(): number {
    return this.#indexes.size;
  }

  /** The one that came first. */
  get first(): Consumer | undefined {
    const [first] = this.#indexes.keys();
    return first;
  }

  add(consumer: Consumer): void {
    this.#indexes.set(consumer, this.#members.push(consumer) - 1);
  }

  remove(consumer: Consumer): void {
    const index = this.#indexes.get(consumer);
    if (index === undefined) return;
    this.#members[index] = undefined;
    this.#indexes.delete(consumer);
    if (this.#members.length > 2 * this.#indexes.size) this.#closeGaps();
  }

  #closeGaps(): void {
    const { length } = this.#members;
    const inTurn: Consumer[] = [];
    for (let offset = 0; offset < length; offset++) {
      const consumer = this.#members[(this.#next + offset) % length];
      if (consumer !== undefined) inTurn.push(consumer);
    }
    this.#members = inTurn;
    inTurn.forEach((consumer, index) => this.#indexes.set(consumer, index));
    this.#next = 0;
  }

  /** The next one that can take a message. */
  take(): Consumer | undefined {
    const members = this.#members;
    const { length } = members;
    for (let offset = 0; offset < length; offset++) {
      let index = this.#next + offset;
      if (index >= length) index -= length;
      const consumer = members[index];
      if (consumer === undefined || !consumer.canTake()) continue;
      this.#next = index + 1 === length ? 0 : index + 1;
      return consumer;
    }
    return undefined;
  }
}

/**
 * Highest priority first; within a priority everybody in turn. Adding and removing take the same
 * time however many there are.
 */
export class ConsumerList {
  readonly #single: SingleActive | undefined;
  /** The one that gets messages, if only one may. */
  #active: Consumer | undefined;
  #groups: Group[] = [];
  /** In order of arrival. */
  readonly #all = new Set<Consumer>();
  /** How many are exclusive. */
  #exclusive = 0;

  /** @param single only one consumer at a time gets messages, until it leaves */
  constructor(single: SingleActive | undefined) {
    this.#single = single;
  }

  get size(): number {
    return this.#all.size;
  }

  get hasExclusive(): boolean {
    return this.#exclusive > 0;
  }

  all(): Consumer[] {
    return [...this.#all];
  }

  add(consumer: Consumer): void {
    this.#all.add(consumer);
    if (consumer.exclusive) this.#exclusive++;
    if (this.#single !== undefined) this.#active ??= consumer;
    let group = this.#groups.find(({ priority }) => priority === consumer.priority);
    if (group === undefined) {
      group = new Group(consumer.priority);
      this.#groups.push(group);
      this.#groups.sort((one, other) => other.priority - one.priority);
    }
    group.add(consumer);
  }

  remove(consumer: Consumer): void {
    if (!this.#all.delete(consumer)) return;
    if (consumer.exclusive) this.#exclusive--;
    const index = this.#groups.findIndex(({ priority }) => priority === consumer.priority);
    const group = this.#groups[index]!;
    group.remove(consumer);
    if (group.size === 0) this.#groups.splice(index, 1);
    if (consumer !== this.#active) return;
    const [first] = this.#all;
    this.#active = this.#single === "by priority" ? this.#groups[0]?.first : first;
  }

  /** The consumer that gets the next message, or undefined when none can take one. */
  next(): Consumer | undefined {
    if (this.#single !== undefined) return this.#active?.canTake() ? this.#active : undefined;
    for (const group of this.#groups) {
      const consumer = group.take();
      if (consumer !== undefined) return consumer;
    }
    return undefined;
  }
}
