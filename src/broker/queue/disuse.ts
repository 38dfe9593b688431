/** A queue that nobody uses for as long as `x-expires` says: it is to go. */

import { now } from "../../time/clock.ts";
import type { Deadline, Deadlines } from "../../time/deadlines.ts";

export class Disuse {
  readonly #deadlines: Deadlines;
  /** Milliseconds. */
  readonly #expires: number;
  readonly #consumers: { readonly size: number };
  readonly #onUnused: () => void;
  #deadline: Deadline | undefined;
  /** Milliseconds since the epoch. */
  #lastUse = now();
  #isOver = false;

  /** @param onUnused told when nobody used it for too long */
  constructor(
    deadlines: Deadlines,
    expires: number,
    consumers: { readonly size: number },
    onUnused: () => void,
  ) {
    this.#deadlines = deadlines;
    this.#expires = expires;
    this.#consumers = consumers;
    this.#onUnused = onUnused;
    this.#watch();
  }

  /** Nobody used it for too long. It goes when everything has expired that is to expire. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Somebody uses it at this moment. */
  interrupt(): void {
    this.#lastUse = now();
  }

  #watch(): void {
    this.#deadline = this.#deadlines.add(this.#lastUse + this.#expires, () => {
      if (this.#consumers.size > 0) this.interrupt();
      if (this.#lastUse + this.#expires > now()) return this.#watch();
      this.#isOver = true;
      this.#onUnused();
    });
  }

  /** @returns whether nobody came since it was over; else it begins again */
  confirm(): boolean {
    this.#isOver = false;
    const isUsed = this.#consumers.size > 0 || this.#lastUse + this.#expires > now();
    if (isUsed) this.#watch();
    return !isUsed;
  }

  /** The queue is gone. */
  end(): void {
    this.#deadlines.cancel(this.#deadline);
  }
}
