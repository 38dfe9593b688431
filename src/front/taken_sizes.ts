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
  #trial: Promise<unknown> | undefined;

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
    while (size > this.#largest && this.#trial !== undefined) await this.#trial;
    if (size <= this.#largest) return await together();
    const trial = alone().then((wasTaken) => {
      if (wasTaken) this.#largest = Math.max(this.#largest, size);
    });
    this.#trial = trial.catch(() => {}).finally(() => this.#trial = undefined);
    await trial;
  }
}
