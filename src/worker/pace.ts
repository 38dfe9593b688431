/** Lets tasks start at a limited rate, evenly: one every 1/rate seconds, no bursts. */
export class Pace {
  readonly #intervalMs: number;
  /** performance.now() from which the next task may start. */
  #next = 0;
  #stopped = false;
  readonly #waiting = new Map<ReturnType<typeof setTimeout>, () => void>();

  /** @param perSecond more than 0 */
  constructor(perSecond: number) {
    this.#intervalMs = 1_000 / perSecond;
  }

  /** Resolves when the caller may start, or after `stop`. */
  async turn(): Promise<void> {
    const now = performance.now();
    const start = Math.max(now, this.#next);
    this.#next = start + this.#intervalMs;
    if (start <= now || this.#stopped) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(timer);
        resolve();
      }, start - now);
      this.#waiting.set(timer, resolve);
    });
  }

  /** Nobody waits any more. */
  stop(): void {
    this.#stopped = true;
    for (const [timer, resolve] of this.#waiting) {
      clearTimeout(timer);
      resolve();
    }
    this.#waiting.clear();
  }
}
