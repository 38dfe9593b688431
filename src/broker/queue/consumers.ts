/** Consumers of a queue, and the rule by which the next one is chosen. */

import { firstIndex } from "./first_index.ts";
import type { Content } from "../message/content.ts";
import type { Message } from "../message/message.ts";

/** A delivery takes as long as asking so many consumers for room, as a power of two. */
const ASKED_SHIFT = 5;

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
  /** How many the last {@link take} has asked. */
  asked = 0;

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
    this.asked = length;
    for (let offset = 0; offset < length; offset++) {
      let index = this.#next + offset;
      if (index >= length) index -= length;
      const consumer = members[index];
      if (consumer === undefined || !consumer.askForRoom()) continue;
      this.#next = index + 1 === length ? 0 : index + 1;
      this.asked = offset + 1;
      return consumer;
    }
    return undefined;
  }
}

/**
 * Highest priority first; within a priority everybody in turn. Adding and removing take about the
 * same time however many there are, and however many priorities they have.
 */
export class ConsumerList {
  readonly #single: SingleActive | undefined;
  /** The one that gets messages, if only one may. */
  #active: QueueConsumer | undefined;
  /** By priority, highest first; those without consumers stay until they are half of it. */
  #groups: Group[] = [];
  #emptyGroups = 0;
  /** In order of arrival. Made with the first one: there may be very many queues without any. */
  #all: Set<QueueConsumer> | undefined;
  /** How many are exclusive. */
  #exclusive = 0;
  /** How many the last {@link next} has asked. */
  #asked = 0;

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
    this.#groupFor(consumer.priority).add(consumer);
  }

  #groupFor(priority: number): Group {
    const index = this.#indexOf(priority);
    const found = this.#groups[index];
    if (found?.priority === priority) {
      if (found.size === 0) this.#emptyGroups--;
      return found;
    }
    const group = new Group(priority);
    this.#groups.splice(index, 0, group);
    return group;
  }

  /** Where the group of a priority is, or would be. */
  #indexOf(priority: number): number {
    const groups = this.#groups;
    return firstIndex(0, groups.length, (index) => groups[index]!.priority <= priority);
  }

  /** All at once: very many may leave together. Those that are not here are left out. */
  remove(consumers: Iterable<QueueConsumer>): void {
    for (const consumer of consumers) {
      if (this.#all?.delete(consumer) !== true) continue;
      if (consumer.exclusive) this.#exclusive--;
      const group = this.#groups[this.#indexOf(consumer.priority)]!;
      group.remove(consumer);
      if (group.size === 0) this.#emptyGroups++;
      if (this.#emptyGroups * 2 > this.#groups.length) this.#dropEmpty();
      if (consumer === this.#active) this.#active = undefined;
    }
    if (this.#single !== undefined) this.#active ??= this.#successor();
  }

  #dropEmpty(): void {
    this.#groups = this.#groups.filter(({ size }) => size > 0);
    this.#emptyGroups = 0;
  }

  /** Who is the active one when the last one has left. */
  #successor(): QueueConsumer | undefined {
    if (this.#single === "by priority") return this.#groups.find(({ size }) => size > 0)?.first;
    const [first] = this.#all ?? [];
    return first;
  }

  /** How many deliveries take as long as the last {@link next}: very many may have been busy. */
  get effort(): number {
    return this.#asked >> ASKED_SHIFT;
  }

  /** The consumer that gets the next message, or undefined when none can take one. */
  next(): QueueConsumer | undefined {
    this.#asked = 0;
    if (this.#single !== undefined) return this.#active?.askForRoom() ? this.#active : undefined;
    for (const group of this.#groups) {
      const consumer = group.take();
      this.#asked += group.asked;
      if (consumer !== undefined) return consumer;
    }
    return undefined;
  }
}
