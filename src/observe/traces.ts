/**
 * Spans, through Deno's own OpenTelemetry, which sends them to OTEL_EXPORTER_OTLP_ENDPOINT. With
 * OTEL_DENO=true Deno puts it where the package @opentelemetry/api looks for it; without, touching
 * `Deno.telemetry` costs ten milliseconds, and in compiled programs of Deno 2.4 the process.
 */

/** As OpenTelemetry numbers them for JavaScript. */
export const KIND = { internal: 0, server: 1, client: 2, producer: 3, consumer: 4 } as const;

export type Attributes = Readonly<Record<string, string | number | boolean | undefined>>;

/** Where in which trace something is, as W3C writes it down. */
interface TraceContext {
  readonly traceparent: string;
  readonly tracestate?: string;
}

const API = Symbol.for("opentelemetry.js.api.1");
const SPAN = Symbol.for("OpenTelemetry Context Key SPAN");
const ERROR = 2;
/** Of what failed, in UTF-16 code units. */
const MAX_MESSAGE_LENGTH = 1_024;

interface SpanContext {
  readonly traceId: string;
  readonly spanId: string;
  readonly traceFlags: number;
  readonly isRemote?: boolean;
}

/** What we use of OpenTelemetry's Span. */
interface RawSpan {
  spanContext(): SpanContext;
  setAttribute(name: string, value: unknown): void;
  setStatus(status: { code: number; message: string }): void;
  end(): void;
}

interface Api {
  readonly trace: {
    getTracer(name: string, version: string): {
      startSpan(name: string, options: unknown, context: Context): RawSpan;
    };
  };
  readonly context: {
    active(): Context | undefined;
    with<T>(context: Context, run: () => T): T;
  };
}

/** OpenTelemetry's Context: what is known at a place in the program. */
class Context {
  readonly #values: ReadonlyMap<symbol, unknown>;

  constructor(values: Iterable<readonly [symbol, unknown]> = []) {
    this.#values = new Map(values);
  }

  getValue(key: symbol): unknown {
    return this.#values.get(key);
  }

  setValue(key: symbol, value: unknown): Context {
    return new Context([...this.#values, [key, value]]);
  }

  deleteValue(key: symbol): Context {
    return new Context([...this.#values].filter(([name]) => name !== key));
  }
}

export class Span {
  readonly #raw: RawSpan;
  readonly #tracestate: string | undefined;

  constructor(raw: RawSpan, tracestate: string | undefined) {
    this.#raw = raw;
    this.#tracestate = tracestate;
  }

  /** For those who come after it. */
  get context(): TraceContext {
    const { traceId, spanId, traceFlags } = this.#raw.spanContext();
    const flags = traceFlags.toString(16).padStart(2, "0");
    const traceparent = `00-${traceId}-${spanId}-${flags}`;
    return this.#tracestate === undefined
      ? { traceparent }
      : { traceparent, tracestate: this.#tracestate };
  }

  get raw(): RawSpan {
    return this.#raw;
  }

  set(attributes: Attributes): void {
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== undefined) this.#raw.setAttribute(name, exact(value));
    }
  }

  /** @param type a word for the kind of failure */
  fail(type: string, message: string): void {
    this.set({ "error.type": type });
    this.#raw.setStatus({ code: ERROR, message: message.slice(0, MAX_MESSAGE_LENGTH) });
  }

  end(): void {
    this.#raw.end();
  }
}

export interface SpanOptions {
  readonly kind: number;
  readonly parent: TraceContext | undefined;
  /** It belongs to that, too. */
  readonly link?: TraceContext | undefined;
  readonly attributes: Attributes;
  /** Milliseconds since 1970; default now. */
  readonly startedAt?: number;
}

export class Tracer {
  readonly #api: Api;
  readonly #version: string;

  /** @param version of this program */
  constructor(version: string) {
    this.#api = (globalThis as unknown as Record<symbol, Api>)[API]!;
    this.#version = version;
  }

  begin(name: string, { kind, parent, link, attributes, startedAt }: SpanOptions): Span {
    const present = Object.entries(attributes)
      .flatMap(([key, value]) => value === undefined ? [] : [[key, exact(value)] as const]);
    const raw = this.#api.trace.getTracer("workqueue", this.#version).startSpan(name, {
      kind,
      attributes: Object.fromEntries(present),
      ...(link === undefined ? {} : { links: [{ context: remote(link) }] }),
      ...(startedAt === undefined ? {} : { startTime: startedAt }),
    }, new Context(parent === undefined ? [] : [[SPAN, { spanContext: () => remote(parent) }]]));
    return new Span(raw, parent?.tracestate);
  }

  /** The span of whoever calls. */
  active(): TraceContext | undefined {
    const span = this.#api.context.active()?.getValue(SPAN) as RawSpan | undefined;
    return span && new Span(span, undefined).context;
  }

  /** Whatever runs in it, and what that waits for, has the span as its own. */
  within<T>(span: Span, run: () => T): T {
    const context = this.#api.context.active() ?? new Context();
    return this.#api.context.with(context.setValue(SPAN, span.raw), run);
  }
}

function remote({ traceparent }: TraceContext): SpanContext {
  const [, traceId, spanId, flags] = traceparent.split("-") as [string, string, string, string];
  return { traceId, spanId, traceFlags: parseInt(flags, 16), isRemote: true };
}

/** Deno sends a whole number as a whole number only when it is a bigint. */
function exact(value: string | number | boolean): unknown {
  return typeof value === "number" && Number.isSafeInteger(value) ? BigInt(value) : value;
}
