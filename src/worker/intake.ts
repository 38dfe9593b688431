/** How many tasks of a queue the broker sends when nothing but we ourselves holds it back. */
import type { Consumer } from "../amqp/consumer.ts";
import type { Delivery } from "../amqp/consumption.ts";

/**
 * Acknowledged before it runs, a task makes room for the next one in the broker's eyes, and that
 * one would wait here, unacknowledged, until the broker takes it back and counts a crash. So none
 * is sent while all that may run are running.
 */
export class EarlyIntake {
  readonly #consumer: Pick<Consumer, "hold" | "resume">;
  readonly #most: number;
  readonly #run: (delivery: Delivery) => Promise<void>;
  #running = 0;

  /**
   * @param consumer has one delivery at a time sent (prefetch 1)
   * @param most how many tasks of its queue may run at the same time
   * @param run acknowledges a task, runs it and never rejects
   */
  constructor(
    consumer: Pick<Consumer, "hold" | "resume">,
    most: number,
    run: (delivery: Delivery) => Promise<void>,
  ) {
    this.#consumer = consumer;
    this.#most = most;
    this.#run = run;
  }

  /** Never rejects. */
  async take(delivery: Delivery): Promise<void> {
    if (++this.#running >= this.#most) await this.#consumer.hold(this);
    await this.#run(delivery);
    if (this.#running-- === this.#most) this.#consumer.resume(this);
  }
}
