/**
 * Spans of tasks, after OpenTelemetry's conventions for messaging and for RabbitMQ. A task carries
 * the context of the span that sent it first (its creation context) through delay queues, the dead
 * queue and other brokers; whoever runs it is a child of that, so that all of it is one trace.
 */
import { readTraceContext, type TraceContext } from "../task/trace_context.ts";
import { exitStatusOf, type Outcome } from "../task/handler.ts";
import type { Task, TaskProperties } from "../task/task.ts";
import { type Attributes, KIND, type Span, Tracer } from "../observe/traces.ts";
import type { Publication } from "./client/content.ts";
import type { Endpoint } from "./url.ts";

/** When it was published, in milliseconds since 1970; the name is that of RabbitMQ's own stamp. */
const STAMP = "timestamp_in_ms";

/** Where something is sent to, or comes from. */
interface Place {
  readonly exchange: string;
  readonly routingKey: string;
  /** Where it comes from. */
  readonly queue?: string;
}

export class MessageTracing {
  readonly #tracer: Tracer;
  /** Of tasks that run. */
  readonly #attempts = new WeakMap<object, TraceContext>();

  /** @param version of this program */
  constructor(version: string) {
    this.#tracer = new Tracer(version);
  }

  /** A span for a publication, until the broker has confirmed it. */
  async publish(
    task: Publication,
    endpoint: Endpoint,
    send: (task: Publication) => Promise<void>,
  ): Promise<void> {
    const { body, original, properties } = task;
    if (isNote(task)) return await send(task);
    const own = readTraceContext(properties.headers);
    const { name, attributes } = placeOf(task);
    const span = this.#tracer.begin(`send ${name}`, {
      kind: KIND.producer,
      parent: this.#parentOf(task, own),
      attributes: {
        ...operation("send"),
        ...attributes,
        ...message(properties, body),
        ...server(endpoint),
      },
    });
    // A copy stays part of what its original was part of.
    const created = original === undefined || own === undefined ? span.context : own;
    // On its way through several delay queues it goes on waiting.
    const waits = original !== undefined && !this.#attempts.has(original);
    const stamp = waits ? properties.headers?.[STAMP] : undefined;
    const headers = { ...properties.headers, ...created, [STAMP]: stamp ?? Date.now() };
    try {
      await send({ ...task, properties: { ...properties, headers } });
    } catch (error) {
      span.fail((error as Error).name, (error as Error).message);
      throw error;
    } finally {
      span.end();
    }
  }

  #parentOf({ original }: Publication, own: TraceContext | undefined): TraceContext | undefined {
    const attempt = original && this.#attempts.get(original);
    if (attempt !== undefined) return attempt;
    const active = this.#tracer.active();
    // Whoever wrote it into the task knows better, unless that is where we are.
    const isNearer = active !== undefined && (own === undefined || isSameTrace(active, own));
    return isNearer ? active : own;
  }

  /** Begins a run of a task. @param attempt 1 for the first */
  attempt(task: Task, attempt: number): Attempt {
    const created = readTraceContext(task.properties.headers);
    const { name, attributes } = placeOf(task);
    const facts = {
      ...attributes,
      ...message(task.properties, task.body),
      "task.attempt": attempt,
    };
    const sentAt = Number(task.properties.headers?.[STAMP] ?? NaN);
    const begunAt = Date.now();
    if (created !== undefined && sentAt <= begunAt && sentAt > 0) {
      this.#tracer.begin(`wait ${name}`, {
        kind: KIND.internal,
        parent: created,
        attributes: facts,
        startedAt: sentAt,
      }).end();
    }
    const span = this.#tracer.begin(`process ${name}`, {
      kind: KIND.consumer,
      parent: created,
      link: created,
      attributes: { ...operation("process"), ...facts },
    });
    this.#attempts.set(task, span.context);
    return new Attempt(this.#tracer, span);
  }
}

/** A run of a task, until the broker knows what became of it. */
export class Attempt {
  readonly #tracer: Tracer;
  readonly #span: Span;

  constructor(tracer: Tracer, span: Span) {
    this.#tracer = tracer;
    this.#span = span;
  }

  /** For what the task does. */
  get context(): TraceContext {
    return this.#span.context;
  }

  /** What is begun in there is part of it. */
  within<T>(run: () => T): T {
    return this.#tracer.within(this.#span, run);
  }

  /** @param fate what becomes of the task, in one word */
  ran(outcome: Outcome, fate: string): void {
    this.#span.set({
      "task.outcome": fate,
      "process.exit.code": exitStatusOf(outcome),
    });
    if ("reason" in outcome) this.#span.fail(outcome.kind, outcome.reason);
  }

  end(): void {
    this.#span.end();
  }
}

/** A start that is written down, and no task. */
function isNote({ body, properties }: Publication): boolean {
  return body.length === 0 && properties.messageId === undefined &&
    properties.headers === undefined;
}

function isSameTrace(one: TraceContext, other: TraceContext): boolean {
  return one.traceparent.slice(3, 35) === other.traceparent.slice(3, 35);
}

/** Names that brokers make up: each would be a name of its own. */
const TEMPORARY = /^amq\.(?:gen-|rabbitmq\.reply-to)/;

function placeOf({ exchange, routingKey, queue }: Place): { name: string; attributes: Attributes } {
  const last = queue === undefined || queue === routingKey ? [] : [queue];
  const names = [exchange, routingKey, ...last].filter((name) => name !== "");
  const isTemporary = TEMPORARY.test(routingKey);
  const name = isTemporary ? "(temporary)" : names.join(":") || "amq.default";
  return {
    name,
    attributes: {
      "messaging.system": "rabbitmq",
      "messaging.destination.name": names.join(":") || "amq.default",
      "messaging.destination.temporary": isTemporary || undefined,
      "messaging.rabbitmq.destination.routing_key": routingKey || undefined,
    },
  };
}

function operation(name: "send" | "process"): Attributes {
  return { "messaging.operation.name": name, "messaging.operation.type": name };
}

function message({ correlationId, messageId, type }: TaskProperties, body: Uint8Array): Attributes {
  return {
    "messaging.message.id": messageId,
    "messaging.message.conversation_id": correlationId,
    "messaging.message.body.size": body.length,
    "task.type": type,
  };
}

function server({ host, port }: Endpoint): Attributes {
  return { "server.address": host, "server.port": port };
}
