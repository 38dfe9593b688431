/** One schedule: a record with the times at which it is sent. */
import { parseRecord, readRecord, RecordError, type TaskRecord } from "../task/record.ts";
import { shown } from "../task/record_error.ts";
import { SHORT_STRING_BYTES, utf8Length } from "../task/short_string.ts";
import { type CronLine, readSlots, type Slots } from "./cron.ts";
import type { Defaults } from "./outgoing.ts";
import { toHex } from "../task/hex.ts";

export interface Schedule {
  /** Beginning of its tasks' ids: the record's own, or made of all that it says. */
  readonly key: string;
  readonly record: TaskRecord;
  readonly slots: Slots;
  /** Whose time its line tells; undefined: this host's. */
  readonly timezone: string | undefined;
}

const FIELDS = ["cron", "second", "timezone"] as const;
/** Leaves room for a slot behind it. */
const MAX_ID_BYTES = SHORT_STRING_BYTES - "-2027-01-31T08:00:00.000Z".length;

/**
 * Reads a line of a schedule file, or what options and words say.
 *
 * @param now in milliseconds since 1970
 * @param timezone of records that name none; default this host's
 * @throws {RecordError}
 */
export async function readSchedule(
  source: Uint8Array | object,
  defaults: Defaults,
  now: number,
  timezone?: string,
): Promise<Schedule> {
  const options = { now, extra: FIELDS };
  const record = source instanceof Uint8Array
    ? parseRecord(source, options)
    : readRecord(source, options);
  const line = cronOf(record, timezone);
  if (record.dueAt !== undefined || record.delayMs === undefined && defaults.dueAt !== undefined) {
    throw new RecordError("at", "be absent from a schedule", "is there");
  }
  const { messageId } = record.properties;
  const bytes = utf8Length(messageId ?? "");
  if (bytes > MAX_ID_BYTES) {
    throw new RecordError("id", `have at most ${MAX_ID_BYTES} bytes in a schedule`, `has ${bytes}`);
  }
  return {
    key: messageId ?? await digest(record, line, defaults),
    record,
    slots: readSlots(line, now),
    timezone: line.timezone,
  };
}

/** The id of a task: the same for whoever sends this slot. */
export function slotId(schedule: Schedule, slot: number): string {
  return `${schedule.key}-${new Date(slot).toISOString().replace(".000Z", "Z")}`;
}

/** @throws {RecordError} */
function cronOf({ extra }: TaskRecord, timezone: string | undefined): CronLine {
  const read = (name: string): string | undefined => {
    const value = extra.get(name);
    if (value === undefined || typeof value === "string") return value;
    if (name === "second" && typeof value === "number") return String(value);
    throw new RecordError(name, "be text", `is ${shown(value)}`);
  };
  const cron = read("cron");
  if (cron === undefined) throw new RecordError("", "have cron in a schedule", "has none");
  return { cron, second: read("second"), timezone: read("timezone") ?? timezone };
}

async function digest(record: TaskRecord, line: CronLine, defaults: Defaults): Promise<string> {
  const { body, properties, queue = defaults.queue.name, delayMs = defaults.delayMs } = record;
  const { messageId: _id, timestamp: _time, ...common } = defaults.properties ?? {};
  const whole = sorted({
    ...line,
    queue,
    delayMs,
    properties: { ...common, ...properties },
    body: [...new Uint8Array(await crypto.subtle.digest("SHA-256", body as BufferSource))],
  });
  const text = JSON.stringify(
    whole,
    (_name, value) => typeof value === "bigint" ? `${value}n` : value,
  );
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return toHex(new Uint8Array(hash, 0, 12));
}

/** The same with its fields in one order. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null || value instanceof Date) return value;
  return Object.fromEntries(
    Object.entries(value).filter(([, field]) => field !== undefined)
      .sort(([a], [b]) => a < b ? -1 : 1).map(([name, field]) => [name, sorted(field)]),
  );
}
