/** What a command is told about its task: `TASK_*` variables and a file of JSON. */
import { plainField } from "../amqp/plain_field.ts";
import type { TaskContext } from "../task/handler.ts";
import { originalRoute } from "../task/headers.ts";
import { amqpName, type Task } from "../task/task.ts";
import { readTraceContext, type TraceContext } from "../task/trace_context.ts";

/** Version of the JSON in `TASK_META_FILE`; changes when a field changes its meaning or goes. */
const META_SCHEMA = 1;

/** Longest value of a variable in UTF-16 code units; the system's limit for one is 128 KiB. */
const MAX_VALUE_LENGTH = 8_192;

/**
 * Takes from this process's environment what its commands must not inherit: the broker's address,
 * the worker's queue and TASK_*. What remains they inherit from the system as it is: handed on by
 * us, a variable that is not UTF-8 would vanish.
 */
export function dropOwnVariables(): void {
  for (const name of Object.keys(Deno.env.toObject())) {
    if (isOwn(name)) Deno.env.delete(name);
  }
}

/** The same for an environment that is given. */
export function withoutOwnVariables(env: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !isOwn(name)));
}

const OWN: ReadonlySet<string> = new Set([
  "AMQP_URL",
  // A command that sends tasks must not feed its own worker because it inherited the queue.
  "WORK_QUEUE",
  // What the worker itself was started by has nothing to do with the task.
  "TRACEPARENT",
  "TRACESTATE",
]);

function isOwn(name: string): boolean {
  return OWN.has(name) || name.startsWith("TASK_");
}

/**
 * The `TASK_*` variables of one run. All are always there, empty where the task has no such
 * property, or one that no variable can hold (a NUL character).
 *
 * @param files paths; see TASK_META_FILE, TASK_SNOOZE_FILE and TASK_PROGRESS_FILE in `worker --help all`
 */
export function taskEnvironment(
  task: Task,
  context: TaskContext,
  files: { readonly meta: string; readonly snooze: string; readonly progress: string },
): Record<string, string> {
  const { properties } = task;
  const route = originalRoute(task);
  const seconds = (ms: number | undefined) => ms === undefined ? "" : String(Math.floor(ms / 1e3));
  return {
    TASK_ID: value(task.id),
    TASK_QUEUE: value(task.queue),
    TASK_EXCHANGE: value(route.exchange),
    TASK_ROUTING_KEY: value(route.routingKey),
    TASK_ATTEMPT: String(context.attempt),
    TASK_MAX_ATTEMPTS: String(context.maxAttempts ?? ""),
    TASK_REDELIVERED: task.redelivered ? "1" : "0",
    TASK_CONTENT_TYPE: value(properties.contentType),
    TASK_TYPE: value(properties.type),
    TASK_PRIORITY: String(properties.priority ?? ""),
    TASK_CORRELATION_ID: value(properties.correlationId),
    TASK_REPLY_TO: value(properties.replyTo),
    TASK_TIMESTAMP: seconds(properties.timestamp?.getTime()),
    TASK_DEADLINE: seconds(context.deadline),
    TASK_META_FILE: files.meta,
    TASK_SNOOZE_FILE: files.snooze,
    TASK_PROGRESS_FILE: files.progress,
    ...traceEnvironment(context.trace ?? readTraceContext(properties.headers)),
  };
}

/** As OpenTelemetry names them; absent where the task is part of no trace. */
function traceEnvironment(trace: TraceContext | undefined): Record<string, string> {
  if (trace === undefined) return {};
  const { traceparent, tracestate } = trace;
  return { TRACEPARENT: traceparent, ...(tracestate && { TRACESTATE: tracestate }) };
}

/** The content of `TASK_META_FILE`. Header names are data here, never names of variables. */
export function taskMetadata(task: Task, context: TaskContext): string {
  const { headers = {}, ...others } = task.properties;
  const route = originalRoute(task);
  const properties: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(others)) {
    properties[amqpName(name)] = plainField(value);
  }
  return JSON.stringify({
    schema: META_SCHEMA,
    delivery: {
      queue: task.queue,
      exchange: route.exchange,
      routing_key: route.routingKey,
      redelivered: task.redelivered,
      attempt: context.attempt,
      max_attempts: context.maxAttempts ?? null,
      deadline: context.deadline === undefined ? null : new Date(context.deadline),
    },
    properties,
    headers: plainField(headers),
  });
}

function value(text: string | undefined): string {
  return text === undefined || text.includes("\0") ? "" : text.slice(0, MAX_VALUE_LENGTH);
}
