/**
 * What this project writes about a task into its headers, and how a task is copied when it is
 * parked, declared dead or replayed. Everything here is a pure function from properties to
 * properties.
 *
 * Header names begin with `task-`: brokers call `x-*` their own.
 */
import { DEDUPLICATION_HEADER } from "./duplicates.ts";
import type { Field, ReceivedTask, Task, TaskProperties } from "./task.ts";

export const HEADER = {
  /** Attempts made so far; integer. */
  attempt: "task-attempt",
  /** Starts whose worker vanished, of which the broker does not know; integer. */
  crashes: "task-crashes",
  /** Why the last attempt failed; text. */
  error: "task-error",
  /** The work queue it belongs to; text. */
  originQueue: "task-origin-queue",
  /** The exchange and routing key it was first published with, unless it was the default one; text. */
  exchange: "task-exchange",
  routingKey: "task-routing-key",
  /** What is left of its wait when it leaves the delay queue it is in; integer, milliseconds. */
  wait: "task-wait",
  /**
   * What is left of its time to live when it leaves the delay queue it is in; integer,
   * milliseconds. Stands in for `expiration`.
   */
  expiresIn: "task-expires-in",
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
  /** How it came from another broker; a table, see `forwarding.ts`. */
  forwarded: "task-forwarded",
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
  /** Starts whose worker vanished, as written down when it was last published anew. */
  readonly crashes: number;
  /**
   * Deliveries since then that ended without an answer, or with being given back; begun or not.
   * Infinity: at least one, and nobody counts (quorum queues do, classic queues do not).
   */
  readonly losses: number;
  /** What is left to wait, in milliseconds. */
  readonly waitMs?: number;
  /** What is left of its time to live, in milliseconds. */
  readonly expiresInMs?: number;
  readonly replays: number;
}

/** Headers that name further queues: a broker sends a copy of the message to each at once. */
export const COPY_HEADERS: readonly string[] = ["CC", "BCC"];

const DEDUPLICATION_HEADERS: readonly string[] = [DEDUPLICATION_HEADER, "x-cache-ttl"];

/**
 * Headers by which brokers steer dead-lettering and drop duplicates. Carried along in a copy they
 * would make RabbitMQ see a cycle and drop the task silently, or count deliveries of another message.
 */
const STEERING: ReadonlySet<string> = new Set([
  "x-death",
  "x-delivery-count",
  "x-acquired-count",
  // The queue has had the task, and would drop its copy.
  ...DEDUPLICATION_HEADERS,
  ...COPY_HEADERS,
]);
const STEERING_PREFIXES = ["x-first-death-", "x-last-death-"];

/** What a dead letter says; gone from a task that gets a new life. */
const OBITUARY: readonly string[] = [
  HEADER.deadReason,
  HEADER.exitCode,
  HEADER.stderrTail,
  HEADER.host,
  HEADER.diedAt,
];

/** Longest text that is said of a failure, in UTF-16 code units. */
const MAX_ERROR_LENGTH = 1_024;

/** Reads what the headers say. Values that make no sense count as absent: headers are foreign. */
export function readHistory(
  task: Pick<ReceivedTask, "isPlain" | "properties" | "redelivered">,
): History {
  const headers = task.isPlain === true ? undefined : task.properties.headers;
  if (headers === undefined && !task.redelivered) return NO_HISTORY;
  return historyOf(headers ?? {}, task.redelivered);
}

/** Of most tasks. */
export const NO_HISTORY: History = {
  attempts: 0,
  crashes: 0,
  losses: 0,
  replays: 0,
};

function historyOf(headers: Readonly<Record<string, Field>>, redelivered: boolean): History {
  const deliveries = [headers["x-acquired-count"], headers["x-delivery-count"]].map(toInteger);
  const counts = deliveries.filter((count) => count !== undefined);
  const waitMs = toInteger(headers[HEADER.wait]);
  const expiresInMs = toInteger(headers[HEADER.expiresIn]);
  return {
    attempts: toInteger(headers[HEADER.attempt]) ?? 0,
    crashes: toInteger(headers[HEADER.crashes]) ?? 0,
    losses: counts.length > 0 ? Math.max(...counts) : redelivered ? Infinity : 0,
    ...(waitMs === undefined ? {} : { waitMs }),
    ...(expiresInMs === undefined ? {} : { expiresInMs }),
    replays: toInteger(headers[HEADER.replays]) ?? 0,
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
export type CopiedTask =
  & Pick<Task, "properties" | "queue">
  & Partial<Pick<Task, "exchange" | "routingKey">>;

/** What changes when a task is parked in a delay queue, or put back on its own queue. */
export interface Parking {
  /** Attempts made so far. */
  readonly attempts: number;
  /** Crashes that no broker counts any more once the task is a new message. */
  readonly crashes?: number;
  readonly error?: string;
  /** What is left to wait when it comes back, in milliseconds. */
  readonly waitMs?: number | undefined;
}

/**
 * Properties of the copy of a task that is to be run again.
 *
 * @param passedMs of its time to live, when it comes back
 */
export function parkedProperties(
  task: CopiedTask,
  parking: Parking,
  passedMs: number,
): TaskProperties {
  return copyProperties(task.properties, passedMs, {
    ...route(task),
    [HEADER.originQueue]: task.queue,
    [HEADER.attempt]: parking.attempts,
    [HEADER.crashes]: parking.crashes || undefined,
    [HEADER.wait]: parking.waitMs || undefined,
    ...(parking.error === undefined ? {} : { [HEADER.error]: clip(parking.error) }),
  });
}

/** The same of a task that is not on its work queue yet: that queue may drop it as a duplicate. */
export function firstParkedProperties(
  ...[task, parking, passedMs]: Parameters<typeof parkedProperties>
): TaskProperties {
  const { headers, ...properties } = parkedProperties(task, parking, passedMs);
  const own = Object.entries(task.properties.headers ?? {})
    .filter(([name]) => DEDUPLICATION_HEADERS.includes(name));
  return { ...properties, headers: { ...headers, ...Object.fromEntries(own) } };
}

/**
 * The same for a copy that goes straight to its work queue, where the broker sees to its time to
 * live.
 */
export function renewedProperties(
  task: CopiedTask,
  parking: Parking,
  passedMs: number,
): TaskProperties {
  return surfaced(parkedProperties(task, parking, passedMs));
}

/** With its time to live where the broker sees to it. */
export function surfaced({ headers, ...properties }: TaskProperties): TaskProperties {
  const { [HEADER.expiresIn]: left, ...rest } = headers ?? {};
  return {
    ...properties,
    headers: rest,
    ...(left === undefined ? {} : { expiration: String(left) }),
  };
}

/**
 * What is left of a task's time to live, in milliseconds; undefined: it has none.
 *
 * @param passedMs since it was delivered
 */
export function lifetimeLeft({ expiration, headers }: TaskProperties, passedMs: number) {
  const lifetime = toInteger(headers?.[HEADER.expiresIn]) ?? toInteger(expiration);
  return lifetime === undefined ? undefined : lifetime - passedMs;
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
  return copyProperties(task.properties, 0, {
    ...route(task),
    [HEADER.originQueue]: task.queue,
    [HEADER.attempt]: obituary.attempts,
    [HEADER.wait]: undefined,
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
    [HEADER.wait]: undefined,
    [HEADER.expiresIn]: undefined,
    [HEADER.replays]: replays,
    ...Object.fromEntries(OBITUARY.map((name) => [name, undefined])),
  });
}

/** Headers that keep how a task was first published. */
export function route(task: CopiedTask): Record<string, Field> {
  const { exchange, routingKey } = originalRoute({
    exchange: task.exchange ?? "",
    routingKey: task.routingKey ?? task.queue,
    properties: task.properties,
  });
  return exchange === "" ? {} : { [HEADER.exchange]: exchange, [HEADER.routingKey]: routingKey };
}

/**
 * Properties of a copy.
 *
 * @param passedMs of its time to live
 * @param changes of its headers; one of `undefined` is removed
 */
export function copyProperties(
  properties: TaskProperties,
  passedMs: number,
  changes: Record<string, Field>,
): TaskProperties {
  // A parked message that expires would surface too early, and only its own user may publish a
  // user_id: both live on as headers.
  const { expiration, userId, headers: received, ...kept } = properties;
  const headers = new Map<string, Field>();
  for (const name in received) if (!steers(name)) headers.set(name, received[name]);
  if (userId !== undefined) headers.set(HEADER.userId, userId);
  const lifetime = toInteger(headers.get(HEADER.expiresIn)) ?? toInteger(expiration);
  if (lifetime !== undefined) {
    headers.set(HEADER.expiresIn, Math.max(0, Math.round(lifetime - passedMs)));
  }
  headers.set(HEADER.hops, (toInteger(headers.get(HEADER.hops)) ?? 0) + 1);
  for (const name in changes) {
    const value = changes[name];
    if (value === undefined) headers.delete(name);
    else headers.set(name, value);
  }
  return { ...kept, headers: Object.fromEntries(headers), deliveryMode: 2 };
}

/** Whether a header is for brokers, which would take it for one of the copy. */
export function steers(name: string): boolean {
  return STEERING.has(name) || STEERING_PREFIXES.some((prefix) => name.startsWith(prefix));
}

/** A whole number from 0 to 2^53 - 1, also when written as text, else undefined. */
export function toInteger(value: Field): number | undefined {
  const number = typeof value === "bigint" || (typeof value === "string" && /^\d+$/.test(value))
    ? Number(value)
    : value;
  return typeof number === "number" && Number.isSafeInteger(number) && number >= 0
    ? number
    : undefined;
}

/** A text about a failure, as long as it may be. */
export function clip(text: string): string {
  return text.slice(0, MAX_ERROR_LENGTH).toWellFormed();
}
