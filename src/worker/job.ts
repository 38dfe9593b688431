/** A task in the pool, from when it is taken until it is settled; its run is a part of that. */
import type { Delivery } from "../amqp/consumption.ts";
import type { Attempt } from "../amqp/message_tracing.ts";
import type { Outcome, Progress } from "../task/handler.ts";
import { type History, NO_HISTORY } from "../task/headers.ts";
import type { Task } from "../task/task.ts";
import type { TraceContext } from "../task/trace_context.ts";
import type { Member } from "./chain.ts";
import { Run, type RunRules } from "./run.ts";
import type { Execution } from "./pool_options.ts";

/** A start of a task, and what is known of those before. */
export interface Start {
  readonly history: History;
  /** 1 for the first. */
  readonly attempt: number;
  /** Starts that were written down, as `admit` takes them. */
  readonly earlier: number | undefined;
  /** Its starts are written down on the broker. */
  readonly isCounted: boolean;
}

/** Tells who waits how far it is. */
interface Reporting {
  readonly report: (progress: Progress) => void;
  end(): void;
}

/** Who has to do with a job, from the beginning to its end. */
export interface JobOwner {
  readonly rules: RunRules;
  ran(job: Job, outcome: Outcome): void;
}

/** Of a task that has not begun. */
const NOT_BEGUN: Start = {
  history: NO_HISTORY,
  attempt: 1,
  earlier: 0,
  isCounted: false,
};

let last = NOT_BEGUN;

/** Of a task that was not counted; most have no history, and share one. */
export function startOf(history: History, attempt: number): Start {
  if (last.history !== history || last.attempt !== attempt) {
    last = { history, attempt, earlier: 0, isCounted: false };
  }
  return last;
}

/** One object for all of it: more would cost as much as a short task does. */
export class Job extends Run implements Execution {
  readonly #owner: JobOwner;
  readonly delivery: Delivery;
  /** Told when it is over. */
  readonly onOver: (delivery: Delivery) => void;
  /** Among those that are taken; the pool's own, as are all that follow. */
  member: Member<Job> | undefined = undefined;
  start: Start = NOT_BEGUN;
  isRunning = false;
  /** Acknowledged before it began. */
  early = false;
  traced: Attempt | undefined = undefined;
  startedAt = 0;
  /** Aborts when it has become pointless. */
  lost: AbortSignal | undefined = undefined;
  /** Told when it is settled, or why it could not be; undefined: the pool is. */
  onSettled: ((fault?: unknown) => void) | undefined = undefined;
  reporting: Reporting | undefined = undefined;
  onLost: (() => void) | undefined = undefined;

  constructor(owner: JobOwner, delivery: Delivery, onOver: (delivery: Delivery) => void) {
    super(owner.rules);
    this.#owner = owner;
    this.delivery = delivery;
    this.onOver = onOver;
  }

  get task(): Task {
    return this.delivery.task;
  }

  get attempt(): number {
    return this.start.attempt;
  }

  get trace(): TraceContext | undefined {
    return this.traced?.context;
  }

  get report(): ((progress: Progress) => void) | undefined {
    return this.reporting?.report;
  }

  protected onEnd(outcome: Outcome): void {
    this.#owner.ran(this, outcome);
  }
}
