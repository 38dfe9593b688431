/**
 * Which bodies a broker is known to take. It closes the channel of one that is over its limit, and
 * with it the way of all the answers that are to come on that channel: so a body that is larger than
 * any before it goes over a channel of its own, and the others wait until it is known what became
 * of that.
 */

/** No broker's limit is below, in bytes: RabbitMQ's is 16 MB or more. */
const SURELY_TAKEN = 1024;

export class TakenSizes {
  /** Of the largest body that was taken. */
  #largest = SURELY_TAKEN;
  /** One is under way alone. */
  #isTrying = false;
  /** Those that wait for what becomes of it, in order. */
  #waiting: { readonly size: number; readonly goOn: () => void }[] = [];

  /**
   * Sends a body in the way that costs no other.
   *
   * @param size of it, in bytes
   * @param together sends it on the channel that all share
   * @param alone sends it on one of its own; resolves with true when it was taken
   */
  async send(
    size: number,
    together: () => Promise<void>,
    alone: () => Promise<boolean>,
  ): Promise<void> {
    if (size > this.#largest && this.#isTrying) {
      await new Promise<void>((goOn) => this.#waiting.push({ size, goOn }));
    }
    if (size <= this.#largest) return await together();
    this.#isTrying = true;
    try {
      if (await alone()) this.#largest = Math.max(this.#largest, size);
    } finally {
      this.#tried();
    }
  }

  /** All go on that surely are taken, and the first of the others is tried. */
  #tried(): void {
    const waiting = this.#waiting;
    const next = waiting.find(({ size }) => size > this.#largest);
    this.#isTrying = next !== undefined;
    this.#waiting = waiting.filter(({ size }) => size > this.#largest).slice(1);
    for (const one of waiting) if (one === next || one.size <= this.#largest) one.goOn();
  }
}
