/** Runs a handler so that every ending is a value, and within its time. */
import { formatDuration } from "../task/duration.ts";
import {
  type Handler,
  INTERRUPTED,
  type Outcome,
  type Progress,
  type TaskContext,
} from "../task/handler.ts";
import type { Task } from "../task/task.ts";
import type { TraceContext } from "../task/trace_context.ts";
import type { Place } from "./chain.ts";
import type { Runs, Stoppable } from "./runs.ts";

/** What is particular to a run. */
export interface RunOptions {
  /** Aborts when the run has become pointless; stops it as the worker's end does. */
  readonly lost?: AbortSignal | undefined;
  /** What it is part of. */
  readonly trace?: TraceContext | undefined;
  /** Told how far it is. */
  readonly report?: ((progress: Progress) => void) | undefined;
  /** Told once how it ended: an exception becomes `failed`, or `interrupted` after an abort of ours. */
  readonly onEnd: (outcome: Outcome) => void;
}

/** What holds for every run of a worker. */
export interface RunRules {
  readonly maxAttempts: number;
  /** Those that run, and how long they may. */
  readonly runs: Runs;
  /** How long a handler that was told to stop may take, in milliseconds. */
  readonly stopMs: number;
  /** Called when a handler was told to stop and did not; it is still running then. */
  readonly onHung: (task: Task) => void;
}

/** @param attempt 1 for the first */
export function execute(
  handler: Handler,
  task: Task,
  attempt: number,
  rules: RunRules,
  options: RunOptions,
): void {
  new Run(task, attempt, rules, options).of(handler);
}

/** One run. Most handlers never look at their signal, so it is made when they do. */
class Run implements TaskContext, Stoppable {
  readonly attempt: number;
  readonly maxAttempts: number;
  readonly deadline: number | undefined;
  readonly endsAt: number;
  readonly report: RunOptions["report"];
  readonly trace: TraceContext | undefined;
  readonly #task: Task;
  readonly #rules: RunRules;
  readonly #lost: AbortSignal | undefined;
  #controller: AbortController | undefined;
  /** Where it is among those that run; undefined once it has ended or was told to stop. */
  #place: Place<Stoppable> | undefined;
  /** Why it was told to stop. */
  #stopped: Error | undefined;
  #stopTimer: ReturnType<typeof setTimeout> | undefined;
  #onLost: (() => void) | undefined;
  /** Undefined: it was told. */
  #onEnd: RunOptions["onEnd"] | undefined;

  constructor(task: Task, attempt: number, rules: RunRules, options: RunOptions) {
    const { maxAttempts, runs: { limitMs } } = rules;
    this.#task = task;
    this.#rules = rules;
    this.#lost = options.lost;
    this.report = options.report;
    this.trace = options.trace;
    this.#onEnd = options.onEnd;
    this.attempt = attempt;
    this.maxAttempts = maxAttempts;
    this.deadline = limitMs === undefined ? undefined : Date.now() + limitMs;
    this.endsAt = limitMs === undefined ? Infinity : performance.now() + limitMs;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#stopped !== undefined) this.#controller.abort(this.#stopped);
    }
    return this.#controller.signal;
  }

  /** Never rejects. */
  async of(handler: Handler): Promise<void> {
    this.#place = this.#rules.runs.add(this);
    if (this.#lost !== undefined) {
      this.#onLost = () => this.interrupt();
      this.#lost.addEventListener("abort", this.#onLost);
      if (this.#lost.aborted) this.interrupt();
    }
    let outcome: Outcome;
    try {
      outcome = await handler(this.#task, this);
    } catch (error) {
      outcome = this.#outcomeOf(error);
    }
    this.#end(outcome);
  }

  interrupt(): void {
    this.#stop(new Error("the worker is ending"));
  }

  timeOut(): void {
    const { limitMs } = this.#rules.runs;
    this.#stop(
      new DOMException(`the task took longer than ${formatDuration(limitMs!)}`, "TimeoutError"),
    );
  }

  /** It has to end within `stopMs`; only the first reason counts. */
  #stop(reason: Error): void {
    if (this.#stopped !== undefined) return;
    this.#stopped = reason;
    this.#leave();
    this.#stopTimer = setTimeout(() => {
      this.#rules.onHung(this.#task);
      this.#end(this.#outcomeOf(reason));
    }, this.#rules.stopMs);
    this.#controller?.abort(reason);
  }

  #leave(): void {
    if (this.#place !== undefined) this.#rules.runs.delete(this.#place);
    this.#place = undefined;
  }

  #outcomeOf(error: unknown): Outcome {
    if (this.#stopped?.name === "TimeoutError") return { kind: "failed", reason: "timeout" };
    if (this.#stopped !== undefined) return INTERRUPTED;
    return { kind: "failed", reason: error instanceof Error ? error.message : String(error) };
  }

  #end(outcome: Outcome): void {
    if (this.#stopTimer !== undefined) clearTimeout(this.#stopTimer);
    this.#leave();
    if (this.#onLost !== undefined) this.#lost!.removeEventListener("abort", this.#onLost);
    this.#onEnd?.(outcome);
    this.#onEnd = undefined;
  }
}
