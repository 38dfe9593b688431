/** The time of those who serve the page's clients: all of it together is short at a time. */

/** Milliseconds until others have their turn. */
const SLICE_MS = 2;
const PAUSE_MS = 2;

export class Turns {
  #end = 0;
  #last: Promise<void> = Promise.resolve();

  /** Resolves when there is time, for one after another. */
  next(): Promise<void> {
    return this.#last = this.#last.then(() => this.#begin());
  }

  /** Whether who has the turn may go on. */
  get hasTime(): boolean {
    return performance.now() < this.#end;
  }

  async #begin(): Promise<void> {
    if (this.hasTime) return;
    const isRested = performance.now() >= this.#end + PAUSE_MS;
    if (!isRested) await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    this.#end = performance.now() + SLICE_MS;
  }
}
