/**
 * Messages of a lane that came back, in the order of their positions. Those that came together are a
 * run, in order; very many may come one by one, or some at a time from very many.
 */

import { BinaryHeap } from "@std/data-structures/binary-heap";
import type { Message } from "../message/message.ts";

/** The earliest last. */
type Run = Message[];

export class Returned {
  /** The run with the earliest one; empty: there is none. */
  #first: Run = [];
  /** The others, by their earliest ones. Made when there are some: there may be very many lanes. */
  #others: BinaryHeap<Run> | undefined;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** The earliest last. */
  get all(): readonly Message[] {
    if (this.#others !== undefined) {
      this.#first = this.#others.toArray().concat([this.#first]).flat().sort(byPosition);
      this.#others = undefined;
    }
    return this.#first;
  }

  /** The earliest. */
  get first(): Message | undefined {
    return this.#first[this.#first.length - 1];
  }

  /** Takes {@link first}. */
  shift(): Message | undefined {
    const message = this.#first.pop();
    if (message === undefined) return undefined;
    this.#length--;
    const next = this.#others?.peek();
    if (next === undefined) this.#others = undefined;
    else if (this.#first.length === 0 || isBefore(next, this.#first)) {
      this.#others!.pop();
      this.#setAside(this.#first);
      this.#first = next;
    }
    return message;
  }

  /** Their order does not matter. */
  add(messages: readonly Message[]): void {
    if (messages.length === 0) return;
    this.#length += messages.length;
    const run = isInOrder(messages) ? messages.toReversed() : messages.toSorted(byPosition);
    if (this.#first.length > 0 && !isBefore(run, this.#first)) return this.#setAside(run);
    this.#setAside(this.#first);
    this.#first = run;
  }

  #setAside(run: Run): void {
    if (run.length > 0) (this.#others ??= newHeap()).push(run);
  }

  /** @returns whether it was here */
  delete(message: Message): boolean {
    const index = this.all.indexOf(message);
    if (index < 0) return false;
    this.#first.splice(index, 1);
    this.#length--;
    return true;
  }

  clear(): void {
    this.#first = [];
    this.#others = undefined;
    this.#length = 0;
  }
}

function newHeap(): BinaryHeap<Run> {
  return new BinaryHeap((one, other) => earliest(one) - earliest(other));
}

function earliest(run: Run): number {
  return run[run.length - 1]!.position;
}

function isBefore(one: Run, other: Run): boolean {
  return earliest(one) < earliest(other);
}

/** As those of a holder mostly are. */
function isInOrder(messages: readonly Message[]): boolean {
  let last = 0;
  for (const { position } of messages) {
    if (position < last) return false;
    last = position;
  }
  return true;
}

function byPosition(one: Message, other: Message): number {
  return other.position - one.position;
}
