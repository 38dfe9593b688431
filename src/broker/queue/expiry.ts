/** When a queue looks at its messages whose time is over, and how they go. */

import { clockShift, now, roughlyNow } from "../../time/clock.ts";
import type { Deadline, Deadlines } from "../../time/deadlines.ts";
import type { Message, Publication } from "../message/message.ts";
import type { Slice } from "../../time/scheduler.ts";
import type { QueueArguments } from "./arguments.ts";
import type { ReadyMessages } from "./ready.ts";

/** From the start to the first look, in milliseconds. */
const AFTER_START_MS = 500;

/** Messages that go at once when others are first; what is left goes in the queue's turns. */
const MOST_AT_ONCE = 100;

/** Milliseconds: for what expires later than that nobody reads the clock, which takes its time. */
const SOON_MS = 1_000;

type Perishable = Pick<
  ReadyMessages,
  "firstExpiry" | "takeExpired" | "isSlow" | "take" | "untake"
>;

/** The queue, as its expiry sees it. */
export interface ExpiryOwner {
  /** Messages may be over: {@link Expiry.expire} should have its turn. */
  due(): void;
  /** Whether nothing may die: dead letters that cannot be written would collect in memory. */
  isStuck(): boolean;
  /** Whether nothing may die until letters of those before have left. */
  isCrowded(): boolean;
  die(message: Message): void;
}

/** When what is published now expires, by the machine's clock; 0 for never. */
export function expiryOf({ expiration }: Publication, { messageTtl }: QueueArguments): number {
  const ttl = Math.min(expiration ?? Infinity, messageTtl ?? Infinity);
  return ttl === Infinity ? 0 : now() + clockShift() + ttl;
}

export class Expiry {
  readonly #deadlines: Deadlines;
  readonly #ready: Perishable;
  readonly #owner: ExpiryOwner;
  #deadline: Deadline | undefined;
  /** How many expired so far. */
  #gone = 0;
  /** A message with a time to live has been seen. Written by the queue. */
  isPossible = false;

  constructor(
    deadlines: Deadlines,
    ready: Perishable,
    owner: ExpiryOwner,
  ) {
    this.#deadlines = deadlines;
    this.#ready = ready;
    this.#owner = owner;
  }

  /** There may be some of a former process. */
  beginAfterStart(): void {
    this.isPossible = true;
    this.#deadlines.after(AFTER_START_MS, () => this.begin());
  }

  /** Wakes up when the first message expires. */
  arm(): void {
    this.#wakeAt(this.#ready.firstExpiry());
  }

  #wakeAt(first: number): void {
    if (first === Infinity || (this.#deadline !== undefined && this.#deadline.at <= first)) return;
    this.end();
    this.#deadline = this.#deadlines.add(first, () => this.begin());
  }

  /**
   * Another message may be the first: what is over goes before anybody counts the messages, as in
   * RabbitMQ, and the timer knows of the next one.
   */
  headChanged(): void {
    if (!this.isPossible) return;
    const first = this.#ready.firstExpiry();
    if (first === Infinity || first > roughlyNow() + SOON_MS) return this.#wakeAt(first);
    let left = MOST_AT_ONCE;
    this.expire({
      get isOver(): boolean {
        return --left === 0;
      },
    });
    this.arm();
  }

  /** What is over at the head goes. @returns whether there may be more when the slice is over */
  expire(slice: Slice): boolean {
    while (!this.#owner.isStuck() && !this.#owner.isCrowded()) {
      const message = this.#ready.takeExpired(now());
      if (message === undefined) return this.#ready.isSlow;
      this.#owner.die(message);
      this.#gone++;
      if (slice.isOver) return true;
    }
    return false;
  }

  /** What is over before the next message goes, and what is behind it. @returns how many */
  expireMany(slice: Slice): number {
    const before = this.#gone;
    const next = this.expire(slice) ? undefined : this.#ready.take();
    if (next !== undefined) {
      this.expire(slice);
      this.#ready.untake(next);
    }
    return this.#gone - before;
  }

  /** Whether the first message is over, and can go, now or soon. */
  get isDue(): boolean {
    const first = this.isPossible ? this.#ready.firstExpiry() : Infinity;
    return first !== Infinity && first <= now() && !this.#owner.isStuck();
  }

  /** Looks in so many milliseconds, whatever expires when. */
  wait(ms: number): void {
    this.end();
    this.#deadline = this.#deadlines.after(ms, () => this.begin());
  }

  /** Looks at once. */
  begin(): void {
    this.end();
    this.#owner.due();
  }

  end(): void {
    this.#deadlines.cancel(this.#deadline);
    this.#deadline = undefined;
  }
}
