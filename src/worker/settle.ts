/**
 * The only place that tells the broker what becomes of a delivery. A copy for another queue is
 * confirmed before the delivery is acknowledged: a power cut between the two duplicates the task
 * and never loses it.
 */
import type { Delivery } from "../amqp/consumer.ts";
import { ToolError } from "../errors.ts";
import type { Logger } from "../observe/log.ts";
import { deadProperties, parkedProperties, readHistory } from "../task/headers.ts";
import type { Decision } from "../task/retry.ts";
import type { TaskProperties } from "../task/task.ts";
import {
  deadQueue,
  delayQueue,
  type QueueSpec,
  type QueueType,
  workQueue,
} from "../task/topology.ts";
import type { FinishedTasks } from "./finished.ts";
import type { Forwarder } from "./forward.ts";

export interface SettlerOptions {
  readonly forwarder: Forwarder;
  readonly finished: FinishedTasks;
  /** Type of delay and dead queues that have to be created. */
  readonly queueType: QueueType;
  /** How long dead tasks are kept, in milliseconds; default for ever. */
  readonly deadTtlMs?: number;
  /** Name of this host, for dead letters. */
  readonly host: string;
  readonly log: Logger;
}

export class Settler {
  readonly #options: SettlerOptions;

  constructor(options: SettlerOptions) {
    this.#options = options;
  }

  /**
   * Carries out a decision. Never rejects.
   *
   * @param acked the delivery was acknowledged before the run (at most once): it cannot be given
   *   back, so that a copy takes its place
   * @param signal gives up on a broker that does not take copies
   */
  async settle(
    delivery: Delivery,
    decision: Decision,
    signal: AbortSignal,
    acked = false,
  ): Promise<void> {
    const { task } = delivery;
    if (!acked && !delivery.live) return this.#tooLate(delivery, decision);
    if (decision.kind === "ack") {
      if (!acked) delivery.ack();
      return;
    }
    if (decision.kind === "requeue" && !acked) {
      delivery.release();
      return;
    }
    const copy = this.#copy(delivery, decision);
    try {
      await this.#options.forwarder.publish(copy.queue, task.body, copy.properties, signal);
    } catch (error) {
      if (!(error instanceof ToolError)) throw error;
      this.#options.log.error(
        `a task cannot be moved to the queue ${JSON.stringify(copy.queue.name)} and ${
          acked ? "is lost, because it was acknowledged early" : "goes back to its own"
        }: ${error.message}`,
        { id: task.id },
      );
      if (!acked) delivery.reject();
      return;
    }
    // The copy is safe; if the channel has died meanwhile, the original comes back and must not
    // run, nor be copied, again.
    if (!acked && !delivery.ack()) this.#tooLate(delivery, { kind: "ack" });
  }

  #tooLate(delivery: Delivery, decision: Decision): void {
    if (decision.kind === "requeue" || decision.kind === "renew") return;
    this.#options.finished.remember(delivery.task, decision);
    this.#options.log.warn(
      "orphaned-result: a task is finished, but the connection that brought it is gone; the " +
        "broker will deliver it again",
      { id: delivery.task.id },
    );
  }

  #copy(
    { task }: Delivery,
    decision: Exclude<Decision, { kind: "ack" }>,
  ): { queue: QueueSpec; properties: TaskProperties } {
    const { queueType, deadTtlMs, host } = this.#options;
    const now = Date.now();
    switch (decision.kind) {
      case "park":
        return {
          queue: delayQueue(task.queue, decision.tierMs, queueType),
          properties: parkedProperties(task, decision, now),
        };
      case "bury": {
        const { reason, attempts, failure } = decision;
        return {
          queue: deadQueue(task.queue, queueType, deadTtlMs),
          properties: deadProperties(task, {
            reason,
            attempts,
            host,
            ...(failure === undefined ? {} : { error: failure.reason, ...failure, reason }),
          }, now),
        };
      }
      case "requeue":
      case "renew": {
        const { attempts } = readHistory(task);
        return {
          queue: workQueue(task.queue, queueType),
          properties: parkedProperties(task, { attempts }, now),
        };
      }
    }
  }
}
