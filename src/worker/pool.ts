/** Runs deliveries at the same time; the broker's prefetch keeps their number in bounds. */
import type { Delivery } from "../amqp/consumer.ts";
import { EXIT } from "../errors.ts";
import type { Logger } from "../observe/log.ts";
import type { Handler, Outcome } from "../task/handler.ts";
import { readHistory } from "../task/headers.ts";
import { admit, decide, type Decision, type RetryPolicy } from "../task/retry.ts";
import type { Dedupe } from "./dedupe.ts";
import { execute } from "./execute.ts";
import type { FinishedTasks } from "./finished.ts";
import type { Pace } from "./pace.ts";
import type { Settler } from "./settle.ts";

export interface PoolOptions {
  readonly handler: Handler;
  readonly policy: RetryPolicy;
  readonly settler: Settler;
  readonly finished: FinishedTasks;
  readonly log: Logger;
  /** Time for one task in milliseconds; absent: no limit. */
  readonly timeoutMs?: number;
  /** How long a handler that was told to stop may take, in milliseconds. */
  readonly stopMs: number;
  /** Acknowledge before the run: at most once. */
  readonly ackEarly?: boolean;
  /** Stop the task when the connection that brought it is lost. */
  readonly killOnDisconnect?: boolean;
  /** At most so many starts a second. */
  readonly pace?: Pace;
  /** Tasks that succeeded on this host before. */
  readonly dedupe?: Dedupe;
  /** One log line for each task. */
  readonly summarize?: boolean;
  /** Called when a task starts or ends, after the counters have changed. */
  readonly onChange?: () => void;
  /** This host cannot do such work: the worker has to end with that status. */
  readonly onUnable?: (exitCode: number, reason: string) => void;
}

/** Counted since the start. */
export interface PoolCounts {
  readonly started: number;
  readonly done: number;
  readonly retried: number;
  readonly dead: number;
  readonly returned: number;
}

export class Pool {
  readonly #options: PoolOptions;
  readonly #abort = new AbortController();
  readonly #counts = { started: 0, done: 0, retried: 0, dead: 0, returned: 0 };
  /** Tasks taken and not settled yet. */
  #running = 0;
  #draining = false;
  #idleWaiters: (() => void)[] = [];

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /** Tasks taken and not settled yet. */
  get running(): number {
    return this.#running;
  }

  get counts(): PoolCounts {
    return this.#counts;
  }

  /** Runs a task and settles it. Never rejects. */
  async run(delivery: Delivery): Promise<void> {
    if (this.#draining) {
      delivery.release();
      return;
    }
    this.#running++;
    try {
      await this.#process(delivery);
    } catch (error) {
      // A fault of ours: the task must not be lost with it, nor the worker.
      this.#options.log.error(`a fault in this program: ${error}`, { id: delivery.task.id });
      delivery.release();
    }
    this.#running--;
    this.#options.onChange?.();
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

  /** Starts no more tasks; those that come, or wait for their turn, go back. */
  drain(): void {
    this.#draining = true;
    this.#options.pace?.stop();
  }

  /** Asks every running task to stop; they end as interrupted. */
  interrupt(): void {
    this.drain();
    this.#abort.abort();
  }

  async #process(delivery: Delivery): Promise<void> {
    const { policy, settler, finished, dedupe, pace } = this.#options;
    const { task } = delivery;
    const remembered = finished.take(task);
    if (remembered !== undefined) return await this.#settle(delivery, remembered);
    if (dedupe?.has(task)) {
      this.#options.log.info("a task has already succeeded on this host and is skipped", {
        id: task.id,
      });
      return await this.#settle(delivery, { kind: "ack" });
    }
    const history = readHistory(task);
    const admission = admit(history, task.redelivered, policy, Date.now());
    if (admission.kind !== "run") return await this.#settle(delivery, admission);
    await pace?.turn();
    if (this.#draining) return void delivery.release();

    const early = this.#options.ackEarly === true;
    if (early && !delivery.ack()) return;
    this.#counts.started++;
    this.#options.onChange?.();
    const started = performance.now();
    const outcome = await this.#execute(delivery, admission.attempt);
    if (outcome.kind === "done") dedupe?.add(task);
    const decision = decide(outcome, history, policy, Math.random(), Date.now());
    this.#count(decision);
    this.#report(delivery, admission.attempt, outcome, decision, performance.now() - started);
    await settler.settle(delivery, decision, this.#abort.signal, early);
    if (outcome.kind === "unable") this.#options.onUnable?.(outcome.exitCode, outcome.reason);
  }

  async #settle(delivery: Delivery, decision: Decision): Promise<void> {
    this.#count(decision);
    if (decision.kind === "bury") {
      this.#options.log.warn(`a task goes to the dead queue: ${decision.reason}`, {
        id: delivery.task.id,
      });
    }
    await this.#options.settler.settle(delivery, decision, this.#abort.signal);
  }

  async #execute(delivery: Delivery, attempt: number): Promise<Outcome> {
    const { handler, policy, timeoutMs, stopMs, log } = this.#options;
    const interrupt = this.#options.killOnDisconnect
      ? AbortSignal.any([this.#abort.signal, delivery.lost])
      : this.#abort.signal;
    return await execute(handler, delivery.task, {
      attempt,
      maxAttempts: policy.maxAttempts,
      interrupt,
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
      stopMs,
      onHung: () => {
        const reason = "the handler of a task does not stop when it is told to";
        log.error(reason, { id: delivery.task.id });
        this.#options.onUnable?.(EXIT.internal, reason);
      },
    });
  }

  #count(decision: Decision): void {
    const counter = {
      ack: "done",
      park: "retried",
      bury: "dead",
      requeue: "returned",
      renew: "returned",
    } as const;
    this.#counts[counter[decision.kind]]++;
  }

  #report(
    { task }: Delivery,
    attempt: number,
    outcome: Outcome,
    decision: Decision,
    ms: number,
  ): void {
    const { log, summarize } = this.#options;
    if (outcome.kind === "done" && !summarize) return;
    const fields = {
      id: task.id,
      attempt,
      ...("exitCode" in outcome ? { code: outcome.exitCode } : {}),
      ms: Math.round(ms),
    };
    switch (decision.kind) {
      case "ack":
        return log.info("done", fields);
      case "park": {
        const why = decision.error === undefined ? "waits" : `failed (${decision.error}), waits`;
        return log.warn(`${why} ${decision.tierMs / 1_000} s`, fields);
      }
      case "bury":
        return log.error(`dead (${decision.reason}): ${decision.failure?.reason}`, fields);
      case "requeue":
      case "renew":
        return log.warn("goes back to the queue", fields);
    }
  }
}
