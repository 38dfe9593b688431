/** Consumers of a queue, and the rule by which the next one is chosen. */

import type { Message } from "./message.ts";
import type { Queue } from "./queue.ts";

/** A channel, as its consumers and the queues see it. */
export interface ConsumerOwner {
  /** The id of its connection: exclusive queues belong to one. */
  readonly connectionId: number;
  /** Whether the channel and its connection can take one more delivery that wants an ack. */
  canTake(noAck: boolean): boolean;
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
    return this.owner.canTake(this.noAck);
  }
}

/** Which of the waiting consumers is the next single active one. */
export type SingleActive = "by priority" | "in turn";

interface Group {
  readonly priority: number;
  readonly members: Consumer[];
  /** Index of the member whose turn is next. */
  next: number;
}

/** Highest priority first; within a priority everybody in turn. */
export class ConsumerList {
  readonly #single: SingleActive | undefined;
  /** The one that gets messages, if only one may. */
  #active: Consumer | undefined;
  #groups: Group[] = [];
  /** In order of arrival. */
  #all: Consumer[] = [];

  /** @param single only one consumer at a time gets messages, until it leaves */
  constructor(single: SingleActive | undefined) {
    this.#single = single;
  }

  get size(): number {
    return this.#all.length;
  }

  get hasExclusive(): boolean {
    return this.#all.some((consumer) => consumer.exclusive);
  }

  all(): Consumer[] {
    return [...this.#all];
  }

  add(consumer: Consumer): void {
    this.#all.push(consumer);
    if (this.#single !== undefined) this.#active ??= consumer;
    const group = this.#groups.find(({ priority }) => priority === consumer.priority);
    if (group !== undefined) {
      group.members.push(consumer);
      return;
    }
    this.#groups.push({ priority: consumer.priority, members: [consumer], next: 0 });
    this.#groups.sort((one, other) => other.priority - one.priority);
  }

  remove(consumer: Consumer): void {
    this.#all = this.#all.filter((other) => other !== consumer);
    for (const group of this.#groups) {
      const index = group.members.indexOf(consumer);
      if (index < 0) continue;
      group.members.splice(index, 1);
      if (group.next > index) group.next--;
    }
    this.#groups = this.#groups.filter(({ members }) => members.length > 0);
    if (consumer !== this.#active) return;
    this.#active = this.#single === "by priority" ? this.#groups[0]?.members[0] : this.#all[0];
  }

  /** The consumer that gets the next message, or undefined when none can take one. */
  next(): Consumer | undefined {
    if (this.#single !== undefined) return this.#active?.canTake() ? this.#active : undefined;
    for (const group of this.#groups) {
      const { members } = group;
      for (let offset = 0; offset < members.length; offset++) {
        const index = (group.next + offset) % members.length;
        const consumer = members[index]!;
        if (!consumer.canTake()) continue;
        group.next = (index + 1) % members.length;
        return consumer;
      }
    }
    return undefined;
  }
}
