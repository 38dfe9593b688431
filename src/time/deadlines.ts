/**
 * Things to do at a time, however many, behind one timer: what connections, queues and dead letters
 * wait for. What there is one of, such as the retry of a commit, has a timer of its own.
 */

import { BinaryHeap } from "@std/data-structures/binary-heap";
import { now } from "./clock.ts";
import { LONGEST_TIMER_MS } from "./timer.ts";

/** A thing to do at a time. Canceled by {@link Deadlines.cancel}. */
export interface Deadline {
  /** Milliseconds since the epoch, by the clock of `clock.ts`. */
  readonly at: number;
  readonly run: () => void;
  canceled: boolean;
}

/** Milliseconds: this late is very late, and then sockets are read for so long before. */
const LATE_MS = 500;
const PATIENCE_MS = 100;

/**
 * Deadlines, and milliseconds, of one go, when very many are due. What a deadline wakes by a promise
 * goes on only behind the go, and takes longer than the deadline itself.
 */
const MOST_AT_ONCE = 64;
const MOST_MS = 2;

export class Deadlines {
  readonly #onFault: (error: unknown) => void;
  readonly #afterOthers: (run: () => void) => void;
  /** The earliest deadline first. */
  #heap = newHeap();
  /** How many of them are canceled. */
  #canceled = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** When the timer fires, in milliseconds since the epoch; Infinity: there is none. */
  #wakesAt = Infinity;
  /** The deadlines that are due wait for the sockets to be read, or for others to have their turn. */
  #isLate = false;
  #isGoingOn = false;
  #wasLateAt = -Infinity;
  #stopped = false;

  /**
   * @param onFault told of what a deadline throws; the others are kept
   * @param afterOthers runs something once everybody else has had a turn
   */
  constructor(
    onFault: (error: unknown) => void,
    afterOthers: (run: () => void) => void = (run) => setTimeout(run, 0),
  ) {
    this.#onFault = onFault;
    this.#afterOthers = afterOthers;
  }

  /** When they were very late the last time: milliseconds since the epoch, by the clock of `clock.ts`. */
  get wasLateAt(): number {
    return this.#wasLateAt;
  }

  /** @param ms milliseconds from now */
  after(ms: number, run: () => void): Deadline {
    return this.add(now() + ms, run);
  }

  /** @param at milliseconds since the epoch, by `now`; a time in the past is due at once */
  add(at: number, run: () => void): Deadline {
    const deadline: Deadline = { at, run, canceled: false };
    this.#heap.push(deadline);
    if (at < this.#wakesAt && !this.#isLate && !this.#isGoingOn) this.#sleep();
    return deadline;
  }

  /** Canceled deadlines stay in the heap until their time, or until half of it is canceled. */
  cancel(deadline: Deadline | undefined): void {
    if (deadline === undefined || deadline.canceled) return;
    deadline.canceled = true;
    if (++this.#canceled * 2 > this.#heap.length && this.#canceled > 64) this.#compact();
  }

  #compact(): void {
    const all = this.#heap.toArray();
    this.#heap = newHeap();
    this.#canceled = 0;
    for (const deadline of all) if (!deadline.canceled) this.#heap.push(deadline);
  }

  /** Runs nothing any more. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#heap = newHeap();
  }

  #sleep(): void {
    clearTimeout(this.#timer);
    const next = this.#heap.peek();
    this.#wakesAt = next === undefined ? Infinity : Math.max(next.at, now());
    if (next === undefined || this.#stopped) return;
    // Later ones wait in several steps.
    const delay = Math.min(Math.max(next.at - now(), 0), LONGEST_TIMER_MS);
    this.#timer = setTimeout(() => this.#wake(), delay);
  }

  #wake(): void {
    const time = now();
    // We were stopped, or very busy: what was sent meanwhile is read before anybody is taken for
    // silent.
    this.#isLate = !this.#stopped && time - this.#wakesAt > LATE_MS;
    if (this.#isLate) {
      this.#wasLateAt = time;
      this.#wakesAt = time + PATIENCE_MS;
      this.#timer = setTimeout(() => this.#wake(), PATIENCE_MS);
      return;
    }
    this.#runDue(time);
  }

  /** Those that are due, in pieces. */
  #runDue(time: number): void {
    this.#wakesAt = Infinity;
    const start = performance.now();
    let left = MOST_AT_ONCE;
    for (;;) {
      const deadline = this.#heap.peek();
      if (deadline === undefined || deadline.at > time) break;
      if (left-- === 0 || performance.now() - start > MOST_MS) return this.#goOnLater();
      this.#heap.pop();
      if (deadline.canceled) this.#canceled = Math.max(0, this.#canceled - 1);
      else if (!this.#stopped) {
        // Running it now means that canceling it later must not count it as still in the heap.
        deadline.canceled = true;
        try {
          deadline.run();
        } catch (error) {
          this.#onFault(error);
        }
      }
    }
    this.#sleep();
  }

  #goOnLater(): void {
    this.#isGoingOn = true;
    const asked = now();
    this.#afterOthers(() => {
      this.#isGoingOn = false;
      this.#wakesAt = asked;
      this.#wake();
    });
  }
}

function newHeap(): BinaryHeap<Deadline> {
  return new BinaryHeap((one, other) => one.at - other.at);
}
