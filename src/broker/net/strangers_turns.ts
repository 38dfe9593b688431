/**
 * Turns of those whose work is no piece of the scheduler's: strangers, who may all say something at
 * once. A few go on at a time; the others wait until sockets were looked at.
 */

import type { Bell } from "./bell.ts";

/** How many go on at a time. */
const MOST_AT_ONCE = 32;

export class StrangersTurns {
  readonly #bell: Pick<Bell, "afterSockets">;
  /** Who has gone on in this turn of the event loop, or since sockets were looked at. */
  #gone = 0;
  #waiting: (() => void)[] = [];

  constructor(bell: Pick<Bell, "afterSockets">) {
    this.#bell = bell;
  }

  /** Resolves when it is one's turn. Undefined: it is, now. */
  next(): Promise<void> | undefined {
    if (this.#waiting.length === 0 && this.#gone < MOST_AT_ONCE) {
      if (this.#gone++ === 0) setImmediate(() => this.#endTurn());
      return undefined;
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #endTurn(): void {
    this.#gone = 0;
    if (this.#waiting.length > 0) this.#bell.afterSockets(() => this.#goOn());
  }

  #goOn(): void {
    const first = this.#waiting.splice(0, MOST_AT_ONCE);
    for (const resolve of first) resolve();
    this.#endTurn();
  }
}
