/** A queue that nobody uses for as long as `x-expires` says: it is to go. */

import { now } from "../../time/clock.ts";
import type { Deadline, Deadlines } from "../../time/deadlines.ts";

export class Disuse {
  readonly #deadlines: Deadlines;
  /** Milliseconds; undefined: it may be unused for ever. */
  readonly #expires: number | undefined;
  readonly #hasConsumers: () => boolean;
  readonly #onUnused: () => void;
  #deadline: Deadline | undefined;
  /** Milliseconds since the epoch. */
  #lastUse = now();
  #isOver = false;

  /** @param onUnused told when nobody used it for too long */
  constructor(
    deadlines: Deadlines,
    expires: number | undefined,
    hasConsumers: () => boolean,
    onUnused: () => void,
  ) {
    this.#deadlines = deadlines;
    this.#expires = expires;
    this.#hasConsumers = hasConsumers;
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
    if (this.#expires === undefined) return;
    this.#deadline = this.#deadlines.add(this.#lastUse + this.#expires, () => {
      if (this.#hasConsumers()) this.interrupt();
      if (this.#lastUse + this.#expires! > now()) return this.#watch();
      this.#isOver = true;
      this.#onUnused();
    });
  }

  /** @returns whether nobody came since it was over; else it begins again */
  confirm(): boolean {
    this.#isOver = false;
    const isUsed = this.#hasConsumers() || this.#lastUse + this.#expires! > now();
    if (isUsed) this.#watch();
    return !isUsed;
  }

  /** The queue is gone. */
  end(): void {
    this.#deadlines.cancel(this.#deadline);
  }
}
