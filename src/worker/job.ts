/** A run of a task in the pool, from its start until it is settled. */
import type { Delivery } from "../amqp/consumption.ts";
import type { Attempt } from "../amqp/message_tracing.ts";
import type { Outcome, Progress } from "../task/handler.ts";
import type { History } from "../task/headers.ts";
import type { Task } from "../task/task.ts";
import type { TraceContext } from "../task/trace_context.ts";
import type { Member } from "./chain.ts";
import type { RunOptions } from "./execute.ts";
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

/** One object for all of it: more would cost as much as a short task does. */
export class Job implements RunOptions, Execution {
  readonly delivery: Delivery;
  readonly start: Start;
  /** Acknowledged before it began. */
  readonly early: boolean;
  readonly traced: Attempt | undefined;
  readonly startedAt: number;
  /** Aborts when it has become pointless. */
  readonly lost: AbortSignal | undefined;
  /** Told when it is settled, or why it could not be. */
  readonly done: (fault?: unknown) => void;
  readonly #onEnd: (job: Job, outcome: Outcome) => void;
  /** Among those that run; the pool's own, as are the next ones. */
  member: Member<Execution> | undefined;
  reporting: Reporting | undefined;
  onLost: (() => void) | undefined;

  constructor(
    delivery: Delivery,
    start: Start,
    early: boolean,
    traced: Attempt | undefined,
    startedAt: number,
    lost: AbortSignal | undefined,
    onEnd: (job: Job, outcome: Outcome) => void,
    done: (fault?: unknown) => void,
  ) {
    this.delivery = delivery;
    this.start = start;
    this.early = early;
    this.traced = traced;
    this.startedAt = startedAt;
    this.lost = lost;
    this.#onEnd = onEnd;
    this.done = done;
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

  get report(): RunOptions["report"] {
    return this.reporting?.report;
  }

  onEnd(outcome: Outcome): void {
    this.#onEnd(this, outcome);
  }
}
