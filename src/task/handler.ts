import type { ReceivedTask, Task } from "./task.ts";
import type { TraceContext } from "./trace_context.ts";

/** How a handler ended. Never an exception: whoever calls a handler turns those into `failed`. */
export type Outcome =
  | { readonly kind: "done"; readonly answer?: Answer; readonly exitCode?: number }
  | Failure & { readonly kind: "failed" }
  /** It will never work: no further attempt. */
  | Failure & { readonly kind: "rejected" }
  /** Our own shutdown ended it; the task goes back as if it had not been started. */
  | { readonly kind: "interrupted" }
  /** It asks to be run again later; no attempt is counted. */
  | { readonly kind: "snoozed"; readonly delayMs: number }
  /**
   * This host cannot do such work (the command is missing, or asked to stop): the task goes back
   * as if it had not been started, and the worker ends with `exitCode`. `commandStatus` is
   * the command's, where it ran.
   */
  | {
    readonly kind: "unable";
    readonly reason: string;
    readonly exitCode: number;
    readonly commandStatus?: number;
  };

/** The exit status of the command, where one ran. */
export function exitStatusOf(outcome: Outcome): number | undefined {
  if (outcome.kind === "unable") return outcome.commandStatus;
  return "exitCode" in outcome ? outcome.exitCode : undefined;
}

/** What a handler has to say to whoever waits for the task (its `reply_to`). */
export interface Answer {
  readonly body: Uint8Array;
  readonly contentType?: string;
  /** There was more of it than an answer holds. */
  readonly cut: boolean;
  /** Exit status of the command, where it is not 0. */
  readonly exitCode?: number;
  /** Why there is no more of it. */
  readonly error?: string;
  /** The work was done before, and what it gave is not known. */
  readonly skipped?: boolean;
}

/** Longest answer in bytes; of more, the beginning is kept. */
export const MAX_ANSWER_BYTES = 1024 * 1024;

/** Why a task did not get done. */
export interface Failure {
  /** One word or short phrase for the `task-error` or `task-dead-reason` header: "exit 3", "timeout". */
  readonly reason: string;
  /** The pause before the next attempt, in milliseconds, where the handler asks for its own. */
  readonly delayMs?: number;
  /** Exit status of the command, where there was one. */
  readonly exitCode?: number;
  /** The end of what the handler wrote to stderr; at most 4 KiB of UTF-8. */
  readonly stderrTail?: string;
}

/** What a handler may use while it works. */
export interface TaskContext {
  /**
   * Aborts when the task must stop: its time is over (the reason's name is `TimeoutError`), or the
   * worker is ending (any other reason).
   */
  readonly signal: AbortSignal;
  /** 1 for the first attempt. */
  readonly attempt: number;
  /** The attempt that is the last one. */
  readonly maxAttempts?: number | undefined;
  /** What the run is part of; absent where it is not traced: then what the task's headers say. */
  readonly trace?: TraceContext | undefined;
  /** When the task's time is over, in milliseconds since 1970; absent without a limit. */
  readonly deadline?: number | undefined;
  /** Tells who waits how far the work is; absent where nobody asked. May be called at any rate. */
  readonly report?: ((progress: Progress) => void) | undefined;
}

/** How far the work is: a number, of another one where that is known, or words. */
export type Progress =
  | { readonly done: number; readonly total?: number }
  | { readonly text: string };

/** Does the work of one task. */
export type Handler = (task: Task, context: TaskContext) => Promise<Outcome>;

/** The same without a promise for each: of a short task these cost as much as all the rest. */
export interface DirectHandler {
  /** @param run is told the end, once; maybe before this returns. May throw before that */
  begin(task: ReceivedTask, run: DirectRun): void;
}

export interface DirectRun {
  end(outcome: Outcome): void;
}

/** Longest pause that a handler may ask for, in milliseconds: a hundred years. */
export const LONGEST_PAUSE_MS = 100 * 365 * 86_400_000;

export const DONE: Outcome = { kind: "done" };
export const INTERRUPTED: Outcome = { kind: "interrupted" };
