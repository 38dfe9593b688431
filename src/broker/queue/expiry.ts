/** When a queue looks at its messages whose time is over. */

import { clockShift, now } from "../../time/clock.ts";
import type { Deadline, Deadlines } from "../../time/deadlines.ts";
import type { Publication } from "../message/message.ts";
import type { QueueArguments } from "./arguments.ts";

/** From the start to the first look, in milliseconds. */
const AFTER_START_MS = 500;

/** When what is published now expires, by the machine's clock; 0 for never. */
export function expiryOf({ expiration }: Publication, { messageTtl }: QueueArguments): number {
  const ttl = Math.min(expiration ?? Infinity, messageTtl ?? Infinity);
  return ttl === Infinity ? 0 : now() + clockShift() + ttl;
}

export class Expiry {
  readonly #deadlines: Deadlines;
  readonly #first: () => number;
  readonly #onDue: () => void;
  #deadline: Deadline | undefined;
  /** A message with a time to live has been seen. Written by the queue. */
  isPossible = false;

  /**
   * @param first when the first message expires, Infinity for never
   * @param onDue told when that may be now
   */
  constructor(deadlines: Deadlines, first: () => number, onDue: () => void) {
    this.#deadlines = deadlines;
    this.#first = first;
    this.#onDue = onDue;
  }

  /** There may be some of a former process. */
  beginAfterStart(): void {
    this.isPossible = true;
    this.#deadlines.after(AFTER_START_MS, () => this.begin());
  }

  /** Wakes up when the first message expires. */
  arm(): void {
    const first = this.#first();
    if (first === Infinity || (this.#deadline !== undefined && this.#deadline.at <= first)) return;
    this.end();
    this.#deadline = this.#deadlines.add(first, () => this.begin());
  }

  /** Another message has become the first: it may live shorter than the timer knows. */
  headChanged(): void {
    if (this.isPossible) this.arm();
  }

  /** Looks in so many milliseconds, whatever expires when. */
  wait(ms: number): void {
    this.end();
    this.#deadline = this.#deadlines.after(ms, () => this.begin());
  }

  /** Looks at once. */
  begin(): void {
    this.end();
    this.#onDue();
  }

  end(): void {
    this.#deadlines.cancel(this.#deadline);
    this.#deadline = undefined;
  }
}
