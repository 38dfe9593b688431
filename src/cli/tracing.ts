/** Whether what a tool does is traced, which Deno's OTEL_DENO=true says. */
import type { MessageTracing } from "../amqp/message_tracing.ts";
import { readTraceContext, type TraceContext } from "../task/trace_context.ts";
import { type Host, VERSION } from "./main.ts";
import type { TaskOptions } from "./task_flags.ts";

/** Undefined without OTEL_DENO=true: then nothing of it is loaded. */
export async function openTracing(): Promise<MessageTracing | undefined> {
  // Deno puts it there; asking for the variable would need a permission.
  if (!(Symbol.for("opentelemetry.js.api.1") in globalThis)) return undefined;
  const { MessageTracing } = await import("../amqp/message_tracing.ts");
  return new MessageTracing(VERSION);
}

/** Tasks of a program that is part of a trace are part of it, unless their headers say another. */
export function inTrace(options: TaskOptions, host: Host): TaskOptions {
  const around = traceAround(host);
  const { headers } = options.properties;
  if (around === undefined || headers?.traceparent !== undefined) return options;
  return { ...options, properties: { ...options.properties, headers: { ...headers, ...around } } };
}

/** What the program is part of, as the environment says: a worker tells its commands so. */
function traceAround(host: Host): TraceContext | undefined {
  try {
    const traceparent = host.env("TRACEPARENT");
    if (!traceparent) return undefined;
    return readTraceContext({ traceparent, tracestate: host.env("TRACESTATE") });
  } catch {
    // The permission is not given, or it is no text.
    return undefined;
  }
}
