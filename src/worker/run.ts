/** Runs a handler so that every ending is a value, and within its time. */
import { formatDuration } from "../task/duration.ts";
import {
  type DirectHandler,
  type DirectRun,
  type Handler,
  INTERRUPTED,
  type Outcome,
  type Progress,
  type TaskContext,
} from "../task/handler.ts";
import type { Task } from "../task/task.ts";
import type { TraceContext } from "../task/trace_context.ts";
import type { Member } from "./chain.ts";
import type { Runs, Stoppable } from "./runs.ts";

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

/** One run. Most handlers never look at their signal, so it is made when they do. */
export abstract class Run implements TaskContext, Stoppable, DirectRun {
  readonly #rules: RunRules;
  #controller: AbortController | undefined = undefined;
  /** Where it is among those that have a limit; undefined once it has ended or was told to stop. */
  #member: Member<Stoppable> | undefined = undefined;
  /** Why it was told to stop. */
  #stopped: Error | undefined = undefined;
  #stopTimer: ReturnType<typeof setTimeout> | undefined = undefined;
  #onLost: (() => void) | undefined = undefined;
  #deadline: number | undefined = undefined;
  #isTold = false;

  constructor(rules: RunRules) {
    this.#rules = rules;
  }

  abstract readonly task: Task;
  /** 1 for the first. */
  abstract readonly attempt: number;
  /** When it began, in performance.now(). */
  abstract readonly startedAt: number;
  /** Aborts when the run has become pointless; stops it as the worker's end does. */
  protected abstract readonly lost: AbortSignal | undefined;
  /** What it is part of. */
  abstract readonly trace: TraceContext | undefined;
  /** Told how far it is. */
  abstract readonly report: ((progress: Progress) => void) | undefined;
  /** Told once how it ended: an exception becomes `failed`, or `interrupted` after an abort of ours. */
  protected abstract onEnd(outcome: Outcome): void;

  get maxAttempts(): number {
    return this.#rules.maxAttempts;
  }

  get endsAt(): number {
    return this.startedAt + (this.#rules.runs.limitMs ?? Infinity);
  }

  get deadline(): number | undefined {
    if (this.#rules.runs.limitMs === undefined) return undefined;
    return this.#deadline ??= Math.round(Date.now() + this.endsAt - performance.now());
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#stopped !== undefined) this.#controller.abort(this.#stopped);
    }
    return this.#controller.signal;
  }

  begin(handler: Handler | DirectHandler): void {
    this.#member = this.#rules.runs.add(this);
    const { lost, task } = this;
    if (lost !== undefined) {
      this.#onLost = () => this.interrupt();
      lost.addEventListener("abort", this.#onLost);
      if (lost.aborted) this.interrupt();
    }
    if (typeof handler === "function") this.#await(handler);
    else {
      try {
        handler.begin(task, this);
      } catch (error) {
        this.end(this.#outcomeOf(error));
      }
    }
  }

  /** Never rejects. */
  async #await(handler: Handler): Promise<void> {
    let outcome: Outcome;
    try {
      outcome = await handler(this.task, this);
    } catch (error) {
      outcome = this.#outcomeOf(error);
    }
    this.end(outcome);
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
      this.#rules.onHung(this.task);
      this.end(this.#outcomeOf(reason));
    }, this.#rules.stopMs);
    this.#controller?.abort(reason);
  }

  #leave(): void {
    if (this.#member !== undefined) this.#rules.runs.delete(this.#member);
    this.#member = undefined;
  }

  #outcomeOf(error: unknown): Outcome {
    if (this.#stopped?.name === "TimeoutError") return { kind: "failed", reason: "timeout" };
    if (this.#stopped !== undefined) return INTERRUPTED;
    return { kind: "failed", reason: error instanceof Error ? error.message : String(error) };
  }

  end(outcome: Outcome): void {
    if (this.#isTold) return;
    this.#isTold = true;
    if (this.#stopTimer !== undefined) clearTimeout(this.#stopTimer);
    this.#leave();
    if (this.#onLost !== undefined) {
      this.lost!.removeEventListener("abort", this.#onLost);
    }
    this.onEnd(outcome);
  }
}
