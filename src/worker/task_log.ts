/** What is said of each task when it ends: one line, the same facts for people and for machines. */
import type { Fields, Logger } from "../observe/log.ts";
import { formatDuration } from "../task/duration.ts";
import { exitStatusOf, type Outcome } from "../task/handler.ts";
import type { Bury, Decision } from "../task/retry.ts";
import type { Task } from "../task/task.ts";

/** What became of a task, in the words of the metrics. */
export type Fate = "done" | "delayed" | "dead" | "returned";

const FATES = {
  ack: "done",
  park: "delayed",
  bury: "dead",
  requeue: "returned",
  renew: "returned",
} as const;

export function fateOf({ kind }: Decision): Fate {
  return FATES[kind];
}

/** A run that has ended. */
export interface EndedRun {
  readonly task: Task;
  /** 1 for the first. */
  readonly attempt: number;
  readonly outcome: Outcome;
  readonly decision: Decision;
  /** How long it ran. */
  readonly ms: number;
  /** How long the task waited before; undefined where nothing tells. */
  readonly waitedMs: number | undefined;
}

export interface TaskLogOptions {
  readonly log: Logger;
  /** Also of what is done. */
  readonly summarize: boolean;
  /** So many run that nothing is said of those that come or go back. */
  readonly bulk: boolean;
}

export class TaskLog {
  readonly #options: TaskLogOptions;

  constructor(options: TaskLogOptions) {
    this.#options = options;
  }

  ended(run: EndedRun): void {
    const { bulk, log, summarize } = this.#options;
    const { decision, outcome } = run;
    switch (decision.kind) {
      case "ack":
        if (summarize) log.info("done", fieldsOf(run));
        return;
      case "park": {
        const why = decision.error === undefined ? "waits" : `failed (${decision.error}), waits`;
        const waitMs = decision.tierMs + (decision.leftMs ?? 0);
        return log.warn(`${why} ${formatDuration(waitMs)}`, fieldsOf(run));
      }
      case "bury":
        return log.error(
          `dead (${decision.reason}): ${decision.failure?.reason}`,
          fieldsOf(run),
        );
      case "requeue":
      case "renew": {
        const why = outcome.kind === "unable" ? ` (${outcome.reason})` : "";
        if (!bulk) log.warn(`goes back to the queue${why}`, fieldsOf(run));
      }
    }
  }

  /** A task that is dead without another run. */
  buried(task: Task, { attempts, failure, reason }: Bury): void {
    const why = failure === undefined ? reason : `${reason} (${failure.reason})`;
    this.#options.log.warn(`a task goes to the dead queue: ${why}`, {
      ...identity(task, attempts),
      outcome: "dead",
    });
  }

  /** A task that was done before, and is not run. */
  skipped(message: string, task: Task): void {
    this.#options.log.info(message, { ...identity(task), outcome: "done" });
  }
}

function identity({ id, properties, queue }: Task, attempt?: number): Fields {
  return { id, attempt, queue, type: properties.type };
}

function fieldsOf({ task, attempt, outcome, decision, ms, waitedMs }: EndedRun): Fields {
  return {
    ...identity(task, attempt),
    outcome: fateOf(decision),
    exit_status: exitStatusOf(outcome),
    ms: Math.round(ms),
    waited_ms: waitedMs,
  };
}
