/** An OpenTelemetry collector that keeps the spans it is sent. */
import { waitUntil } from "./wait.ts";

/** A span as it came. */
export interface ExportedSpan {
  readonly traceId: string;
  readonly spanId: string;
  /** "" for a root. */
  readonly parentSpanId: string;
  readonly name: string;
  /** 1 internal, 2 server, 3 client, 4 producer, 5 consumer. */
  readonly kind: number;
  readonly attributes: Readonly<Record<string, string | number | boolean>>;
  /** Ids of the spans that it links to. */
  readonly links: readonly string[];
  /** 2: failed. */
  readonly status: number;
  /** Milliseconds since 1970. */
  readonly start: number;
  readonly end: number;
  /** Of the program that made it. */
  readonly service: string;
}

// deno-lint-ignore no-explicit-any
type Json = any;

export class Collector implements AsyncDisposable {
  readonly spans: ExportedSpan[] = [];
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  constructor() {
    this.#server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {} },
      async (request) => {
        const body = await request.json();
        if (new URL(request.url).pathname === "/v1/traces") this.#take(body);
        return new Response("{}", { headers: { "content-type": "application/json" } });
      },
    );
  }

  /** For a program that is to be traced. @param service what it calls itself */
  env(service: string): Record<string, string> {
    return {
      OTEL_DENO: "true",
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${this.#server.addr.port}`,
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
      OTEL_SERVICE_NAME: service,
      OTEL_BSP_SCHEDULE_DELAY: "100",
    };
  }

  /** The spans of that name, when so many have come. */
  async named(name: string, count = 1): Promise<ExportedSpan[]> {
    return await waitUntil(`${count} spans "${name}" among ${this.spans.length}`, () => {
      const found = this.spans.filter((span) => span.name === name);
      return Promise.resolve(found.length >= count ? found : undefined);
    });
  }

  #take(body: Json): void {
    for (const { resource, scopeSpans } of body.resourceSpans) {
      const service = attributesOf(resource.attributes)["service.name"];
      for (const { spans } of scopeSpans) {
        for (const span of spans) this.spans.push(spanOf(span, String(service)));
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

function spanOf(span: Json, service: string): ExportedSpan {
  const { traceId, spanId, name, kind } = span;
  return {
    traceId,
    spanId,
    name,
    kind,
    service,
    parentSpanId: span.parentSpanId ?? "",
    attributes: attributesOf(span.attributes),
    links: span.links.map((link: Json) => link.spanId),
    status: span.status.code,
    start: Number(span.startTimeUnixNano) / 1e6,
    end: Number(span.endTimeUnixNano) / 1e6,
  };
}

function attributesOf(list: Json[]): Record<string, string | number | boolean> {
  return Object.fromEntries(list.map(({ key, value }) => {
    const { intValue, ...others } = value;
    return [key, intValue === undefined ? Object.values(others)[0] : Number(intValue)];
  })) as Record<string, string | number | boolean>;
}
