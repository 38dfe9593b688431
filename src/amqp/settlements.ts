/**
 * When it is safe to close a channel on which deliveries were settled.
 *
 * RabbitMQ sends a channel's settlements for a quorum queue on to it until 32 are unanswered. The
 * others stay in the channel until answers come, and are forgotten when it closes: finished tasks
 * would run again. (rabbit_fifo_client's soft limit; seen on 3.10 with 150 acknowledgements at once,
 * of which 117 were lost.) Settlements are not answered over AMQP, so only time tells.
 */
import { pause } from "../time/timer.ts";
import { turnTime } from "../time/turn_time.ts";

/** Settlements that may be unanswered without any being held back. */
const SENT_ON_AT_ONCE = 32;
/** How long a queue takes to answer at worst, in milliseconds. */
export const ANSWER_MS = 1_000;

/** The times of the last settlements of a channel. */
export class Settlements {
  /** In performance.now(); a ring. */
  readonly #times = new Float64Array(SENT_ON_AT_ONCE).fill(-Infinity);
  #next = 0;

  /** The broker was told about a delivery. */
  note(): void {
    this.#times[this.#next] = turnTime();
    this.#next = (this.#next + 1) % SENT_ON_AT_ONCE;
  }

  /**
   * Resolves when RabbitMQ holds no settlement back any more.
   *
   * @returns whether it may have held any
   */
  async untilSentOn(): Promise<boolean> {
    // The oldest of the last 32: if it is long ago, the queue has answered what came before it.
    const left = this.#times[this.#next]! + ANSWER_MS - performance.now();
    if (left <= 0) return false;
    await pause(left);
    return true;
  }
}
