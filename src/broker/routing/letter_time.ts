/** Time for the dead letters that are on their way, when something goes which they may still need. */

import type { Scheduler, Work } from "../../time/scheduler.ts";

/**
 * Milliseconds for the dead letters so far before a queue, an exchange or a binding goes, which then
 * takes them another way.
 */
const LETTERS_MS = 5;

/** Milliseconds until they get such time again, when it was not enough: many queues may go at once. */
const PAUSE_MS = 50;

export class LetterTime {
  readonly #scheduler: Scheduler;
  readonly #letters: Work;
  /** When they may be given time again; by `performance.now`. */
  #from = 0;

  constructor(scheduler: Scheduler, letters: Work) {
    this.#scheduler = scheduler;
    this.#letters = letters;
  }

  /** Sends them now, as far as there is time. */
  give(): void {
    if (performance.now() < this.#from) return;
    const isDone = this.#scheduler.rush(this.#letters, LETTERS_MS);
    if (!isDone) this.#from = performance.now() + PAUSE_MS;
  }
}
