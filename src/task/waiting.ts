/**
 * How long a task waited for its run, from what senders and brokers wrote on it. Their clocks are
 * others than ours, and most count whole seconds: this is for people and statistics, and nothing is
 * decided by it.
 */
import type { Field, Task } from "./task.ts";
import { HEADER } from "./headers.ts";

/** RabbitMQ's, where it is told to stamp what comes in (message_interceptors). */
const BROKER_STAMP = "timestamp_in_ms";

/** Whoever says more means something else, in milliseconds. */
const LONGEST_MS = 366 * 86_400_000;
/** A clock that is further ahead of ours tells nothing, in milliseconds. */
const MOST_AHEAD_MS = 60_000;

/**
 * @param begunAt milliseconds since 1970
 * @returns milliseconds since it could first have been run; undefined where nothing tells, as of a
 *   task that was given back or replayed
 */
export function waitedMs(
  { properties, redelivered }: Pick<Task, "properties" | "redelivered">,
  begunAt: number,
): number | undefined {
  if (redelivered) return undefined;
  const { headers = {}, timestamp } = properties;
  const surfaced = lastDeath(headers["x-death"]);
  const forwarded = forwardedAt(headers[HEADER.forwarded]);
  // A copy that took no time in a delay queue: the stamps are those of its original.
  const isCopy = headers[HEADER.originQueue] !== undefined || headers[HEADER.replays] !== undefined;
  if (isCopy && surfaced === undefined) return undefined;
  const stamps = [surfaced, forwarded, headers[BROKER_STAMP], timestamp]
    .map(toMilliseconds)
    .filter((ms) => ms !== undefined);
  if (stamps.length === 0) return undefined;
  const ms = begunAt - Math.max(...stamps);
  return ms > LONGEST_MS || ms < -MOST_AHEAD_MS ? undefined : Math.max(0, Math.round(ms));
}

/** When it last left a queue for this one: its wait is over then. */
function lastDeath(deaths: Field | undefined): Date | undefined {
  if (!Array.isArray(deaths)) return undefined;
  const times = deaths.map((death) => isTable(death) ? toMilliseconds(death.time) : undefined)
    .filter((ms) => ms !== undefined);
  return times.length === 0 ? undefined : new Date(Math.max(...times));
}

function forwardedAt(forwarded: Field | undefined): Date | undefined {
  const at = isTable(forwarded) ? forwarded.at : undefined;
  return typeof at === "string" ? new Date(at) : undefined;
}

function isTable(field: Field | undefined): field is Record<string, Field> {
  return typeof field === "object" && field !== null && !(field instanceof Date) &&
    !Array.isArray(field) && !(field instanceof Uint8Array);
}

function toMilliseconds(stamp: Field | undefined): number | undefined {
  const ms = stamp instanceof Date ? stamp.getTime() : Number(stamp ?? NaN);
  return Number.isFinite(ms) ? ms : undefined;
}
