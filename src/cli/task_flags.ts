/** The options that make up a task: its body and its properties. */
import { EXIT, InputError, UsageError } from "../errors.ts";
import { escapeControls } from "../observe/log.ts";
import { LONGEST_DELAY_MS, parseExpiration, parseTime } from "../task/duration.ts";
import { optional } from "../task/optional.ts";
import { SHORT_STRING_BYTES, utf8Length } from "../task/short_string.ts";
import type { TaskProperties } from "../task/task.ts";
import { BULK_FLAGS, type BulkInput, readBulkInput } from "./bulk_flags.ts";
import { garbled, isGarbled } from "./command_line.ts";
import { duration, type Flag, integer, list, text, type Values } from "./flags.ts";
import { readInput } from "./input.ts";

/** RabbitMQ's hard limit for a message; brokers are usually set lower and say so. */
export const MAX_BODY_BYTES = 512 * 1024 * 1024;
/** AMQP's short strings. */
const SHORT = { maxBytes: SHORT_STRING_BYTES };
/** Leaves room for "-" and the number of any record. */
const MAX_BULK_ID_BYTES = SHORT.maxBytes - `-${Number.MAX_SAFE_INTEGER}`.length;

const expiration: Flag<string | undefined> = {
  group: "task",
  value: "TIME",
  help: "drop the task when no worker has taken it by then: 30s, 5m; a bare number is milliseconds",
  fallback: () => undefined,
  parse: (texts, source) => {
    const given = texts.at(-1)!;
    const ms = parseExpiration(given);
    if (ms !== undefined) return String(ms);
    throw new UsageError(
      `${source} must be a time such as 60000, 500ms or 5m of at most 49 days, and is ${
        JSON.stringify(given)
      }`,
    );
  },
};

const at: Flag<number | undefined> = {
  group: "task",
  value: "TIME",
  help: "not to be run before this time, such as 2027-01-31T08:00:00Z or 2027-01-31T09:00+01:00",
  fallback: () => undefined,
  parse: (texts, source) => {
    const given = texts.at(-1)!;
    const time = parseTime(given);
    if (time !== undefined && time - Date.now() <= LONGEST_DELAY_MS) return time;
    throw new UsageError(
      `${source} must be a date, a time and a zone such as 2027-01-31T08:00:00Z, at most ten ` +
        `years from now, and is ${JSON.stringify(given)}`,
    );
  },
};

export const TASK_FLAGS = {
  file: text({
    group: "task",
    short: "f",
    value: "PATH",
    help: 'take the task from a file, byte for byte; "-" is stdin',
  }),
  ...BULK_FLAGS,
  id: text({
    group: "task",
    ...SHORT,
    minBytes: 1,
    value: "ID",
    help: "message id (default: a random UUID)",
  }),
  priority: integer({
    group: "task",
    min: 0,
    max: 255,
    help: "priority, for queues that have them",
  }),
  expiration,
  delay: duration({
    group: "task",
    max: LONGEST_DELAY_MS,
    help: "not to be run before so much time has passed: 90s, 1h, 7d",
  }),
  at,
  header: list({
    group: "task",
    short: "H",
    value: "KEY=VALUE",
    help: "a header",
    parseOne: parseHeader,
  }),
  "content-type": text({
    group: "task",
    short: "C",
    ...SHORT,
    value: "TYPE",
    help:
      "default text/plain for words and lines, application/octet-stream for a whole file or stdin",
  }),
  "correlation-id": text({ group: "task", ...SHORT, value: "ID", help: "correlation id" }),
  "reply-to": text({ group: "task", ...SHORT, value: "QUEUE", help: "queue for the answer" }),
  type: text({ group: "task", ...SHORT, value: "NAME", help: "type of the task" }),
};

/** What the command line says of a task, but for its body. */
export interface TaskOptions {
  /** Where the body comes from: a file, or stdin for "-"; undefined: the words. */
  readonly path: string | undefined;
  /** There are many tasks, of which the rest is what they have in common. */
  readonly bulk: BulkInput | undefined;
  readonly properties: TaskProperties & { readonly messageId: string };
  /** Not to be run before so much time has passed, in milliseconds. */
  readonly delayMs: number | undefined;
  /** Not to be run before, by this host's clock; milliseconds since 1970. */
  readonly dueAt: number | undefined;
}

/**
 * Reads the options that make up a task.
 *
 * @param separated the words came after "--", where "-" is a word like any other
 * @throws {UsageError | InputError}
 */
export function readTaskOptions(
  values: Values<typeof TASK_FLAGS>,
  words: readonly string[],
  separated: boolean,
): TaskOptions {
  const dash = !separated && words.length === 1 && words[0] === "-";
  if (values.file !== undefined && words.length > 0 && !values.files) {
    throw new UsageError(
      "the task comes from --file or from the words, and both were given",
    );
  }
  const bulk = readBulkInput(values, dash ? [] : words, values.file);
  if (values.delay !== undefined && values.at !== undefined) {
    throw new UsageError("the time to run comes from --delay or from --at, and both were given");
  }
  if (bulk !== undefined && values.id !== undefined) checkBulkId(values.id, bulk.kind);
  if (bulk?.kind === "ndjson" && values["content-type"] !== undefined) {
    throw new UsageError("records say what type their content is, and --content-type was given");
  }
  const path = values.file ?? (dash ? "-" : undefined);
  if (bulk?.kind === "files" && words.some(isGarbled)) {
    throw new InputError(garbled("a file's name"), EXIT.badData);
  }
  if (path === undefined && words.some(isGarbled)) {
    throw new InputError(
      `${garbled("a task given in words")}: send it through stdin or --file`,
      EXIT.badData,
    );
  }
  const textual = bulk === undefined
    ? path === undefined
    : bulk.kind === "lines" || bulk.kind === "null";
  return {
    path,
    bulk,
    delayMs: values.delay,
    dueAt: values.at,
    properties: {
      contentType: values["content-type"] ?? (textual ? "text/plain" : "application/octet-stream"),
      deliveryMode: 2,
      messageId: values.id ?? crypto.randomUUID(),
      timestamp: new Date(),
      ...optional("priority", values.priority),
      ...optional("expiration", values.expiration),
      ...optional("correlationId", values["correlation-id"]),
      ...optional("replyTo", values["reply-to"]),
      ...optional("type", values.type),
      ...(values.header.length === 0 ? {} : { headers: Object.fromEntries(values.header) }),
    },
  };
}

/** @throws {UsageError} */
function checkBulkId(id: string, kind: string): void {
  const bytes = utf8Length(id);
  if (bytes <= MAX_BULK_ID_BYTES) return;
  throw new UsageError(
    `--id must have at most ${MAX_BULK_ID_BYTES} bytes with --${kind}, which adds a number, and ` +
      `has ${bytes}`,
  );
}

/** The body of a task, and how to show it in one line. */
export interface TaskBody {
  readonly body: Uint8Array;
  readonly shown: string;
}

/** @throws {InputError} */
export async function readTaskBody(
  path: string | undefined,
  words: readonly string[],
): Promise<TaskBody> {
  if (path === undefined) {
    const message = words.join(" ") || "hello";
    return { body: new TextEncoder().encode(message), shown: escapeControls(message) };
  }
  const body = await readInput(path, MAX_BODY_BYTES);
  return { body, shown: `${body.length} bytes` };
}

function parseHeader(given: string, source: string): [string, string] {
  const equals = given.indexOf("=");
  const key = given.slice(0, equals);
  if (equals > 0 && utf8Length(key) <= SHORT_STRING_BYTES) {
    return [key, given.slice(equals + 1)];
  }
  throw new UsageError(
    `${source} must be KEY=VALUE with a key of 1 to 255 bytes, and is ${JSON.stringify(given)}`,
  );
}
