/** W3C trace context (https://www.w3.org/TR/trace-context/), as the headers of a task carry it. */

/** Where in which trace something is; the names are those of the headers. */
export interface TraceContext {
  /** Ids of the trace and of the span that it is in, "00-...-...-01". */
  readonly traceparent: string;
  /** What those who trace add for themselves. */
  readonly tracestate?: string;
}

const TRACEPARENT = /^(?!ff)[\da-f]{2}-(?!0{32})[\da-f]{32}-(?!0{16})[\da-f]{16}-[\da-f]{2}$/;
const MAX_TRACESTATE_LENGTH = 512;
const PRINTABLE = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/;

/** Reads what strangers wrote; undefined where it is none. */
export function readTraceContext(
  headers: Readonly<Record<string, unknown>> | undefined,
): TraceContext | undefined {
  if (headers === undefined) return undefined;
  const { traceparent, tracestate } = headers;
  if (typeof traceparent !== "string" || !TRACEPARENT.test(traceparent)) return undefined;
  const fits = typeof tracestate === "string" && tracestate.length <= MAX_TRACESTATE_LENGTH &&
    PRINTABLE.test(tracestate);
  return fits ? { traceparent, tracestate } : { traceparent };
}

/** Where Deno puts its OpenTelemetry with OTEL_DENO=true. */
const API = Symbol.for("opentelemetry.js.api.1");

/**
 * Whether requests of node:http get `traceparent` from Deno itself, as a span of their own: a second
 * one would make both void. Deno 2.9.6 does so with OTEL_DENO=true, 2.4 does not.
 */
export function isHttpTraced(): boolean {
  const api = (globalThis as Record<symbol, unknown>)[API];
  return typeof api === "object" && api !== null && "propagation" in api;
}
