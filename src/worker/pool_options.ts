/** What a pool is made with, and what it tells of itself. */
import type { MessageTracing } from "../amqp/message_tracing.ts";
import type { Logger } from "../observe/log.ts";
import type { DirectHandler, Handler } from "../task/handler.ts";
import type { Task } from "../task/task.ts";
import type { RetryPolicy } from "../task/retry.ts";
import type { Answers } from "./answers.ts";
import type { Dedupe } from "./dedupe.ts";
import type { FinishedTasks } from "./finished.ts";
import type { Oversize } from "./oversize.ts";
import type { Pace } from "./pace.ts";
import type { Settler } from "./settle.ts";
import type { Starts } from "./starts.ts";
import type { EndedRun, Fate } from "./task_log.ts";

export interface PoolOptions {
  readonly handler: Handler | DirectHandler;
  /** Nobody keeps a task's body: its memory is given back when the task is done. */
  readonly freeBodies?: boolean;
  /** Tasks that may run at the same time. */
  readonly concurrency: number;
  readonly policy: RetryPolicy;
  readonly settler: Settler;
  readonly starts: Starts;
  readonly finished: FinishedTasks;
  /** Takes tasks whose bodies are not here. */
  readonly oversize: Pick<Oversize, "refuse">;
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
  /** Tells who waits how far a task is. */
  readonly answers?: Answers | undefined;
  /** Runs are traced. */
  readonly tracing?: MessageTracing | undefined;
  /** One log line for each task. */
  readonly summarize?: boolean;
  /** So many run at the same time that nothing is said of tasks that come or go back. */
  readonly bulk?: boolean;
  /** Called after each run. */
  readonly onRun?: (run: EndedRun) => void;
  /** Called when a task starts or ends, after the counters have changed. */
  readonly onChange?: () => void;
  /**
   * This host cannot do such work: the worker has to end with that status. Resolves when no more
   * tasks come: what goes back earlier would return.
   */
  readonly onUnable?: (exitCode: number, reason: string) => Promise<void>;
}

/** Counted since the start. */
export interface PoolCounts extends Readonly<Record<Fate, number>> {
  readonly started: number;
}

/** A task that runs. */
export interface Execution {
  readonly task: Task;
  readonly attempt: number;
  /** In performance.now(). */
  readonly startedAt: number;
}
