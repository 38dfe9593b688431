/** Deletes the rows of purged messages piece by piece, between other work. */

import type { Store } from "./store.ts";

/** Milliseconds between two deletions, for other work; and while they fail. */
const PAUSE_MS = 5;
const RETRY_MS = 1_000;

export class Sweeper {
  readonly #store: Store;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #stopped = false;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Begins, if there are any, and goes on by itself while there are. */
  start(): void {
    if (this.#timer !== undefined || !this.#store.hasDiscarded || this.#stopped) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#store.sweep();
      this.start();
    }, this.#store.isFailing ? RETRY_MS : PAUSE_MS);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }
}
