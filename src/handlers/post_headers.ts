/** What a web application is told about its task: `Task-*` headers, and those of HTTP. */
import { plainField } from "../amqp/plain_field.ts";
import type { TaskContext } from "../task/handler.ts";
import { originalRoute } from "../task/headers.ts";
import { optional } from "../task/optional.ts";
import type { Task } from "../task/task.ts";
import { isHttpTraced, readTraceContext } from "../task/trace_context.ts";

/** Longest JSON of a task's headers; web servers take 8 or 16 KiB of headers in all. */
const MAX_TASK_HEADERS_BYTES = 4_096;

/** What the value of any header may be. */
const PRINTABLE = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/;

/**
 * The headers of a task's request. Every value of a `Task-*` header is percent-encoded UTF-8 where
 * it is no visible ASCII, or "%": whoever decodes it has the bytes of the task, and no name of a
 * stranger's ends a line.
 */
export function taskHeaders(task: Task, context: TaskContext): Record<string, string> {
  const { properties } = task;
  const { headers = {} } = properties;
  const route = originalRoute(task);
  const seconds = (ms: number | undefined) => ms === undefined ? "" : String(Math.floor(ms / 1e3));
  const encoded = Object.entries({
    "task-id": task.id,
    "task-queue": task.queue,
    "task-attempt": String(context.attempt),
    "task-max-attempts": String(context.maxAttempts ?? ""),
    "task-redelivered": task.redelivered ? "1" : "0",
    "task-exchange": route.exchange,
    "task-routing-key": route.routingKey,
    "task-type": properties.type ?? "",
    "task-priority": String(properties.priority ?? ""),
    "task-correlation-id": properties.correlationId ?? "",
    "task-reply-to": properties.replyTo ?? "",
    "task-app-id": properties.appId ?? "",
    "task-timestamp": seconds(properties.timestamp?.getTime()),
    "task-deadline": seconds(context.deadline),
  }).filter(([, value]) => value !== "").map(([name, value]) => [name, headerValue(value)]);
  return {
    ...Object.fromEntries(encoded),
    ...headersAsJson(headers),
    ...(isHttpTraced() ? {} : context.trace ?? readTraceContext(headers)),
    "content-type": printable(properties.contentType) ?? "application/octet-stream",
    ...optional("content-encoding", printable(properties.contentEncoding)),
  };
}

/** Percent-encoded where it is no visible ASCII; `decodeURIComponent` gives the text back. */
export function headerValue(text: string): string {
  return text.toWellFormed().replace(/[^!-$&-~]+/g, encodeURIComponent);
}

/** The headers of the task as one header of ASCII, or how long it would have been. */
function headersAsJson(headers: NonNullable<Task["properties"]["headers"]>) {
  const json = JSON.stringify(plainField(headers)).replace(
    /[^\x20-\x7e]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  if (json === "{}") return {};
  return json.length <= MAX_TASK_HEADERS_BYTES
    ? { "task-headers": json }
    : { "task-headers-left-out": String(json.length) };
}

function printable(value: string | undefined): string | undefined {
  return value !== undefined && PRINTABLE.test(value) ? value : undefined;
}
