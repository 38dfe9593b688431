/** What the tests of src/amqp share: endpoints, tasks, a log that listens, repeatable chance. */
import { assert } from "@std/assert";
import { Connector } from "../../src/amqp/connection.ts";
import { Consumer, type ConsumerOptions } from "../../src/amqp/consumer.ts";
import type { Delivery } from "../../src/amqp/consumption.ts";
import type { Publication } from "../../src/amqp/client/content.ts";
import type { QueuePolicy } from "../../src/amqp/declare.ts";
import type { ClientIdentity } from "../../src/amqp/client_identity.ts";
import { Transport } from "../../src/amqp/transport.ts";
import { type Endpoint, parseUrls } from "../../src/amqp/url.ts";
import { ToolError } from "../../src/errors.ts";
import type { Logger } from "../../src/observe/log.ts";
import type { TaskProperties } from "../../src/task/task.ts";
import { Mailbox, STEP_MS, within } from "../support/wait.ts";

export const IDENTITY: ClientIdentity = { name: "test of src/amqp", version: "0" };

export function endpointOf(url: string): Endpoint {
  return parseUrls(url)[0]!;
}

/** A connection that the block which declares it says goodbye to. */
export interface OpenTransport extends AsyncDisposable {
  readonly transport: Transport;
}

export async function open(url: string): Promise<OpenTransport> {
  const transport = await within(
    `a connection to ${url}`,
    Transport.open(endpointOf(url), IDENTITY),
  );
  return { transport, [Symbol.asyncDispose]: () => transport.shutdown() };
}

/** The error a promise must be rejected with, which must be a sentence for users. */
export async function toolError(promise: Promise<unknown>, ms = STEP_MS): Promise<ToolError> {
  const outcome = await within(
    "a promise to settle",
    promise.then((value) => ({ value }), (error: unknown) => ({ error })),
    ms,
  );
  assert("error" in outcome, `expected a ToolError, got ${Deno.inspect(outcome)}`);
  assert(
    outcome.error instanceof ToolError,
    `expected a ToolError, got ${Deno.inspect(outcome.error)}`,
  );
  return outcome.error;
}

export function task(
  routingKey: string,
  body: string | Uint8Array = "hello",
  properties: TaskProperties = {},
): Publication {
  return {
    exchange: "",
    routingKey,
    body: typeof body === "string" ? new TextEncoder().encode(body) : body,
    properties: { deliveryMode: 2, ...properties },
  };
}

export function policy(name: string, type: QueuePolicy["type"] = "classic"): QueuePolicy {
  return { name, type, strict: false, create: true };
}

/** A log whose lines can be waited for. */
export class TestLog implements Logger {
  readonly lines = new Mailbox<string>("log line");
  debug(message: string): void {
    this.lines.put(message);
  }
  info(message: string): void {
    this.lines.put(message);
  }
  warn(message: string): void {
    this.lines.put(message);
  }
  error(message: string): void {
    this.lines.put(message);
  }
}

/** A consumer whose deliveries, connections and log lines can be waited for. */
export class TestConsumer implements AsyncDisposable {
  readonly log = new TestLog();
  readonly deliveries = new Mailbox<Delivery>("delivery");
  readonly ready = new Mailbox<true>("start of consumption");
  readonly consumer: Consumer;
  /** Settles when the consumer has ended. */
  readonly done: Promise<void>;

  constructor(
    url: string,
    queue: QueuePolicy,
    options: Partial<ConsumerOptions> & { random?: () => number } = {},
  ) {
    const { random = () => 0.1, ...rest } = options;
    this.consumer = new Consumer({
      connector: new Connector({
        endpoints: parseUrls(url),
        identity: IDENTITY,
        log: this.log,
        random,
      }),
      queue,
      prefetch: 10,
      log: this.log,
      onDelivery: (delivery) => this.deliveries.put(delivery),
      onReady: () => this.ready.put(true),
      ...rest,
    });
    this.done = this.consumer.run();
    this.done.catch(() => {}); // whoever awaits `done` gets it
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.consumer.close();
    await within("a consumer to end", this.done.catch(() => {}), 2 * STEP_MS);
  }
}
