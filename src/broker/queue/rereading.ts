/** When a queue tries again to read messages that could not be read. */

import type { Deadline, Deadlines } from "../../time/deadlines.ts";

/** Milliseconds before the first try; each further pause is twice as long as the one before. */
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 300_000;

/** What is tried. */
export interface Rereadable {
  readonly hasUnreadable: boolean;
  /** In pieces. */
  readAgain(): Generator<void>;
}

export class Rereading {
  readonly #deadlines: Deadlines;
  readonly #messages: Rereadable;
  readonly #onDue: () => void;
  #pause = FIRST_PAUSE_MS;
  #deadline: Deadline | undefined;
  #pieces: Generator<void> | undefined;

  /** @param onDue told that there is something to {@link work} */
  constructor(deadlines: Deadlines, messages: Rereadable, onDue: () => void) {
    this.#deadlines = deadlines;
    this.#messages = messages;
    this.#onDue = onDue;
  }

  /** Something cannot be read. */
  arm(): void {
    if (this.#deadline !== undefined || this.#pieces !== undefined) return;
    this.#deadline = this.#deadlines.after(this.#pause, () => {
      this.#deadline = undefined;
      this.#pieces = this.#messages.readAgain();
      this.#onDue();
    });
  }

  /** Does a piece, if it is time. @returns whether there is more */
  work(): boolean {
    if (this.#pieces === undefined) return false;
    if (!this.#pieces.next().done) return true;
    this.#pieces = undefined;
    if (this.#messages.hasUnreadable) {
      this.#pause = Math.min(2 * this.#pause, LONGEST_PAUSE_MS);
      this.arm();
    } else this.#pause = FIRST_PAUSE_MS;
    return false;
  }

  end(): void {
    this.#deadlines.cancel(this.#deadline);
    this.#pieces = undefined;
  }
}
