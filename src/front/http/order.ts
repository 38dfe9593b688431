/** What a POST request orders: tasks out of its body, its headers and its query. */
import { createHash } from "node:crypto";
import { ToolError } from "../../errors.ts";
import type { IncomingMessage } from "../../observe/http.ts";
import { Problem } from "../../observe/problem.ts";
import { textOnWire } from "../../observe/wire_text.ts";
import { COPY_HEADERS } from "../../task/headers.ts";
import { parseRecord, readRecord, RecordError, type TaskRecord } from "../../task/record.ts";
import { readTraceContext, type TraceContext } from "../../task/trace_context.ts";

/** A task of a request. */
export interface OrderedTask {
  readonly record: TaskRecord;
  /** Its place, 1 for the first; undefined for a request that is one task. */
  readonly line?: number;
  /** Given by whoever asks; with another request's it is the same task. */
  readonly id?: string;
  /** Tells requests of one id apart that are not the same. */
  readonly fingerprint: string;
}

export interface Order {
  /** What stands in for what a record does not say. */
  readonly common: TaskRecord;
  readonly tasks: readonly OrderedTask[];
  /** The body had records, a line each, even if it was one. */
  readonly isMany: boolean;
}

/** How a body is read. */
type Kind = "body" | "record" | "records";

const KINDS: readonly string[] = ["body", "record", "records"];

const RECORD_TYPES: Readonly<Record<string, Kind>> = {
  "application/json": "record",
  "application/x-ndjson": "records",
  "application/ndjson": "records",
  "application/jsonl": "records",
  "application/x-jsonlines": "records",
};

/** Headers that are a field of the task each: `worker --post` sends the same. */
const HEADER_FIELDS: Readonly<Record<string, string>> = {
  "task-id": "id",
  "task-queue": "queue",
  "task-priority": "priority",
  "task-type": "type",
  "task-correlation-id": "correlation_id",
  "task-reply-to": "reply_to",
  "task-expiration": "expiration",
  "task-delay": "delay",
  "task-at": "at",
  "task-headers": "headers",
};

const BODY_FIELDS: readonly string[] = ["body", "body_base64", "json"];

/** What a request says before its body. */
export interface OrderHead {
  readonly kind: Kind;
  /** Fields of the record grammar. */
  readonly given: ReadonlyMap<string, unknown>;
  /** Headers of the task that say of which trace it is part: another one at each try. */
  readonly trace: TraceContext | undefined;
  readonly contentType: string | undefined;
  readonly contentEncoding: string | undefined;
}

/**
 * Reads everything but the body.
 *
 * @throws {Problem} 400, 415
 */
export function readOrderHead(request: IncomingMessage, query: URLSearchParams): OrderHead {
  const { headers } = request;
  const given = new Map<string, unknown>();
  const as = readQuery(query, given);
  readHeaderFields(request, given);
  const contentType = headerOf(headers, "content-type");
  const contentEncoding = headerOf(headers, "content-encoding");
  const essence = (contentType ?? "").split(";", 1)[0]!.trim().toLowerCase();
  if (contentType !== undefined && !/^[\w!#$&^.+-]+\/[\w!#$&^.+-]+$/.test(essence)) {
    throw new Problem(
      415,
      `the Content-Type must be a media type such as text/plain, and is ${shown(contentType)}`,
    );
  }
  const kind = as ?? RECORD_TYPES[essence] ?? "body";
  if (kind !== "body") requireReadable(contentType ?? "", contentEncoding);
  return { kind, given, trace: traceContext(request.rawHeaders), contentType, contentEncoding };
}

/** The value of a header of HTTP itself, if there is one. @throws {Problem} 400: it is no UTF-8 */
function headerOf(
  headers: IncomingMessage["headers"],
  name: "content-type" | "content-encoding",
): string | undefined {
  return textOf(name, headers[name]?.trim() ?? "") || undefined;
}

/** @throws {Problem} 415: a record is JSON in UTF-8, as it is */
function requireReadable(contentType: string, encoding: string | undefined): void {
  const charset = /;\s*charset\s*=\s*"?([^\s";]*)/i.exec(contentType)?.[1] ?? "utf-8";
  if (!/^(?:utf-?8|us-ascii)$/i.test(charset)) {
    throw new Problem(415, `a record must be UTF-8, and is ${shown(charset)}`);
  }
  if (encoding === undefined || encoding.toLowerCase() === "identity") return;
  throw new Problem(
    415,
    `a record must have no Content-Encoding, and has ${shown(encoding)}; the body of a task may`,
    { "accept-encoding": "identity" },
  );
}

/** @returns how the body is to be read, if that is said */
function readQuery(query: URLSearchParams, given: Map<string, unknown>): Kind | undefined {
  let as: Kind | undefined;
  for (const [name, value] of query) {
    if (given.has(name) || (name === "as" && as !== undefined)) throw twice(name, "its query");
    if (name === "as") {
      if (!KINDS.includes(value)) {
        throw new Problem(400, `as must be body, record or records, and is ${shown(value)}`);
      }
      as = value as Kind;
    } else if (BODY_FIELDS.includes(name)) {
      throw new Problem(400, `a task must have its body in the request's, and has ${name} apart`);
    } else given.set(name, fieldOf(name, value));
  }
  return as;
}

function readHeaderFields({ rawHeaders }: IncomingMessage, given: Map<string, unknown>): void {
  const seen = new Set<string>();
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!.toLowerCase();
    const isKey = name === "idempotency-key";
    // node:http would take the first of several.
    const isType = name === "content-type";
    if (!isKey && !isType && !name.startsWith("task-")) continue;
    if (seen.has(name)) throw twice(rawHeaders[i]!, "its headers");
    seen.add(name);
    if (isType) continue;
    const value = textOf(name, rawHeaders[i + 1]!);
    if (!isKey && !Object.hasOwn(HEADER_FIELDS, name)) {
      throw new Problem(
        400,
        `a request must have no other Task- headers than ${
          Object.keys(HEADER_FIELDS).join(", ")
        }, and has ${shown(name)}`,
      );
    }
    const field = isKey ? "id" : HEADER_FIELDS[name]!;
    const text = isKey ? keyOf(value) : field === "headers" ? value : decoded(name, value);
    const read = fieldOf(field, text);
    if (given.has(field) && given.get(field) !== read) throw twice(field, "it in two ways");
    given.set(field, read);
  }
}

/** A structured header's string, or the key as it is. */
function keyOf(value: string): string {
  const [, quoted] = /^"((?:[^"\\]|\\["\\])*)"$/.exec(value) ?? [];
  return quoted === undefined ? value : quoted.replace(/\\(.)/g, "$1");
}

/** The text of a field as the record grammar takes it. */
function fieldOf(name: string, text: string): unknown {
  if (name === "priority" && /^\d{1,4}$/.test(text)) return Number(text);
  // In a query, "+" is a blank.
  if (name === "at") return text.replace(/ (?=\d\d:\d\d$)/, "+");
  if (name !== "headers") return text;
  try {
    JSON.parse(text);
  } catch {
    throw new Problem(400, `headers must be a JSON object, and is ${shown(text)}`);
  }
  // As text, in which numbers have all their digits.
  return readOrThrow(() => parseRecord(`{"body":"","headers":${text}}`, { now: 0 }))
    .properties.headers;
}

/** @throws {Problem} 400 */
function textOf(name: string, value: string): string {
  const text = textOnWire(value);
  if (text !== undefined) return text;
  throw new Problem(400, `${name} must be UTF-8, and is not`);
}

function decoded(name: string, value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    throw new Problem(400, `${name} must be percent-encoded UTF-8, and is ${shown(value)}`);
  }
}

function traceContext(rawHeaders: readonly string[]): TraceContext | undefined {
  const values = (wanted: string) =>
    rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1]!.toLowerCase() === wanted);
  const [traceparent, ...others] = values("traceparent");
  if (others.length > 0) return undefined;
  return readTraceContext({ traceparent, tracestate: values("tracestate").join(",") });
}

/**
 * Reads the tasks.
 *
 * @param now milliseconds since 1970
 * @param most tasks of one request
 * @throws {Problem} 400, 413: none of them is to be sent
 */
export function readOrder(head: OrderHead, body: Uint8Array, now: number, most: number): Order {
  const { kind, given, contentType, contentEncoding } = head;
  const common = readCommon(head, now);
  const id = common.properties.messageId;
  const context = JSON.stringify([kind, contentType, contentEncoding, [...given].sort()], exact);
  if (kind === "records") {
    return { common, tasks: readLines(body, now, most, id, context), isMany: true };
  }
  const record = readOrThrow(() =>
    kind === "record" ? parseRecord(body, { now }) : readRecord({
      body,
      content_type: given.get("content_type") ?? contentType ?? "application/octet-stream",
      content_encoding: given.get("content_encoding") ?? contentEncoding,
    }, { now })
  );
  refuseCopies(record);
  const own = record.properties.messageId ?? id;
  return { common, tasks: [taskOf(record, own, body, context)], isMany: false };
}

function readCommon({ given, trace }: OrderHead, now: number): TaskRecord {
  const record = readOrThrow(() => readRecord({ body: "", ...Object.fromEntries(given) }, { now }));
  refuseCopies(record);
  const { contentType, ...properties } = record.properties;
  const headers = { ...trace, ...properties.headers };
  return {
    ...record,
    properties: {
      ...properties,
      ...(Object.keys(headers).length === 0 ? {} : { headers }),
      // Otherwise it is the one of a body that is none.
      ...(given.has("content_type") && contentType !== undefined ? { contentType } : {}),
    },
  };
}

function readLines(
  body: Uint8Array,
  now: number,
  most: number,
  prefix: string | undefined,
  context: string,
): OrderedTask[] {
  const tasks: OrderedTask[] = [];
  const ids = new Set<string>();
  let line = 0;
  for (let start = 0; start < body.length;) {
    const newline = body.indexOf(10, start);
    const end = newline === -1 ? body.length : newline;
    const bytes = body.subarray(start, end);
    start = end + 1;
    line++;
    if (bytes.every((byte) => byte === 13 || byte === 32 || byte === 9)) continue;
    if (tasks.length === most) {
      throw new Problem(413, `a request must have at most ${most} records, and has more`);
    }
    const record = readOrThrow(() => parseRecord(bytes, { now }), line);
    refuseCopies(record, line);
    const id = record.properties.messageId ??
      (prefix === undefined ? undefined : `${prefix}-${line}`);
    if (id !== undefined && ids.has(id)) {
      throw badLine(new RecordError("id", "be another one in each line", "is there twice"), line);
    }
    if (id !== undefined) ids.add(id);
    tasks.push({ ...taskOf(record, id, bytes, context), line });
  }
  if (tasks.length > 0) return tasks;
  throw new Problem(400, "a body of records must have a record on a line, and has none");
}

function taskOf(
  record: TaskRecord,
  id: string | undefined,
  source: Uint8Array,
  context: string,
): OrderedTask {
  if (id === undefined) return { record, fingerprint: "" };
  const fingerprint = createHash("sha256").update(context).update("\0").update(source)
    .digest("base64");
  return { record, id, fingerprint };
}

/** Brokers send a copy to each queue that such a header names, whether it is served or not. */
function refuseCopies({ properties }: TaskRecord, line?: number): void {
  for (const name of COPY_HEADERS) {
    if (properties.headers === undefined || !Object.hasOwn(properties.headers, name)) continue;
    const requirement = "be absent from what comes over HTTP";
    throw badLine(new RecordError(`headers.${name}`, requirement, "is there"), line);
  }
}

function readOrThrow(read: () => TaskRecord, line?: number): TaskRecord {
  try {
    return read();
  } catch (error) {
    throw error instanceof ToolError ? badLine(error, line) : error;
  }
}

/** What the grammar refuses. */
export function badLine(error: ToolError, line: number | undefined): Problem {
  const place = line === undefined ? "" : `line ${line}: `;
  return new Problem(400, place + error.message, {}, {
    ...(error instanceof RecordError && error.field !== "" ? { field: error.field } : {}),
    ...(line === undefined ? {} : { line }),
  });
}

function twice(what: string, where: string): Problem {
  return new Problem(400, `a request must have each field once, and has ${what} twice (${where})`);
}

function shown(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}...` : text);
}

function exact(_name: string, value: unknown): unknown {
  return typeof value === "bigint" ? `${value}n` : value;
}
