/**
 * What this project writes about a task into its headers, and how a task is copied when it is
 * parked, declared dead or replayed. Everything here is a pure function from properties to
 * properties.
 *
 * Header names begin with `task-`: brokers call `x-*` their own.
 */
import type { Field, Task, TaskProperties } from "./task.ts";

export const HEADER = {
  /** Attempts made so far; integer. */
  attempt: "task-attempt",
  /** Deliveries whose worker vanished, where the broker does not count them; integer. */
  crashes: "task-crashes",
  /** Why the last attempt failed; text. */
  error: "task-error",
  /** The work queue it belongs to; text. */
  originQueue: "task-origin-queue",
  /** The exchange and routing key it was first published with, unless it was the default one; text. */
  exchange: "task-exchange",
  routingKey: "task-routing-key",
  /** Not to be run earlier; integer, milliseconds since 1970. */
  notBefore: "task-not-before",
  /** Not to be run later; integer, milliseconds since 1970. Stands in for `expiration`. */
  expiresAt: "task-expires-at",
  /** Why it is dead: one of {@linkcode DeadReason}. */
  deadReason: "task-dead-reason",
  /** Exit status of the last command; integer. */
  exitCode: "task-exit-code",
  /** The end of the last attempt's stderr; text of at most 4 KiB. */
  stderrTail: "task-stderr-tail",
  /** Name of the host that declared it dead; text. */
  host: "task-host",
  /** When it was declared dead; ISO 8601. */
  diedAt: "task-died-at",
  /** How often it was published anew; tells a copy from what it was copied from; integer. */
  hops: "task-hops",
  /** How often it was taken back from the dead; integer. */
  replays: "task-replays",
  /** The `user_id` it was first published with, which only that user may set as a property. */
  userId: "task-user-id",
} as const;

/**
 * - `max-attempts`: every attempt failed
 * - `rejected`: the handler said that it will never work
 * - `crash-loop`: it was delivered again and again to workers that vanished
 * - `expired`: its time to live ended between two attempts
 */
export type DeadReason = "max-attempts" | "rejected" | "crash-loop" | "expired";

/** What a task's headers say about its past. */
export interface History {
  /** Attempts made before this delivery. */
  readonly attempts: number;
  /** Deliveries before this one whose worker vanished, as far as anyone counted. */
  readonly crashes: number;
  /** Those of them that were written down when it was last published anew. */
  readonly pastCrashes: number;
  /** Milliseconds since 1970. */
  readonly notBefore?: number;
  /** Milliseconds since 1970. */
  readonly expiresAt?: number;
  readonly replays: number;
  /** The broker counts deliveries (quorum queues do, classic queues do not). */
  readonly counted: boolean;
}

/**
 * Headers by which brokers steer dead-lettering. Carried along in a copy they would make RabbitMQ
 * see a cycle and drop the task silently, or count deliveries of another message.
 */
const STEERING = new Set(["x-death", "x-delivery-count", "x-acquired-count", "CC", "BCC"]);
const STEERING_PREFIXES = ["x-first-death-", "x-last-death-"];

/** What a dead letter says; gone from a task that gets a new life. */
const OBITUARY: readonly string[] = [
  HEADER.deadReason,
  HEADER.exitCode,
  HEADER.stderrTail,
  HEADER.host,
  HEADER.diedAt,
];

/** Longest text of {@linkcode HEADER.error}, in UTF-16 code units. */
const MAX_ERROR_LENGTH = 1_024;

/** Reads what the headers say. Values that make no sense count as absent: headers are foreign. */
export function readHistory(task: Pick<Task, "properties" | "redelivered">): History {
  const { headers } = task.properties;
  if (headers === undefined && !task.redelivered) return NO_HISTORY;
  return historyOf(headers ?? {}, task.redelivered);
}

/** Of most tasks. */
const NO_HISTORY: History = {
  attempts: 0,
  crashes: 0,
  pastCrashes: 0,
  replays: 0,
  counted: false,
};

function historyOf(headers: Readonly<Record<string, Field>>, redelivered: boolean): History {
  const deliveries = [headers["x-acquired-count"], headers["x-delivery-count"]].map(toInteger);
  const counted = deliveries.some((count) => count !== undefined);
  const pastCrashes = toInteger(headers[HEADER.crashes]) ?? 0;
  const vanished = pastCrashes + (redelivered && !counted ? 1 : 0);
  const notBefore = toInteger(headers[HEADER.notBefore]);
  const expiresAt = toInteger(headers[HEADER.expiresAt]);
  return {
    attempts: toInteger(headers[HEADER.attempt]) ?? 0,
    crashes: Math.max(vanished, ...deliveries.map((count) => count ?? 0)),
    pastCrashes,
    ...(notBefore === undefined ? {} : { notBefore }),
    ...(expiresAt === undefined ? {} : { expiresAt }),
    replays: toInteger(headers[HEADER.replays]) ?? 0,
    counted,
  };
}

/** The work queue a dead task came from, when its headers say so. */
export function originQueue(properties: TaskProperties): string | undefined {
  const name = properties.headers?.[HEADER.originQueue];
  return typeof name === "string" && name !== "" ? name : undefined;
}

/** How a task was first published: a copy comes through the default exchange. */
export function originalRoute(
  task: Pick<Task, "exchange" | "routingKey" | "properties">,
): { readonly exchange: string; readonly routingKey: string } {
  const exchange = task.properties.headers?.[HEADER.exchange];
  const routingKey = task.properties.headers?.[HEADER.routingKey];
  return typeof exchange === "string" && typeof routingKey === "string"
    ? { exchange, routingKey }
    : task;
}

/** Without exchange and routing key it came through the default exchange. */
type CopiedTask =
  & Pick<Task, "properties" | "queue">
  & Partial<Pick<Task, "exchange" | "routingKey">>;

/** What changes when a task is parked in a delay queue, or put back on its own queue. */
export interface Parking {
  /** Attempts made so far. */
  readonly attempts: number;
  /** Crashes that no broker counts any more once the task is a new message. */
  readonly crashes?: number;
  readonly error?: string;
  /** Milliseconds since 1970. */
  readonly notBefore?: number | undefined;
}

/**
 * Properties of the copy of a task that is to be run again.
 *
 * @param now milliseconds since 1970
 */
export function parkedProperties(
  task: CopiedTask,
  parking: Parking,
  now: number,
): TaskProperties {
  return copyProperties(task.properties, now, {
    ...route(task),
    [HEADER.originQueue]: task.queue,
    [HEADER.attempt]: parking.attempts,
    [HEADER.crashes]: parking.crashes || undefined,
    [HEADER.notBefore]: parking.notBefore,
    ...(parking.error === undefined ? {} : { [HEADER.error]: clip(parking.error) }),
  });
}

/** What a dead letter says about its end. */
export interface Obituary {
  readonly reason: DeadReason;
  /** Attempts made. */
  readonly attempts: number;
  readonly error?: string;
  readonly exitCode?: number;
  readonly stderrTail?: string;
  readonly host: string;
}

/**
 * Properties of the copy of a task that goes to the dead queue.
 *
 * @param now milliseconds since 1970
 */
export function deadProperties(
  task: CopiedTask,
  obituary: Obituary,
  now: number,
): TaskProperties {
  return copyProperties(task.properties, now, {
    ...route(task),
    [HEADER.originQueue]: task.queue,
    [HEADER.attempt]: obituary.attempts,
    [HEADER.notBefore]: undefined,
    [HEADER.deadReason]: obituary.reason,
    [HEADER.exitCode]: obituary.exitCode,
    [HEADER.stderrTail]: obituary.stderrTail || undefined,
    [HEADER.host]: obituary.host,
    [HEADER.diedAt]: new Date(now).toISOString(),
    ...(obituary.error === undefined ? {} : { [HEADER.error]: clip(obituary.error) }),
  });
}

/**
 * Properties of the copy of a dead task that gets a new life: no attempts made, nothing about its
 * death, no expiry (it would be over).
 */
export function replayProperties(properties: TaskProperties, replays: number): TaskProperties {
  const { expiration: _, ...unlimited } = properties;
  return copyProperties(unlimited, 0, {
    [HEADER.attempt]: undefined,
    [HEADER.crashes]: undefined,
    [HEADER.error]: undefined,
    [HEADER.notBefore]: undefined,
    [HEADER.expiresAt]: undefined,
    [HEADER.replays]: replays,
    ...Object.fromEntries(OBITUARY.map((name) => [name, undefined])),
  });
}

/** Headers that keep how a task was first published. */
function route(task: CopiedTask): Record<string, Field> {
  const { exchange, routingKey } = originalRoute({ exchange: "", routingKey: task.queue, ...task });
  return exchange === "" ? {} : { [HEADER.exchange]: exchange, [HEADER.routingKey]: routingKey };
}

/** A header of `undefined` is removed. */
function copyProperties(
  properties: TaskProperties,
  now: number,
  changes: Record<string, Field>,
): TaskProperties {
  // A parked message that expires would surface too early, and only its own user may publish a
  // user_id: both live on as headers.
  const { expiration, userId, headers: received, ...kept } = properties;
  const headers = new Map(Object.entries(received ?? {}).filter(([name]) => !steers(name)));
  if (userId !== undefined) headers.set(HEADER.userId, userId);
  const lifetime = toInteger(expiration);
  if (lifetime !== undefined && !headers.has(HEADER.expiresAt)) {
    headers.set(HEADER.expiresAt, now + lifetime);
  }
  headers.set(HEADER.hops, (toInteger(headers.get(HEADER.hops)) ?? 0) + 1);
  for (const [name, value] of Object.entries(changes)) {
    if (value === undefined) headers.delete(name);
    else headers.set(name, value);
  }
  return { ...kept, headers: Object.fromEntries(headers), deliveryMode: 2 };
}

function steers(name: string): boolean {
  return STEERING.has(name) || STEERING_PREFIXES.some((prefix) => name.startsWith(prefix));
}

/** A whole number from 0 to 2^53 - 1, also when written as text, else undefined. */
function toInteger(value: Field): number | undefined {
  const number = typeof value === "bigint" || (typeof value === "string" && /^\d+$/.test(value))
    ? Number(value)
    : value;
  return typeof number === "number" && Number.isSafeInteger(number) && number >= 0
    ? number
    : undefined;
}

function clip(text: string): string {
  return text.slice(0, MAX_ERROR_LENGTH).toWellFormed();
}
