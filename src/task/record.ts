/**
 * A task as a JSON object: the one grammar for files of records, schedules, HTTP and the library.
 *
 *   {"json": {"to": "ann@example.org"}, "queue": "mails", "priority": 5, "delay": "90s"}
 *
 * Pure: whoever sends a record knows the time, the default queue and the broker.
 */
import { closestString } from "@std/text/closest-string";
import { levenshteinDistance } from "@std/text/levenshtein-distance";
import {
  LONGEST_DELAY_MS,
  MAX_EXPIRATION_MS,
  parseDuration,
  parseExpiration,
  parseTime,
} from "./duration.ts";
import { COPY_HEADERS } from "./headers.ts";
import { RecordError, requireObject, shown, wellFormed } from "./record_error.ts";
import { readHeaders } from "./record_headers.ts";
import { decode, parseJson, WrittenRecord } from "./record_text.ts";
import { SHORT_STRING_BYTES, utf8Length } from "./short_string.ts";
import type { Field, TaskProperties } from "./task.ts";
import { DIRECT_REPLY_TO, MAX_QUEUE_NAME_BYTES } from "./topology.ts";

/** A record as a program writes it. All fields are optional but one of the three bodies. */
export interface RecordInput {
  /** Text, sent as UTF-8; the library takes bytes, too. Content type `text/plain`. */
  readonly body?: string | Uint8Array;
  /** Bytes. Content type `application/octet-stream`. */
  readonly body_base64?: string;
  /** Any value, sent as JSON. Content type `application/json`. */
  readonly json?: unknown;
  /** The message id; 1 to 255 bytes. */
  readonly id?: string;
  /** The work queue; default the sender's. */
  readonly queue?: string;
  /** 0 to 255, for queues that have priorities. */
  readonly priority?: number;
  /** Text, numbers, true, false, null, and lists and objects of them, at most 32 deep. */
  readonly headers?: Readonly<Record<string, unknown>>;
  /** Instead of the one that follows from the body; as all texts below, of at most 255 bytes. */
  readonly content_type?: string;
  /** Such as "gzip"; nobody but the handler looks at it. */
  readonly content_encoding?: string;
  /** What kind of work it is. */
  readonly type?: string;
  /** What an answer to it will bear. */
  readonly correlation_id?: string;
  /** The queue for its answer. */
  readonly reply_to?: string;
  /** Milliseconds, or a time such as "30s": dropped when no worker has taken it by then. */
  readonly expiration?: number | string;
  /** Seconds, or a time such as "90s": not to be run before so much time has passed. */
  readonly delay?: number | string;
  /** RFC 3339 with a zone; the library takes dates, too: not to be run before. */
  readonly at?: string | Date;
}

/** What a record says. */
export interface TaskRecord {
  readonly body: Uint8Array;
  /** Without what the sender adds: delivery mode, timestamp, and an id where there is none. */
  readonly properties: TaskProperties;
  /** Default: the sender's. */
  readonly queue?: string;
  /** Milliseconds from now on; never together with `dueAt`. */
  readonly delayMs?: number;
  /** Milliseconds since 1970. */
  readonly dueAt?: number;
  /** Values of the fields that only the caller knows, as they are. */
  readonly extra: ReadonlyMap<string, unknown>;
}

export interface RecordOptions {
  /** Milliseconds since 1970. */
  readonly now: number;
  /** Fields that the caller reads itself, such as a schedule's `cron`. */
  readonly extra?: readonly string[];
}

export { RecordError } from "./record_error.ts";

const BODIES = ["body", "body_base64", "json"] as const;

/** Properties that are short strings, which hold 255 bytes, and their names in AMQP libraries. */
const SHORT_STRINGS = [
  ["id", "messageId"],
  ["content_type", "contentType"],
  ["content_encoding", "contentEncoding"],
  ["type", "type"],
  ["correlation_id", "correlationId"],
  ["reply_to", "replyTo"],
] as const;

const FIELDS: ReadonlySet<string> = new Set([
  ...BODIES,
  ...SHORT_STRINGS.map(([name]) => name),
  "queue",
  "priority",
  "headers",
  "expiration",
  "delay",
  "at",
]);

const NOTHING: ReadonlyMap<string, unknown> = new Map();
const encoder = new TextEncoder();

/**
 * Reads a record as text, where numbers keep all their digits and no field may be there twice.
 *
 * @param source text, or its bytes in UTF-8; a body may become a part of them
 * @throws {RecordError}
 */
export function parseRecord(source: string | Uint8Array, options: RecordOptions): TaskRecord {
  const text = typeof source === "string" ? source : decode(source);
  const value = parseJson(text);
  requireObject("", value);
  return new RecordReader(value, options, new WrittenRecord(text, source)).read();
}

/**
 * Reads a record that is a value already. A field that is `undefined` is absent.
 *
 * @throws {RecordError}
 */
export function readRecord(value: unknown, options: RecordOptions): TaskRecord {
  requireObject("", value);
  return new RecordReader({ ...value }, options).read();
}

class RecordReader {
  readonly #fields: Readonly<Record<string, unknown>>;
  readonly #options: RecordOptions;
  /** Where the record was text. */
  readonly #written: WrittenRecord | undefined;

  constructor(record: object, options: RecordOptions, written?: WrittenRecord) {
    this.#fields = record as Record<string, unknown>;
    this.#options = options;
    this.#written = written;
  }

  read(): TaskRecord {
    const extra = this.#extra();
    const { body, contentType } = this.#body();
    const headers = this.#headers();
    const wait = this.#wait();
    const queue = this.#queue(wait !== undefined);
    this.#checkCopies(headers, wait !== undefined);
    const properties: Writable<TaskProperties> = { contentType };
    for (const [name, property] of SHORT_STRINGS) {
      const text = this.#shortString(name, name === "id" ? 1 : 0);
      if (text !== undefined) properties[property] = text;
    }
    const priority = this.#priority();
    if (priority !== undefined) properties.priority = priority;
    const expiration = this.#expiration();
    if (expiration !== undefined) properties.expiration = expiration;
    if (headers !== undefined) properties.headers = headers;
    return { body, properties, ...(queue === undefined ? {} : { queue }), ...wait, extra };
  }

  /** @throws {RecordError} a field that neither records nor the caller have */
  #extra(): ReadonlyMap<string, unknown> {
    const { extra = [] } = this.#options;
    let found: Map<string, unknown> | undefined;
    for (const name of Object.keys(this.#fields)) {
      const value = this.#fields[name];
      if (FIELDS.has(name) || value === undefined) continue;
      if (!extra.includes(name)) throw this.#unknownField(name, extra);
      (found ??= new Map()).set(name, value);
    }
    return found ?? NOTHING;
  }

  #unknownField(name: string, extra: readonly string[]): RecordError {
    const known = [...FIELDS, ...extra];
    const nearest = closestString(name, known);
    const near = levenshteinDistance(name, nearest) <= Math.max(1, Math.floor(nearest.length / 3));
    const hasBody = BODIES.some((field) => this.#fields[field] !== undefined);
    const hint = near
      ? `; did you mean ${nearest}?`
      : hasBody
      ? ""
      : '; JSON that is itself the task goes into json: {"json": ...}';
    return new RecordError(
      "",
      `have no other fields than ${known.join(", ")}`,
      `has ${shown(name)}${hint}`,
    );
  }

  #body(): { body: Uint8Array; contentType: string } {
    const { body, body_base64: base64, json } = this.#fields;
    const isOne = Number(body !== undefined) + Number(base64 !== undefined) +
        Number(json !== undefined) === 1;
    if (!isOne) {
      const given = BODIES.filter((name) => this.#fields[name] !== undefined);
      const state = given.length === 0 ? "has none" : `has ${given.join(" and ")}`;
      throw new RecordError("", "have one of body, body_base64 and json", state);
    }
    if (json !== undefined) return { body: this.#json(json), contentType: "application/json" };
    if (base64 !== undefined) {
      return { body: fromBase64("body_base64", base64), contentType: "application/octet-stream" };
    }
    if (body instanceof Uint8Array) return { body, contentType: "text/plain" };
    const text = wellFormed("body", body);
    const bytes = this.#written?.textOf("body", text) ?? encoder.encode(text);
    return { body: bytes, contentType: "text/plain" };
  }

  /** As it was written, so that no digit of a number is lost. */
  #json(value: unknown): Uint8Array {
    if (this.#written !== undefined) return this.#written.bytesOf("json");
    let text: string | undefined;
    try {
      text = JSON.stringify(value);
    } catch (error) {
      const why = error instanceof RangeError
        ? "it is nested too deeply"
        : (error as Error).message;
      throw new RecordError("json", "be a value that JSON can hold", `is none: ${why}`);
    }
    if (text === undefined) {
      throw new RecordError("json", "be a value that JSON can hold", `is a ${typeof value}`);
    }
    if (text.includes("null")) requireNumbers(value);
    return encoder.encode(text);
  }

  #headers(): Record<string, Field> | undefined {
    const value = this.#fields.headers;
    if (value === undefined) return undefined;
    return readHeaders(value, this.#written?.get("headers"));
  }

  /** Brokers close the channel for a list of copies that is none, and with it other tasks' way. */
  #checkCopies(headers: Record<string, Field> | undefined, waits: boolean): void {
    for (const name of COPY_HEADERS) {
      const value = headers !== undefined && Object.hasOwn(headers, name)
        ? headers[name]
        : undefined;
      if (value === undefined) continue;
      if (waits) {
        const requirement = "be absent from a task that waits (brokers send it on at once)";
        throw new RecordError(`headers.${name}`, requirement, `is ${shown(value)}`);
      }
      if (Array.isArray(value) && value.every((key) => typeof key === "string")) continue;
      throw new RecordError(`headers.${name}`, "be a list of routing keys", `is ${shown(value)}`);
    }
  }

  #queue(waits: boolean): string | undefined {
    const most = waits ? MAX_QUEUE_NAME_BYTES : SHORT_STRING_BYTES;
    return this.#shortString("queue", 1, most, waits ? " for a task that waits" : "");
  }

  #shortString(
    name: string,
    least = 0,
    most = SHORT_STRING_BYTES,
    where = "",
  ): string | undefined {
    const value = this.#fields[name];
    if (value === undefined) return undefined;
    const text = wellFormed(name, value);
    const isSurelyShort = text.length >= least && 3 * text.length <= most;
    const bytes = isSurelyShort ? text.length : utf8Length(text);
    if (bytes < least || bytes > most) {
      throw new RecordError(name, `have ${least} to ${most} bytes${where}`, `has ${bytes}`);
    }
    if (name === "queue" && /[\r\n]/.test(text)) {
      throw new RecordError(name, "be without a line break", `is ${shown(text)}`);
    }
    // Whoever is not asking is refused by the broker.
    if (name === "reply_to" && text === DIRECT_REPLY_TO) {
      throw new RecordError(name, "name a queue", `is ${shown(text)}, which is nobody's here`);
    }
    return text;
  }

  #priority(): number | undefined {
    const value = this.#fields.priority;
    if (value === undefined) return undefined;
    if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= 255) {
      return value;
    }
    throw new RecordError("priority", "be a whole number from 0 to 255", `is ${shown(value)}`);
  }

  #expiration(): string | undefined {
    const value = this.#fields.expiration;
    if (value === undefined) return undefined;
    const ms = typeof value === "string"
      ? parseExpiration(value)
      : isWhole(value, MAX_EXPIRATION_MS)
      ? value
      : undefined;
    if (ms !== undefined) return String(ms);
    const requirement = "be milliseconds, or a time such as 500ms or 5m, of at most 49 days";
    throw new RecordError("expiration", requirement, `is ${shown(value)}`);
  }

  #wait(): Pick<TaskRecord, "delayMs" | "dueAt"> | undefined {
    const delay = this.#fields.delay;
    const at = this.#fields.at;
    if (delay !== undefined && at !== undefined) {
      throw new RecordError("", "have delay or at, not both", "has both");
    }
    if (delay !== undefined) return { delayMs: this.#delayMs(delay) };
    return at === undefined ? undefined : { dueAt: this.#dueAt(at) };
  }

  #delayMs(value: unknown): number {
    const ms = typeof value === "string"
      ? parseDuration(value)
      : typeof value === "number" && value >= 0
      ? Math.round(value * 1_000)
      : undefined;
    if (ms !== undefined && ms <= LONGEST_DELAY_MS) return ms;
    const requirement = "be seconds, or a time such as 90s or 7d, of at most ten years";
    throw new RecordError("delay", requirement, `is ${shown(value)}`);
  }

  #dueAt(value: unknown): number {
    const time = value instanceof Date
      ? value.getTime()
      : typeof value === "string"
      ? parseTime(value)
      : undefined;
    if (time !== undefined && time - this.#options.now <= LONGEST_DELAY_MS) return time;
    throw new RecordError(
      "at",
      "be a date, a time and a zone such as 2027-01-31T08:00:00Z, at most ten years from now",
      `is ${shown(value)}`,
    );
  }
}

/** @throws {RecordError} */
function fromBase64(path: string, value: unknown): Uint8Array {
  const text = wellFormed(path, value);
  let binary: string;
  try {
    binary = atob(text);
  } catch {
    throw new RecordError(path, "be base64 (A-Z a-z 0-9 + / =)", `is ${shown(text)}`);
  }
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** @throws {RecordError} there is a number of which JSON would make null */
function requireNumbers(json: unknown): void {
  JSON.stringify(json, (_name, value: unknown) => {
    if (typeof value !== "number" || Number.isFinite(value)) return value;
    throw new RecordError("json", "be a value that JSON can hold", `has ${value}`);
  });
}

function isWhole(value: unknown, most: number): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= most;
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };
