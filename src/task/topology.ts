/**
 * The queues around a work queue Q, as data: `Q` itself, `Q.delay.<ms>` where a task waits before
 * its next attempt, `Q.dead` where it ends. All are reached through the default exchange: no
 * bindings, no policies, no plugins.
 */
import { SHORT_STRING_BYTES, utf8Length } from "./short_string.ts";
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
  25,
  50,
  100,
  200,
  500,
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

/** Longest name of a work queue in UTF-8 bytes: it needs room for what its delay queues add. */
export const MAX_QUEUE_NAME_BYTES = SHORT_STRING_BYTES - ".delay.2147483647".length;

/**
 * What is wrong with a queue's name, or undefined; to be read behind "must have a name" or "names".
 *
 * RabbitMQ drops CR and LF where a queue is declared, and not where a task is sent: it would go
 * astray, and a queue of another name would stay.
 */
export function queueNameFault(name: string, maxBytes: number): string | undefined {
  const bytes = utf8Length(name);
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

/** The name by which a channel asks for answers to itself; no queue has it. */
export const DIRECT_REPLY_TO = "amq.rabbitmq.reply-to";

/** What the name of a queue tells it to be. */
export interface QueueRole {
  readonly kind: "work" | "delay" | "dead" | "start";
  /** The work queue that it belongs to; of a work queue its own name. */
  readonly of: string;
  /** Of a delay queue, in milliseconds. */
  readonly delayMs?: number;
}

/** Which of the queues around a work queue has this name. */
export function roleOf(name: string): QueueRole {
  const match = /^(.+)\.(?:delay\.(\d{1,10})|(dead)|start\.[\w-]{1,10})$/s.exec(name);
  if (match === null) return { kind: "work", of: name };
  const [, of, delay, dead] = match as unknown as [string, string, string?, string?];
  if (delay !== undefined) return { kind: "delay", of, delayMs: Number(delay) };
  return { kind: dead === undefined ? "start" : "dead", of };
}

/** All delays that have a queue under this backoff, ascending. */
export function delayTiers(backoffMs: readonly number[]): readonly number[] {
  return [...new Set([...STANDARD_TIERS, ...backoffMs])].sort((a, b) => a - b);
}

/** A wait may take so much longer than asked to save delay queues on its way, in milliseconds. */
const LEEWAY_MS = 250;

/** How to begin a wait. */
export interface Wait {
  /** The delay queue to wait in, by its delay in milliseconds. */
  readonly tierMs: number;
  /** What is to be waited for after that, in milliseconds; absent: nothing. */
  readonly leftMs?: number;
}

/**
 * How to begin a wait. It is a duration, told from one delay queue to the next as what is left of
 * it: no host's clock is ever compared with another's.
 *
 * @param ms how long
 * @param tiers ascending, with the standard ones
 */
export function beginWait(ms: number, tiers: readonly number[]): Wait {
  const tierMs = chooseTier(ms, tiers);
  return ms > tierMs ? { tierMs, leftMs: ms - tierMs } : { tierMs };
}

/**
 * The delay queue to wait in next.
 *
 * @param tiers ascending, with the standard ones
 * @returns the shortest delay that is long enough, if it is not much too long, or else the longest
 *   one that is shorter
 */
export function chooseTier(delayMs: number, tiers: readonly number[]): number {
  const enough = tiers.find((tier) => tier >= delayMs);
  const shorter = tiers.findLast((tier) => tier < delayMs);
  if (shorter === undefined) return enough!;
  return enough !== undefined && enough - delayMs <= LEEWAY_MS ? enough : shorter;
}

/** A random addition is made of at most so many delays, each at least this part of the largest. */
const SPREAD_PIECES = 6;
const SPREAD_PARTS = 16;

/**
 * The largest sum of few delays up to `ms`: what a random addition to a wait comes to, so that it
 * does not take a task through every queue there is.
 *
 * @param mostMs the largest addition there may be
 */
export function spreadFor(ms: number, mostMs: number, tiers: readonly number[]): number {
  let sum = 0;
  for (let piece = 0; piece < SPREAD_PIECES; piece++) {
    const tier = tiers.findLast((tier) => tier <= ms - sum);
    if (tier === undefined || tier < mostMs / SPREAD_PARTS) break;
    sum += tier;
  }
  return sum;
}

/** How long it is known how often a task was begun after it had been delivered before. */
const STARTS_KEPT_MS = 86_400_000;

/**
 * Holds a message for every start of a task that was delivered before: a broker counts deliveries,
 * and not starts. It is deleted when the task ends, or by the broker after a day without use.
 *
 * @param mark tells the task from every other of its queue; at most 10 letters
 */
export function startsQueue(queue: string, mark: string): QueueSpec {
  return { name: `${queue}.start.${mark}`, arguments: { "x-expires": STARTS_KEPT_MS } };
}
