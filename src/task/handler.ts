import type { Task } from "./task.ts";

/** How a handler ended. Never an exception: whoever calls a handler turns those into `failed`. */
export type Outcome =
  | { readonly kind: "done" }
  | Failure & { readonly kind: "failed" }
  /** It will never work: no further attempt. */
  | Failure & { readonly kind: "rejected" }
  /** Our own shutdown ended it; the task goes back as if it had not been started. */
  | { readonly kind: "interrupted" };

/** Why a task did not get done. */
export interface Failure {
  /** One word or short phrase for the `task-error` or `task-dead-reason` header: "exit 3", "timeout". */
  readonly reason: string;
  /** Exit status of the command, where there was one. */
  readonly exitCode?: number;
  /** The end of what the handler wrote to stderr; at most 4 KiB of UTF-8. */
  readonly stderrTail?: string;
}

/** What a handler may use while it works. */
export interface TaskContext {
  /** Aborts when the task must stop: its time is over, or the worker is ending. */
  readonly signal: AbortSignal;
  /** 1 for the first attempt. */
  readonly attempt: number;
}

/** Does the work of one task. */
export type Handler = (task: Task, context: TaskContext) => Promise<Outcome>;

export const DONE: Outcome = { kind: "done" };
export const INTERRUPTED: Outcome = { kind: "interrupted" };
