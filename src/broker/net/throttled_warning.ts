/** A warning about what strangers can cause as often as they like: one line in a minute. */

/** Milliseconds between two lines about the same thing. */
const PAUSE_MS = 60_000;

export class ThrottledWarning {
  #last = -Infinity;
  #silent = 0;

  /** @param say given how often it happened since it was last said, this time included */
  happened(say: (times: number) => void): void {
    this.#silent++;
    const now = performance.now();
    if (now - this.#last < PAUSE_MS) return;
    this.#last = now;
    say(this.#silent);
    this.#silent = 0;
  }
}
