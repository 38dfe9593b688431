/**
 * Decides what becomes of a task, before it runs (`admit`) and after it has run (`decide`). Pure: the
 * random number is an argument, and all times are durations.
 */
import type { Answer, Failure, Outcome } from "./handler.ts";
import type { DeadReason, History } from "./headers.ts";
import { beginWait, delayTiers, spreadFor, type Wait } from "./topology.ts";

/** When a failed task is tried again, and when it is dead. */
export interface RetryPolicy {
  /** Attempts before a failing task is dead; at least 1. */
  readonly maxAttempts: number;
  /** Pause after the first, second ... failed attempt, in milliseconds; the last one repeats. */
  readonly backoffMs: readonly number[];
  /** Share of the pause that is added at random, so that tasks do not return all at once; 0 to 1. */
  readonly jitter: number;
  /** Starts with vanished workers after which a task is dead without another run; Infinity: none. */
  readonly maxCrashes: number;
  /** A task is run though it is not due: whoever runs it sees to that. Default false. */
  readonly runsEarly?: boolean;
  /**
   * How often a broker may count that a task came back before a copy takes its place, which costs
   * it its place in the queue; default 0.
   */
  readonly mostReturns?: number | undefined;
}

/** Half of the returns by which brokers drop a task of a queue without a limit (RabbitMQ 4: 20). */
export const MOST_RETURNS = 10;

export const DEFAULT_POLICY: RetryPolicy = {
  maxAttempts: 5,
  backoffMs: [1_000, 5_000, 15_000, 60_000, 300_000, 900_000, 3_600_000],
  jitter: 0.2,
  maxCrashes: 3,
};

const ACK: Ack = { kind: "ack" };
const FIRST_RUN: Admission = { kind: "run", attempt: 1 };

/** How long a task waits while its crash is written down, in milliseconds. */
const CRASH_PAUSE_MS = 1_000;

/** Park the task, then acknowledge this delivery. */
export interface Park extends Wait {
  readonly kind: "park";
  readonly attempts: number;
  readonly crashes?: number;
  readonly error?: string;
}

/** Put the task into the dead queue, then acknowledge this delivery. */
export interface Bury {
  readonly kind: "bury";
  readonly reason: DeadReason;
  readonly attempts: number;
  readonly failure?: Failure;
}

/** The task is done. */
export interface Ack {
  readonly kind: "ack";
  /** What the work gave. */
  readonly answer?: Answer;
  /** Who waits for it has been told. */
  readonly answered?: boolean;
}

export type Decision = Ack | Park | Bury | Return;

/** Put the task back on its own queue, to be run at once. */
export type Return =
  /** Give this delivery back to the broker; it returns to its place in the queue. */
  | { readonly kind: "requeue" }
  /**
   * Put a copy on the task's own queue, then acknowledge this delivery. For a task that we give
   * back blamelessly, but whose next worker would take our deliveries for crashes.
   */
  | { readonly kind: "renew"; readonly crashes?: number };

/** Whether a delivered task may run now; `attempt` is 1 for the first. */
export type Admission = { readonly kind: "run"; readonly attempt: number } | Park | Bury;

/**
 * Whether a task may have crashed a worker: then its starts are counted on the broker, and this one
 * is written down there before it runs. The first start of a task is not, because that would cost
 * every task a round trip.
 */
export function isSuspect(history: History, policy: RetryPolicy): boolean {
  if (policy.maxCrashes === Infinity) return false;
  return history.losses > 0 || policy.maxCrashes === 1;
}

/**
 * How many workers vanished while they ran this task. Brokers count deliveries; one that was never
 * begun is no crash.
 *
 * @param starts that were written down; undefined where they cannot be: all that was lost counts
 */
function crashesOf(
  { crashes, losses }: History,
  starts: number | undefined,
  policy: RetryPolicy,
): number {
  if (starts === undefined) return crashes + (losses === Infinity ? 1 : losses);
  const first = policy.maxCrashes === 1 ? 0 : 1;
  return crashes + Math.min(losses, starts + first);
}

/**
 * Decides what happens to a delivery before its task runs.
 *
 * @param starts see {@linkcode crashesOf}; 0 for one that is not suspect
 */
export function admit(
  history: History,
  starts: number | undefined,
  policy: RetryPolicy,
): Admission {
  const { attempts, crashes, losses, waitMs, expiresInMs } = history;
  if (expiresInMs === 0) return { kind: "bury", reason: "expired", attempts };
  // It is not due, so nobody has run this message yet: no delivery of it was a crash.
  if (waitMs !== undefined && waitMs > 0 && !policy.runsEarly) {
    return park(waitMs, { attempts, crashes }, policy);
  }
  const vanished = crashesOf(history, starts, policy);
  if (vanished >= policy.maxCrashes) return { kind: "bury", reason: "crash-loop", attempts };
  // Nobody but this header counts, so the crash has to be written down before the next one.
  if (starts === undefined && losses === Infinity) {
    return park(CRASH_PAUSE_MS, { attempts, crashes: vanished }, policy);
  }
  return attempts === 0 ? FIRST_RUN : { kind: "run", attempt: attempts + 1 };
}

/**
 * Decides what becomes of a task that has run.
 *
 * @param random from 0 to 1, for the jitter
 * @param starts see {@linkcode giveBack}
 */
export function decide(
  outcome: Outcome,
  history: History,
  policy: RetryPolicy,
  random: number,
  starts = 0,
): Decision {
  const attempts = history.attempts + 1;
  switch (outcome.kind) {
    case "done":
      return outcome.answer === undefined ? ACK : { kind: "ack", answer: outcome.answer };
    case "rejected":
      return { kind: "bury", reason: "rejected", attempts, failure: outcome };
    case "failed": {
      if (attempts >= policy.maxAttempts) {
        return { kind: "bury", reason: "max-attempts", attempts, failure: outcome };
      }
      const pause = outcome.delayMs ?? retryPause(attempts, policy);
      const most = pause * policy.jitter;
      const spread = spreadFor(most * random, most, delayTiers(policy.backoffMs));
      return park(pause + spread, { attempts, error: outcome.reason }, policy);
    }
    case "snoozed":
      return park(outcome.delayMs, { attempts: history.attempts }, policy);
    case "interrupted":
    case "unable":
      return giveBack(history, policy, starts);
  }
}

/**
 * How a task that is not to blame goes back to its queue. The first time we give the delivery back,
 * and the task keeps its place. From the second time on a copy takes its place: brokers count each
 * delivery that was given back, and the next worker would take them for crashes.
 *
 * @param starts of it that ended with a vanished worker, where they were written down
 */
export function giveBack(
  history: History,
  { mostReturns = 0 }: Pick<RetryPolicy, "mostReturns">,
  starts = 0,
): Return {
  const crashes = history.crashes + starts;
  const counted = history.losses === Infinity && mostReturns > 0 ? 0 : history.losses;
  if (counted <= mostReturns) return { kind: "requeue" };
  return { kind: "renew", ...(crashes === 0 ? {} : { crashes }) };
}

/** The pause after a number of failed attempts, without jitter, in milliseconds. */
function retryPause(attempts: number, policy: Pick<RetryPolicy, "backoffMs">): number {
  const pauses = policy.backoffMs;
  return pauses[Math.min(attempts, pauses.length) - 1]!;
}

function park(
  waitMs: number,
  rest: Pick<Park, "attempts" | "crashes" | "error">,
  policy: RetryPolicy,
): Park {
  return { kind: "park", ...beginWait(waitMs, delayTiers(policy.backoffMs)), ...rest };
}
