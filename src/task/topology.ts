/**
 * The queues around a work queue Q, as data: `Q` itself, `Q.delay.<ms>` where a task waits before
 * its next attempt, `Q.dead` where it ends. All are reached through the default exchange: no
 * bindings, no policies, no plugins.
 */
import type { Field } from "./task.ts";

export type QueueType = "quorum" | "classic";

/** A durable queue to be declared. */
export interface QueueSpec {
  readonly name: string;
  readonly arguments: Readonly<Record<string, Field>>;
  /** In what a queue of this name must agree to do its work: arguments, set or not, "durable". */
  readonly essential?: readonly string[];
}

/**
 * Delays that cover every other delay by waiting in several queues one after the other, in
 * milliseconds. Each queue has one fixed delay, because a queue expires messages only at its head:
 * a short delay behind a long one would wait for it.
 */
export const STANDARD_TIERS: readonly number[] = [
  1_000,
  5_000,
  15_000,
  60_000,
  300_000,
  900_000,
  3_600_000,
  21_600_000,
  86_400_000,
];

/** Longest name of a work queue in UTF-8 bytes: AMQP allows 255, `.delay.2147483647` needs 17. */
export const MAX_QUEUE_NAME_BYTES = 238;

/**
 * What is wrong with a queue's name, or undefined; to be read behind "must have a name" or "names".
 *
 * RabbitMQ drops CR and LF where a queue is declared, and not where a task is sent: it would go
 * astray, and a queue of another name would stay.
 */
export function queueNameFault(name: string, maxBytes: number): string | undefined {
  const bytes = new TextEncoder().encode(name).length;
  if (bytes < 1 || bytes > maxBytes) return `of 1 to ${maxBytes} bytes, and one has ${bytes}`;
  if (/[\r\n]/.test(name)) return `without a line break, and one is ${JSON.stringify(name)}`;
  return undefined;
}

/** Work queue, byte-equal to what RabbitMQ's tutorial programs declare. */
export function workQueue(name: string, type: QueueType = "quorum"): QueueSpec {
  return { name, arguments: type === "quorum" ? { "x-queue-type": "quorum" } : {} };
}

/**
 * Where tasks of `queue` wait `ms` milliseconds and then return to it.
 *
 * Quorum delay queues forward at least once: a task stays parked until the work queue has it.
 * Classic ones forward at most once, so the work queue has to exist before them.
 */
export function delayQueue(queue: string, ms: number, type: QueueType = "quorum"): QueueSpec {
  const waiting = {
    "x-message-ttl": ms,
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": queue,
  };
  return {
    name: `${queue}.delay.${ms}`,
    // A queue that goes away, by itself or with the broker, takes along the tasks in it.
    essential: ["durable", ...Object.keys(waiting), "x-expires"],
    arguments: type === "classic" ? waiting : {
      "x-queue-type": "quorum",
      ...waiting,
      "x-dead-letter-strategy": "at-least-once",
      "x-overflow": "reject-publish",
    },
  };
}

/**
 * Where tasks of `queue` go that will not be tried again.
 *
 * @param ttlMs how long they are kept; default for ever
 */
export function deadQueue(queue: string, type: QueueType = "quorum", ttlMs?: number): QueueSpec {
  return {
    name: `${queue}.dead`,
    arguments: {
      ...(type === "quorum" ? { "x-queue-type": "quorum" } : {}),
      ...(ttlMs === undefined ? {} : { "x-message-ttl": ttlMs }),
    },
  };
}

/** All delays that have a queue under this backoff, ascending. */
export function delayTiers(backoffMs: readonly number[]): readonly number[] {
  return [...new Set([...STANDARD_TIERS, ...backoffMs])].sort((a, b) => a - b);
}

/** What is left of a wait is not waited for below this, in milliseconds. */
export const SHORTEST_WAIT_MS: number = STANDARD_TIERS[0]!;

/** How to begin a wait. */
export interface Wait {
  /** The delay queue to wait in, by its delay in milliseconds. */
  readonly tierMs: number;
  /** Set when one queue's delay is not the whole wait; milliseconds since 1970. */
  readonly notBefore?: number;
}

/**
 * How to begin a wait of `ms` milliseconds.
 *
 * @param tiers ascending, with the standard ones
 * @param now milliseconds since 1970
 */
export function beginWait(ms: number, tiers: readonly number[], now: number): Wait {
  const tierMs = chooseTier(ms, tiers);
  const more = ms - tierMs >= SHORTEST_WAIT_MS;
  return { tierMs, ...(more ? { notBefore: now + ms } : {}) };
}

/**
 * The delay queue to wait in next.
 *
 * @param tiers ascending, with the standard ones
 * @returns the longest delay that does not overshoot `delayMs`; for less than the shortest standard
 *   delay the next longer one, because what is left of a wait is not waited for below that
 */
export function chooseTier(delayMs: number, tiers: readonly number[]): number {
  return delayMs < SHORTEST_WAIT_MS
    ? tiers.find((tier) => tier >= delayMs)!
    : tiers.findLast((tier) => tier <= delayMs)!;
}
