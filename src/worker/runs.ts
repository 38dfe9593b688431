/**
 * Everything that runs: what has to stop when the worker ends, or when its time is over. One set and
 * one timer for all, because a listener and a timer for each cost as much as a short task does.
 */

/** What can be stopped. */
export interface Stoppable {
  /** When its time is over, in performance.now(); all have the same time from their start. */
  readonly endsAt: number;
  /** Its time is over. */
  timeOut(): void;
  /** The worker ends. */
  interrupt(): void;
}

export class Runs {
  /** Time for each in milliseconds; absent: no limit. */
  readonly limitMs: number | undefined;
  /** In the order of their start. */
  readonly #running = new Set<Stoppable>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(limitMs: number | undefined) {
    this.limitMs = limitMs;
  }

  add(run: Stoppable): void {
    this.#running.add(run);
    if (this.limitMs !== undefined) this.#timer ??= setTimeout(this.#look, this.limitMs);
  }

  delete(run: Stoppable): void {
    this.#running.delete(run);
  }

  interrupt(): void {
    for (const run of [...this.#running]) run.interrupt();
  }

  /** Ends the timer if nothing runs; it goes on until the time of the run that set it is over. */
  rest(): void {
    if (this.#running.size > 0) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  readonly #look = (): void => {
    this.#timer = undefined;
    const now = performance.now();
    for (const run of [...this.#running]) {
      if (run.endsAt > now) {
        this.#timer = setTimeout(this.#look, Math.ceil(run.endsAt - now));
        return;
      }
      run.timeOut();
    }
  };
}
