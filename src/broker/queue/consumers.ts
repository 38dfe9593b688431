/** Consumers of a queue, and the rule by which the next one is chosen. */

import type { Content } from "../message/content.ts";
import type { Message } from "../message/message.ts";

/** A consumer, as its queue sees it. */
export interface QueueConsumer {
  readonly exclusive: boolean;
  readonly priority: number;
  /** It has left the queue. Written by the queue. */
  canceled: boolean;
  /** Whether it can take one more delivery. If not, the queue hears when it can. */
  askForRoom(): boolean;
  /** Sends a message. It is acknowledged already if the consumer is no-ack. */
  deliver(message: Message, content: Content): void;
  /** The queue is gone: basic.cancel. */
  queueGone(): void;
}

/** Which of the waiting consumers is the next single active one. */
export type SingleActive = "by priority" | "in turn";

/** Consumers of one priority, each in turn. */
class Group {
  readonly priority: number;
  /** In order of arrival; those that are gone stay as gaps until they are half of it. */
  #members: (QueueConsumer | undefined)[] = [];
  readonly #indexes = new Map<QueueConsumer, number>();
  /** Index of the member whose turn is next. */
  #next = 0;

  constructor(priority: number) {
    this.priority = priority;
  }

  get size(): number {
    return this.#indexes.size;
  }

  /** The one that came first. */
  get first(): QueueConsumer | undefined {
    const [first] = this.#indexes.keys();
    return first;
  }

  add(consumer: QueueConsumer): void {
    this.#indexes.set(consumer, this.#members.push(consumer) - 1);
  }

  remove(consumer: QueueConsumer): void {
    const index = this.#indexes.get(consumer);
    if (index === undefined) return;
    this.#members[index] = undefined;
    this.#indexes.delete(consumer);
    if (this.#members.length > 2 * this.#indexes.size) this.#closeGaps();
  }

  #closeGaps(): void {
    const { length } = this.#members;
    const inTurn: QueueConsumer[] = [];
    for (let offset = 0; offset < length; offset++) {
      const consumer = this.#members[(this.#next + offset) % length];
      if (consumer !== undefined) inTurn.push(consumer);
    }
    this.#members = inTurn;
    inTurn.forEach((consumer, index) => this.#indexes.set(consumer, index));
    this.#next = 0;
  }

  /** The next one that can take a message. */
  take(): QueueConsumer | undefined {
    const members = this.#members;
    const { length } = members;
    for (let offset = 0; offset < length; offset++) {
      let index = this.#next + offset;
      if (index >= length) index -= length;
      const consumer = members[index];
      if (consumer === undefined || !consumer.askForRoom()) continue;
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
  #active: QueueConsumer | undefined;
  #groups: Group[] = [];
  /** In order of arrival. Made with the first one: there may be very many queues without any. */
  #all: Set<QueueConsumer> | undefined;
  /** How many are exclusive. */
  #exclusive = 0;

  /** @param single only one consumer at a time gets messages, until it leaves */
  constructor(single: SingleActive | undefined) {
    this.#single = single;
  }

  get size(): number {
    return this.#all?.size ?? 0;
  }

  get hasExclusive(): boolean {
    return this.#exclusive > 0;
  }

  all(): QueueConsumer[] {
    return [...this.#all ?? []];
  }

  add(consumer: QueueConsumer): void {
    this.#all ??= new Set();
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

  remove(consumer: QueueConsumer): void {
    if (this.#all?.delete(consumer) !== true) return;
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
  next(): QueueConsumer | undefined {
    if (this.#single !== undefined) return this.#active?.askForRoom() ? this.#active : undefined;
    for (const group of this.#groups) {
      const consumer = group.take();
      if (consumer !== undefined) return consumer;
    }
    return undefined;
  }
}
