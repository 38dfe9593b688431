/** Work that many ask for and that is done once for all of them. */

/**
 * After work there is a pause that is as many times as long, or as many milliseconds: however many
 * ask, most of the time is for others.
 */
const PAUSE_TIMES = 4;
const MOST_PAUSE_MS = 1_000;

/**
 * Who asks is told what was begun after he asked, never less than what is so then. Those who ask
 * while the work goes on, or in the pause behind it, are told the next, together.
 */
export class Shared<T> {
  readonly #work: () => Promise<T>;
  #running: Promise<unknown> | undefined;
  #next: Promise<T> | undefined;
  /** In performance.now(). */
  #pauseEnd = 0;

  constructor(work: () => Promise<T>) {
    this.#work = work;
  }

  get(): Promise<T> {
    return this.#next ??= this.#begin();
  }

  /** Whether who asks now would have to wait for his turn. */
  get isBusy(): boolean {
    return this.#next !== undefined || this.#running !== undefined ||
      performance.now() < this.#pauseEnd;
  }

  async #begin(): Promise<T> {
    await this.#running;
    const left = this.#pauseEnd - performance.now();
    if (left > 0) await new Promise((resolve) => setTimeout(resolve, left));
    this.#next = undefined;
    const start = performance.now();
    const result = this.#work();
    this.#running = result.catch(() => {}).then(() => {
      this.#running = undefined;
      const end = performance.now();
      this.#pauseEnd = end + Math.min(MOST_PAUSE_MS, PAUSE_TIMES * (end - start));
    });
    return await result;
  }
}
