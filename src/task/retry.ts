/**
 * What becomes of a task: before it runs (admit) and after (decide). Pure: the time and the random
 * number are arguments.
 */
import type { Failure, Outcome } from "./handler.ts";
import type { DeadReason, History } from "./headers.ts";
import { beginWait, delayTiers, SHORTEST_WAIT_MS, type Wait } from "./topology.ts";

export interface RetryPolicy {
  /** Attempts before a failing task is dead; at least 1. */
  readonly maxAttempts: number;
  /** Pause after the first, second ... failed attempt, in milliseconds; the last one repeats. */
  readonly backoffMs: readonly number[];
  /** Share of the pause that is added at random, so that tasks do not return all at once; 0 to 1. */
  readonly jitter: number;
  /** Deliveries with vanished workers after which a task is dead without another run. */
  readonly maxCrashes: number;
}

export const DEFAULT_POLICY: RetryPolicy = {
  maxAttempts: 5,
  backoffMs: [1_000, 5_000, 15_000, 60_000, 300_000, 900_000, 3_600_000],
  jitter: 0.2,
  maxCrashes: 3,
};

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

export type Decision = { readonly kind: "ack" } | Park | Bury | Return;

/** Put the task back on its own queue, to be run at once. */
export type Return =
  /** Give this delivery back to the broker; it returns to its place in the queue. */
  | { readonly kind: "requeue" }
  /**
   * Put a copy on the task's own queue, then acknowledge this delivery. For a task that we give
   * back blamelessly, but whose next worker would take our deliveries for crashes.
   */
  | { readonly kind: "renew" };

/** Whether a delivered task may run now; `attempt` is 1 for the first. */
export type Admission = { readonly kind: "run"; readonly attempt: number } | Park | Bury;

/**
 * Decides what happens to a delivery before its task runs.
 *
 * @param redelivered the broker has delivered it before
 * @param now milliseconds since 1970
 */
export function admit(
  history: History,
  redelivered: boolean,
  policy: RetryPolicy,
  now: number,
): Admission {
  const { attempts, crashes, pastCrashes, notBefore, expiresAt } = history;
  if (expiresAt !== undefined && expiresAt <= now) {
    return { kind: "bury", reason: "expired", attempts };
  }
  // Nobody has run it yet: whoever had this message and vanished is not to be counted.
  if (notBefore !== undefined && notBefore - now >= SHORTEST_WAIT_MS) {
    return park(notBefore - now, { attempts, crashes: pastCrashes }, policy, now);
  }
  if (crashes >= policy.maxCrashes) return { kind: "bury", reason: "crash-loop", attempts };
  // Nobody but this header counts, so the crash has to be written down before the next one.
  if (redelivered && !history.counted) {
    return park(CRASH_PAUSE_MS, { attempts, crashes }, policy, now);
  }
  return { kind: "run", attempt: attempts + 1 };
}

/**
 * Decides what becomes of a task that has run.
 *
 * @param random from 0 to 1, for the jitter
 * @param now milliseconds since 1970
 */
export function decide(
  outcome: Outcome,
  history: History,
  policy: RetryPolicy,
  random: number,
  now: number,
): Decision {
  const attempts = history.attempts + 1;
  switch (outcome.kind) {
    case "done":
      return { kind: "ack" };
    case "rejected":
      return { kind: "bury", reason: "rejected", attempts, failure: outcome };
    case "failed": {
      if (attempts >= policy.maxAttempts) {
        return { kind: "bury", reason: "max-attempts", attempts, failure: outcome };
      }
      const pause = outcome.delayMs ?? backoff(attempts, policy);
      const spread = Math.round(pause * policy.jitter * random);
      const wait = spread < SHORTEST_WAIT_MS ? pause : pause + spread;
      return park(wait, { attempts, error: outcome.reason }, policy, now);
    }
    case "snoozed":
      return park(outcome.delayMs, { attempts: history.attempts }, policy, now);
    case "interrupted":
    case "unable":
      return giveBack(history, policy);
  }
}

/**
 * How a task goes back to its queue that is not to blame. Once it keeps its place; from then on
 * brokers, and we, would count being given back as crashes.
 */
export function giveBack(history: History, policy: RetryPolicy): Return {
  return history.crashes > 0 || policy.maxCrashes === 1 ? { kind: "renew" } : { kind: "requeue" };
}

/** The pause after a number of failed attempts, without jitter, in milliseconds. */
export function backoff(attempts: number, policy: Pick<RetryPolicy, "backoffMs">): number {
  const pauses = policy.backoffMs;
  return pauses[Math.min(attempts, pauses.length) - 1]!;
}

function park(
  waitMs: number,
  rest: Pick<Park, "attempts" | "crashes" | "error">,
  policy: RetryPolicy,
  now: number,
): Park {
  return { kind: "park", ...beginWait(waitMs, delayTiers(policy.backoffMs), now), ...rest };
}
