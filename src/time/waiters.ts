/** Those who wait until something has happened, and are woken all at once. */
export class Waiters {
  #resume: (() => void)[] = [];

  /** Resolves with the next {@linkcode wake}. */
  wait(): Promise<void> {
    return new Promise((resolve) => this.#resume.push(resolve));
  }

  wake(): void {
    if (this.#resume.length === 0) return;
    const waiting = this.#resume;
    this.#resume = [];
    for (const resume of waiting) resume();
  }
}
