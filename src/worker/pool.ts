/** Runs deliveries at the same time; the broker's prefetch keeps their number in bounds. */
import type { Delivery } from "../amqp/consumer.ts";
import type { Logger } from "../observe/log.ts";
import type { Handler } from "../task/handler.ts";
import { execute } from "./execute.ts";
import { settle } from "./settle.ts";

export interface PoolOptions {
  readonly handler: Handler;
  readonly log: Logger;
}

export class Pool {
  readonly #options: PoolOptions;
  readonly #abort = new AbortController();
  /** Tasks running now. */
  #running = 0;
  #idleWaiters: (() => void)[] = [];

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /** Tasks running now. */
  get running(): number {
    return this.#running;
  }

  /** Runs a task and settles it. Never throws. */
  async run(delivery: Delivery): Promise<void> {
    const { handler, log } = this.#options;
    this.#running++;
    const outcome = await execute(handler, delivery.task, {
      signal: this.#abort.signal,
      attempt: 1,
    });
    settle(delivery, outcome, log);
    this.#running--;
    if (this.#running > 0) return;
    const waiters = this.#idleWaiters;
    this.#idleWaiters = [];
    for (const resume of waiters) resume();
  }

  /** Resolves when no task is running. */
  idle(): Promise<void> {
    if (this.#running === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  /** Asks every running task to stop; they end as interrupted. */
  interrupt(): void {
    this.#abort.abort();
  }
}
