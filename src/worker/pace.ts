/** Lets tasks start at a limited rate, evenly: one every 1/rate seconds, no bursts. */
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
      if (this.#timer === undefined) this.#go();
    });
  }

  /** Nobody waits any more. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    for (const end of [...this.#waiting]) end();
  }

  /** Whoever is first starts if it is time, and the timer is set for the next one. */
  readonly #go = (): void => {
    this.#timer = undefined;
    const [first] = this.#waiting;
    if (first === undefined) return;
    const now = performance.now();
    if (now >= this.#next) {
      this.#next = now + this.#intervalMs;
      first();
    }
    this.#timer = setTimeout(this.#go, this.#next - now);
  };
}
