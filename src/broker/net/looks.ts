/**
 * Has the event loop look at all sockets now and then while there is much to read. A read that finds
 * bytes at once does not wait for that, and while there always is one Deno looks each 61st time only
 * (bell.ts): a client that says something little by little would keep the others waiting meanwhile.
 */

import type { Bell } from "./bell.ts";

/** Milliseconds of reading after which a look is asked for, and after which it is waited for. */
const ASK_MS = 0.4;
const MOST_MS = 0.6;

/** Milliseconds that a read takes besides what is done with its bytes, about. */
const READ_MS = 0.015;

export class Looks {
  readonly #bell: Pick<Bell, "afterSockets" | "isOpen">;
  /** Milliseconds of reading since the last look. */
  #spent = 0;
  #isAsked = false;
  #waiting: (() => void)[] = [];

  constructor(bell: Pick<Bell, "afterSockets" | "isOpen">) {
    this.#bell = bell;
  }

  /**
   * Comes before each read.
   * @param ms that it took to do what was read before
   * @returns resolves when it is time for the next one; undefined: it is, now
   */
  beforeRead(ms: number): Promise<void> | undefined {
    this.#spent += READ_MS + ms;
    if (this.#spent < ASK_MS) return undefined;
    if (!this.#isAsked) {
      this.#isAsked = true;
      this.#bell.afterSockets(() => this.#looked());
    }
    // Waiting for timers would take longer than reading does.
    if (this.#spent < MOST_MS || !this.#bell.isOpen) return undefined;
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #looked(): void {
    this.#isAsked = false;
    this.#spent = 0;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const goOn of waiting) goOn();
  }
}
