/**
 * Tells the broker what becomes of a task that was delivered to a worker; nobody else does. A copy
 * for another queue is confirmed before the delivery is acknowledged, and so is an answer to who
 * waits: a power cut between the two duplicates the task or its answer, and never loses it.
 */
import type { Delivery } from "../amqp/consumption.ts";
import { EXIT, ToolError } from "../errors.ts";
import type { Logger } from "../observe/log.ts";
import {
  deadProperties,
  parkedProperties,
  readHistory,
  renewedProperties,
} from "../task/headers.ts";
import { deadMessage, doneMessage, isAwaited } from "../task/answer.ts";
import { type Ack, type Bury, type Decision, giveBack } from "../task/retry.ts";
import { type Task, type TaskProperties, withProperties } from "../task/task.ts";
import {
  deadQueue,
  delayQueue,
  type QueueSpec,
  type QueueType,
  workQueue,
} from "../task/topology.ts";
import type { Answers } from "./answers.ts";
import type { FinishedTasks } from "./finished.ts";
import type { ReturnLimits } from "./return_limits.ts";
import { type Copier, QueueRefused } from "./copier.ts";
import { sleep } from "../time/sleep.ts";

/**
 * How long the first task that cannot be moved is kept before it goes back, doubled for each that
 * follows, up to four minutes.
 */
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_DOUBLINGS = 8;

/** A decision that puts a copy somewhere. */
type Moving = Exclude<Decision, { kind: "ack" }>;

export interface SettlerOptions {
  readonly copier: Copier;
  readonly finished: FinishedTasks;
  readonly returnLimits: ReturnLimits;
  /** Absent: who waits for a task hears nothing. */
  readonly answers?: Answers | undefined;
  /** Type of delay and dead queues that have to be created. */
  readonly queueType: QueueType;
  /** How long dead tasks are kept, in milliseconds; default for ever. */
  readonly deadTtlMs?: number;
  /** Name of this host, for dead letters. */
  readonly host: string;
  readonly log: Logger;
  /** See RetryPolicy. */
  readonly mostReturns?: number | undefined;
  /** So many tasks are here at the same time that nothing is said of those that come back. */
  readonly bulk?: boolean;
  /**
   * Tasks that fail cannot be moved before somebody changes something on the broker: the worker has
   * to end with that status. Resolves when no more tasks come: what goes back earlier would return.
   */
  readonly onRefused: (exitCode: number, reason: string) => Promise<void>;
  /** A task is finished and cannot be acknowledged, because its connection is gone. */
  readonly onOrphaned?: () => void;
}

export class Settler {
  readonly #options: SettlerOptions;
  /** Tasks in a row that could not be moved. */
  #stuck = 0;

  constructor(options: SettlerOptions) {
    this.#options = options;
  }

  /**
   * Carries out a decision. Never rejects; undefined when nothing is to be waited for.
   *
   * @param acked the delivery was acknowledged before the run (at most once): it cannot be given
   *   back, so that a copy takes its place
   * @param signal gives up on a broker that does not take copies
   */
  settle(
    delivery: Delivery,
    decision: Decision,
    signal: AbortSignal,
    acked = false,
  ): Promise<void> | undefined {
    if (!acked && !delivery.live) this.#tooLate(delivery, decision);
    else if (decision.kind === "ack") {
      const answering = this.#answer(delivery.task, decision, signal);
      if (answering !== undefined) return this.#endAfter(answering, delivery, acked);
      this.#end(delivery, acked);
    } else if (delivery.leftOut > 0) {
      // Of a body that is not here there can be no copy.
      delivery.release();
    } else if (decision.kind === "requeue" && !acked) {
      const isReached = this.#options.returnLimits.isReached(delivery.task);
      if (isReached) return this.#move(delivery, { kind: "renew" }, signal, acked);
      delivery.release();
    } else return this.#move(delivery, decision, signal, acked);
    return undefined;
  }

  /**
   * Acknowledges a task that is about to run: at most once.
   *
   * @returns false when it is too late: it must not run
   */
  acknowledgeEarly(delivery: Delivery): boolean {
    const acknowledged = delivery.ack();
    if (acknowledged) this.#note(delivery);
    return acknowledged;
  }

  async #move(
    delivery: Delivery,
    decision: Moving,
    signal: AbortSignal,
    acked: boolean,
  ): Promise<void> {
    try {
      await this.#publish(delivery, decision, signal);
    } catch (error) {
      if (!(error instanceof ToolError)) throw error;
      return await this.#stay(delivery, decision, error, signal, acked);
    }
    this.#stuck = 0;
    if (decision.kind === "bury") await this.#answer(delivery.task, decision, signal);
    // The copy is safe; if the channel has died meanwhile, the original comes back and must not
    // run, nor be copied, again.
    this.#end(delivery, acked);
  }

  /** The task is in its dead queue; whoever waits for it is told. Never rejects. */
  async moved(delivery: Delivery, decision: Bury, signal: AbortSignal): Promise<void> {
    await this.#answer(delivery.task, decision, signal);
    delivery.ack();
  }

  /** Tells who waits how the task ended; undefined when nobody does, or has been told. */
  #answer(task: Task, decision: Ack | Bury, signal: AbortSignal): Promise<void> | undefined {
    const { answers } = this.#options;
    if (answers === undefined || !isAwaited(task)) return undefined;
    if (decision.kind === "bury") return answers.send(task, deadMessage(task, decision), signal);
    if (decision.answered) return undefined;
    return answers.send(task, doneMessage(task, decision.answer), signal);
  }

  async #endAfter(answering: Promise<void>, delivery: Delivery, acked: boolean): Promise<void> {
    await answering;
    this.#end(delivery, acked);
  }

  #end(delivery: Delivery, acked: boolean): void {
    if (!acked) this.#acknowledge(delivery);
  }

  /** A task that cannot be moved goes back to its own queue, and is not to blame. */
  async #stay(
    delivery: Delivery,
    decision: Moving,
    error: ToolError,
    signal: AbortSignal,
    acked: boolean,
  ): Promise<void> {
    const { log, mostReturns, onRefused } = this.#options;
    const { task } = delivery;
    const toItsOwn = decision.kind === "requeue" || decision.kind === "renew";
    const lost = toItsOwn && acked;
    const { queue } = this.#copy(delivery, task, decision);
    log.error(
      `a task cannot be moved to the queue ${JSON.stringify(queue.name)} and ${
        lost ? "is lost, because it was acknowledged early" : "goes back to its own"
      }: ${error.message}`,
      { id: task.id },
    );
    if (!(error instanceof QueueRefused)) await this.#pause(signal);
    else await onRefused(error.exitCode, error.message);
    if (!toItsOwn) {
      await this.settle(delivery, giveBack(readHistory(task), { mostReturns }), signal, acked);
    } else if (!acked) delivery.release();
  }

  /** Before a task goes back that would come again at once, again and again. Never rejects. */
  async #pause(signal: AbortSignal): Promise<void> {
    await sleep(
      FIRST_PAUSE_MS * 2 ** Math.min(this.#stuck++, LONGEST_PAUSE_DOUBLINGS),
      signal,
    );
  }

  #acknowledge(delivery: Delivery): void {
    if (delivery.ack()) this.#note(delivery);
    else this.#tooLate(delivery, { kind: "ack", answered: true });
  }

  #note({ task, lost, bodyBytes, bytes }: Delivery): void {
    this.#options.finished.acknowledged(task, lost, bodyBytes, bytes);
  }

  /**
   * Publishes the copy. One that cannot be encoded, because our headers find no room beside its
   * own, would come back for ever: it is dead, without its headers.
   */
  async #publish(delivery: Delivery, decision: Moving, signal: AbortSignal): Promise<void> {
    const { copier, log } = this.#options;
    const { task } = delivery;
    const copy = this.#copy(delivery, task, decision);
    try {
      await copier.publish(copy.queue, task.body, copy.properties, signal, task);
    } catch (error) {
      if (!(error instanceof ToolError) || error.exitCode !== EXIT.badData) throw error;
      log.error(`a task is dead, without its headers: ${error.message}`, { id: task.id });
      const { attempts } = readHistory(task);
      const { headers: _, ...properties } = task.properties;
      const bare = this.#copy(delivery, withProperties(task, properties), {
        kind: "bury",
        reason: "rejected",
        attempts: "attempts" in decision ? decision.attempts : attempts,
        failure: { reason: error.message },
      });
      await copier.publish(bare.queue, task.body, bare.properties, signal, task);
    }
  }

  #tooLate(delivery: Delivery, decision: Decision): void {
    if (decision.kind === "requeue" || decision.kind === "renew") return;
    this.#options.finished.remember(delivery.task, decision);
    this.#options.onOrphaned?.();
    if (this.#options.bulk) return;
    this.#options.log.warn(
      "orphaned-result: a task is finished, but the connection that brought it is gone; the " +
        "broker delivers it again if its queue is still there",
      { id: delivery.task.id },
    );
  }

  #copy(
    delivery: Delivery,
    task: Task,
    decision: Moving,
  ): { queue: QueueSpec; properties: TaskProperties } {
    const { queueType, deadTtlMs, host } = this.#options;
    const heldMs = performance.now() - delivery.since;
    switch (decision.kind) {
      case "park":
        return {
          queue: delayQueue(task.queue, decision.tierMs, queueType),
          properties: parkedProperties(
            task,
            { ...decision, waitMs: decision.leftMs },
            heldMs + decision.tierMs,
          ),
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
          }, Date.now()),
        };
      }
      case "requeue":
      case "renew": {
        const { attempts, crashes, waitMs } = readHistory(task);
        const past = { crashes, ...decision, attempts, waitMs };
        return {
          queue: workQueue(task.queue, queueType),
          properties: renewedProperties(task, past, heldMs),
        };
      }
    }
  }
}
