/** What a worker is told. */
import type { MessageTracing } from "../amqp/message_tracing.ts";
import type { QueuePolicy } from "../amqp/declare.ts";
import type { ClientIdentity } from "../amqp/client_identity.ts";
import type { Endpoint } from "../amqp/url.ts";
import type { Logger } from "../observe/log.ts";
import type { DirectHandler, Handler } from "../task/handler.ts";
import type { RetryPolicy } from "../task/retry.ts";
import type { QueueType } from "../task/topology.ts";
import type { Dedupe } from "./dedupe.ts";
import type { WorkerLimits } from "./limits.ts";
import type { EndedRun } from "./task_log.ts";
import type { TaskRoom } from "./task_room.ts";
import type { WindowSize } from "./window.ts";

/** A queue and how many of its tasks may be here at the same time. */
export interface WorkerQueue {
  readonly policy: QueuePolicy;
  readonly prefetch: number;
}

export interface WorkerOptions extends WorkerLimits {
  readonly endpoints: readonly Endpoint[];
  readonly identity: ClientIdentity;
  /** At least one. */
  readonly queues: readonly WorkerQueue[];
  readonly handler: Handler | DirectHandler;
  /** The handler keeps no task's body: its memory is given back when it is done; default false. */
  readonly freeBodies?: boolean;
  readonly log: Logger;
  /** Runs, and what is published because of them, are traced. */
  readonly tracing?: MessageTracing | undefined;
  /** The queues are served in strict order, with so many tasks at the same time. */
  readonly strictPlaces?: number;
  /** Default {@linkcode DEFAULT_POLICY}. */
  readonly retries?: RetryPolicy;
  /** Type of delay and dead queues that have to be created; default quorum. */
  readonly queueType?: QueueType;
  /** How long dead tasks are kept, in milliseconds; default for ever. */
  readonly deadTtlMs?: number;
  /** Name of this host, for dead letters. */
  readonly hostname: string;
  /** Time for one task, in milliseconds; default none. */
  readonly timeoutMs?: number;
  /** How long a handler that was told to stop may take, in milliseconds; default 10 s. */
  readonly stopMs?: number;
  /** How long running tasks may go on after `drain`, in milliseconds; default 25 s. */
  readonly graceMs?: number;
  /** Acknowledge before the run: at most once. */
  readonly ackEarly?: boolean;
  /** Stop tasks whose connection is lost. */
  readonly killOnDisconnect?: boolean;
  /** At most so many starts a second. */
  readonly rate?: number;
  readonly dedupe?: Dedupe;
  /** Whether who waits for a task (its `reply_to`) is told of its end; default true. */
  readonly reply?: boolean;
  /** One log line for each task; default false. */
  readonly summarize?: boolean;
  /** Default for ever, or 30 s for a worker that another of its limits ends. */
  readonly connectTimeoutMs?: number;
  /** Status of `run` when a limit ended it; default 0. */
  readonly limitExitCode?: number;
  /**
   * As many tasks are taken from each queue as this allows, whatever their `prefetch`; what happens
   * to many of them is not told for each.
   */
  readonly window?: WindowSize;
  /** Memory for bodies of each queue; default without a limit. */
  readonly room?: TaskRoom;
  /** Tasks go to workers of a lower one only when those of a higher one are busy; default 0. */
  readonly consumerPriority?: number;
  /** Called after each run. */
  readonly onRun?: (run: EndedRun) => void;
  /** Called once, when all queues are consumed. */
  readonly onReady?: () => void;
  /**
   * Called once, when no more tasks are to be begun. `overdue` aborts when the grace is over.
   * `stopped` resolves when no more come: what goes back before that may come again, behind others.
   */
  readonly onDrain?: (overdue: AbortSignal, stopped: Promise<unknown>) => void;
}
