/**
 * The runs of a worker that have to stop when their time is over. They share one list and one timer:
 * a timer for each would cost as much as a short task does.
 */

import { Chain, type Member } from "./chain.ts";

/** What can be stopped. */
export interface Stoppable {
  /** When its time is over, in performance.now(); all have the same time from their start. */
  readonly endsAt: number;
  /** Its time is over. */
  timeOut(): void;
}

export class Runs {
  /** Time for each in milliseconds; absent: no limit. */
  readonly limitMs: number | undefined;
  /** In the order of their start. */
  readonly #running = new Chain<Stoppable>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(limitMs: number | undefined) {
    this.limitMs = limitMs;
  }

  /**
   * @returns what to call {@linkcode delete} with, once, when it has ended or been told to stop;
   *   undefined: it may take as long as it likes
   */
  add(run: Stoppable): Member<Stoppable> | undefined {
    if (this.limitMs === undefined) return undefined;
    this.#timer ??= setTimeout(this.#look, this.limitMs);
    return this.#running.add(run);
  }

  delete(member: Member<Stoppable>): void {
    this.#running.delete(member);
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
    for (const run of this.#running.values()) {
      if (run.endsAt > now) {
        this.#timer = setTimeout(this.#look, Math.ceil(run.endsAt - now));
        return;
      }
      run.timeOut();
    }
  };
}
