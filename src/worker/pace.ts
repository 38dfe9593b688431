/**
 * Timers are late, in milliseconds: what has become due meanwhile starts at once, so that rates are
 * kept that have more than one task for each tick of a timer.
 */
const LATE_MS = 20;

/** Lets tasks start at a limited rate, evenly: one every 1/rate seconds. */
export class Pace {
  readonly #intervalMs: number;
  /** performance.now() from which the next task may start. */
  #next = 0;
  #stopped = false;
  /** In the order of their turns. */
  readonly #waiting = new Set<() => void>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param perSecond more than 0 */
  constructor(perSecond: number) {
    this.#intervalMs = 1_000 / perSecond;
  }

  /**
   * Resolves when the caller may start; also after `stop`, and when `lost` aborts, whose turn is
   * then the next one's.
   */
  turn(lost: AbortSignal): Promise<void> {
    if (this.#stopped || lost.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const end = () => {
        this.#waiting.delete(end);
        lost.removeEventListener("abort", end);
        resolve();
      };
      lost.addEventListener("abort", end);
      this.#waiting.add(end);
      if (this.#timer !== undefined) return;
      // What nobody has used is not kept.
      this.#next = Math.max(this.#next, performance.now());
      this.#go();
    });
  }

  /** Nobody waits any more. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    for (const end of [...this.#waiting]) end();
  }

  /** Those whose time has come start, and the timer is set for the next one. */
  readonly #go = (): void => {
    this.#timer = undefined;
    const now = performance.now();
    for (const first of this.#waiting) {
      if (now < this.#next) break;
      this.#next = Math.max(this.#next, now - LATE_MS) + this.#intervalMs;
      first();
    }
    if (this.#waiting.size > 0 || now < this.#next) {
      this.#timer = setTimeout(this.#go, Math.max(0, this.#next - now));
    }
  };
}
