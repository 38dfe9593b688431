/** The end of a worker: no more tasks come, and what runs has its grace. */
import type { Consumer } from "../amqp/consumer.ts";
import type { Logger } from "../observe/log.ts";
import { formatDuration } from "../task/duration.ts";
import type { WorkerOptions } from "./options.ts";
import type { Pool } from "./pool.ts";

/** How long a broker that does not answer is waited for when no task is running, in milliseconds. */
const IDLE_GRACE_MS = 2_000;
/** How long a copy may still take to be confirmed after the grace is over, in milliseconds. */
const LAST_CONFIRM_MS = 5_000;

export interface DrainParts {
  readonly consumers: readonly Consumer[];
  readonly pool: Pool;
  /** What runs may take, in milliseconds. */
  readonly graceMs: number;
  /** What a handler that was told to stop may take, in milliseconds. */
  readonly stopMs: number;
  /** Told at once; see {@linkcode WorkerOptions.onDrain}. */
  readonly onDrain?: WorkerOptions["onDrain"] | undefined;
  /** Told when copies and answers have had their time, too. */
  readonly onLate: () => void;
  readonly log: Logger;
}

export class Drain {
  /** Resolves when no more tasks come, or the grace is over. */
  readonly stopped: Promise<unknown>;
  readonly #parts: DrainParts;
  readonly #overdue = new AbortController();
  readonly #graceOver = Promise.withResolvers<void>();
  #isOver = false;
  /** Timers of the grace and of the time after it. */
  #interrupting: ReturnType<typeof setTimeout> | undefined;
  #closing: ReturnType<typeof setTimeout> | undefined;

  /** Begins. */
  constructor(parts: DrainParts) {
    this.#parts = parts;
    this.stopped = Promise.race([
      this.#graceOver.promise,
      Promise.all(parts.consumers.map((consumer) => consumer.stop())),
    ]);
    // Before the pool: what it had first goes back first.
    parts.onDrain?.(this.#overdue.signal, this.stopped);
    parts.pool.drain(this.stopped);
  }

  /** Starts the grace of what still runs, once. */
  hurry(): void {
    if (this.#isOver) return;
    const { graceMs, pool } = this.#parts;
    // A broker that does not answer must not make the end later than the tasks do.
    const patience = pool.taken > 0 ? graceMs : Math.min(graceMs, IDLE_GRACE_MS);
    this.#interrupting ??= setTimeout(() => this.#interrupt(), patience);
  }

  #interrupt(): void {
    const { onLate, pool, stopMs } = this.#parts;
    this.#graceOver.resolve();
    pool.interrupt();
    this.#overdue.abort();
    this.#closing = setTimeout(onLate, stopMs + LAST_CONFIRM_MS);
  }

  /**
   * Resolves when all is over.
   *
   * @param patiently what runs takes the time it needs, until somebody calls {@linkcode hurry}
   */
  async finish(patiently: boolean): Promise<void> {
    const { consumers, graceMs, log, pool } = this.#parts;
    if (pool.taken > 0) {
      const limit = patiently ? "" : `up to ${formatDuration(graceMs)} `;
      log.info(`no more tasks; waiting ${limit}for ${pool.taken} running`);
    }
    if (!patiently || pool.taken === 0) this.hurry();
    else pool.idle().then(() => this.hurry());
    await this.stopped;
    await pool.idle();
    this.#isOver = true;
    clearTimeout(this.#interrupting);
    clearTimeout(this.#closing);
    await Promise.all(consumers.map((consumer) => consumer.close()));
  }
}
