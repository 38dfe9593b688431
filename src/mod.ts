/**
 * The tools as a library: publish tasks and run a worker inside a TypeScript program.
 *
 * @example Publish a task, and wait until the broker has confirmed it
 * ```ts
 * import { publishTasks } from "@workqueue/tools";
 *
 * await publishTasks({ url: Deno.env.get("AMQP_URL")!, queue: "mails" }, [
 *   { body: JSON.stringify({ to: "someone@example.org" }), id: "mail-1" },
 * ]);
 * ```
 *
 * @example Publish tasks for as long as a web application lives
 * ```ts
 * import { openTasks } from "@workqueue/tools";
 *
 * await using tasks = await openTasks({ url: Deno.env.get("AMQP_URL")!, queue: "mails" });
 * console.log(await tasks.publish({ json: { to: "someone@example.org" }, priority: 5 }));
 * ```
 *
 * @example Work on tasks until the queue is empty
 * ```ts
 * import { RejectTask, runWorker } from "@workqueue/tools";
 *
 * await runWorker({
 *   url: Deno.env.get("AMQP_URL")!,
 *   queue: "mails",
 *   exitWhenEmpty: true,
 *   handler: (task, { attempt, log }) => {
 *     const mail = task.json() as { to?: string };
 *     if (mail.to === undefined) throw new RejectTask("no recipient");
 *     log(`mail to ${mail.to}, attempt ${attempt}`);
 *   },
 * });
 * ```
 *
 * @module
 */
import { Connector } from "./amqp/connection.ts";
import type { MessageTracing } from "./amqp/message_tracing.ts";
import { ensureQueue, ensureWorkQueue } from "./amqp/declare.ts";
import { type Publication, Publisher } from "./amqp/publisher.ts";
import type { Transport } from "./amqp/transport.ts";
import { parseUrls } from "./amqp/url.ts";
import { VERSION } from "./cli/main.ts";
import { openTracing } from "./cli/tracing.ts";
import { functionHandler, type HandlerFunction } from "./handlers/module.ts";
import { LivingTasks, type Tasks } from "./front/tasks.ts";
import { createLogger, type Logger } from "./observe/log.ts";
import { DEFAULT_POLICY, type RetryPolicy } from "./task/retry.ts";
import { schedule } from "./task/schedule.ts";
import { SHORT_STRING_BYTES, utf8Length } from "./task/short_string.ts";
import type { TaskProperties } from "./task/task.ts";
import { MAX_QUEUE_NAME_BYTES, queueNameFault, type QueueSpec } from "./task/topology.ts";
import { LONGEST_TIMER_MS } from "./time/timer.ts";
import { ConnectionError, EXIT, reason, ToolError, UsageError } from "./errors.ts";
import { Worker } from "./worker/worker.ts";

export {
  type HandlerContext,
  type HandlerFunction,
  type HandlerTask,
  RejectTask,
  RetryTask,
} from "./handlers/module.ts";
export { ChannelError, ConnectionError, TaskError, ToolError, UsageError } from "./errors.ts";
export type { CallOptions } from "./front/calls.ts";
export type { PublishRecordOptions, Tasks } from "./front/tasks.ts";
export { DeadTaskError, type TaskAnswer, type TaskProgress } from "./task/answer.ts";
export { RecordError, type RecordInput } from "./task/record.ts";
export type { Fields, Logger } from "./observe/log.ts";
export type { RetryPolicy } from "./task/retry.ts";
export type { Progress, TaskContext } from "./task/handler.ts";
export type { Task, TaskProperties } from "./task/task.ts";
export type { TraceContext } from "./task/trace_context.ts";

/** Where a queue is. */
export interface QueueAddress {
  /** `amqp://user:password@host:port/vhost`, or `amqps:`; several separated by commas. */
  readonly url: string;
  /** The work queue; created as a durable quorum queue when it is missing. Default `task_queue`. */
  readonly queue?: string;
  /** Default: nothing is logged. */
  readonly log?: Logger;
}

/** A task to publish. */
export interface NewTask {
  /** Text is sent as UTF-8. */
  readonly body: string | Uint8Array;
  /** Stays the same over retries; default a random UUID. */
  readonly id?: string;
  /** The other properties that it is sent with. */
  readonly properties?: TaskProperties;
  /** Not to be run before; until then it waits in a delay queue. Default: at once. */
  readonly notBefore?: Date;
}

/** What `publishTasks` may be told. */
export interface PublishOptions {
  /** Aborted: gives up. Without it, a broker that blocks publishers is waited for. */
  readonly signal?: AbortSignal;
}

/**
 * Publishes tasks over one connection; resolves when the broker has confirmed all of them.
 *
 * @returns their ids, in order
 * @throws {ToolError} some may be on the queue: publishing the same ids again is safe for handlers
 *   that tell tasks by their id
 */
export async function publishTasks(
  address: QueueAddress,
  tasks: readonly NewTask[],
  { signal }: PublishOptions = {},
): Promise<string[]> {
  const queue = requireQueueName(address.queue);
  const publications = tasks.map((task) => publicationOf(task, queue));
  const transport = await connectorOf(address, "publisher", await openTracing()).connect();
  const giveUp = () =>
    transport.destroy(new ConnectionError(`publishing was given up: ${reason(signal!.reason)}`));
  signal?.addEventListener("abort", giveUp);
  if (signal?.aborted) giveUp();
  try {
    await ensureWorkQueue(transport, { name: queue, type: "quorum", strict: false, create: true });
    await declareDelayQueues(transport, publications);
    const publisher = await Publisher.open(transport);
    await Promise.all(publications.map((publication) => publisher.publish(publication)));
    return publications.map(({ properties }) => properties.messageId);
  } finally {
    signal?.removeEventListener("abort", giveUp);
    await transport.shutdown();
  }
}

/** Where `openTasks` publishes to, and for how long it tries. */
export interface OpenTasksOptions extends QueueAddress {
  /** From `publish` to the confirm, in milliseconds; default 30 s. */
  readonly timeoutMs?: number;
}

/**
 * Opens a queue to publish to for as long as a program lives, over one connection that is made
 * again when it is lost. `close()` it, or declare it with `await using`.
 *
 * @throws {UsageError} an option is none
 * @throws {ToolError} it cannot be reached, or its queue not be made
 */
export async function openTasks(options: OpenTasksOptions): Promise<Tasks> {
  const { timeoutMs = 30_000 } = options;
  requireWhole("timeoutMs", timeoutMs, 1, LONGEST_TIMER_MS);
  const queue = requireQueueName(options.queue);
  const connector = connectorOf(options, "publisher", await openTracing());
  return await LivingTasks.open({ connector, queue, timeoutMs });
}

/** A task as it is sent. */
interface NamedPublication extends Publication {
  readonly properties: TaskProperties & { readonly messageId: string };
  /** Where it waits until it is due, unless it is. */
  readonly delayQueue?: QueueSpec;
}

/** @throws {UsageError} */
function publicationOf({ body, id, notBefore, ...task }: NewTask, queue: string): NamedPublication {
  const messageId = id ?? task.properties?.messageId ?? crypto.randomUUID();
  const properties = {
    timestamp: new Date(),
    ...task.properties,
    messageId: requireName("id", messageId, SHORT_STRING_BYTES),
    deliveryMode: 2,
  };
  const publication = {
    exchange: "",
    routingKey: queue,
    body: typeof body === "string" ? new TextEncoder().encode(body) : body,
    properties,
  };
  if (notBefore === undefined) return publication;
  if (Number.isNaN(notBefore.getTime())) {
    throw new UsageError("notBefore must be a date, and is none");
  }
  const scheduled = schedule({ queue, properties }, notBefore.getTime() - Date.now());
  if (scheduled === undefined) return publication;
  const { delayQueue } = scheduled;
  return {
    ...publication,
    routingKey: delayQueue.name,
    delayQueue,
    properties: { ...scheduled.properties, messageId },
  };
}

async function declareDelayQueues(
  transport: Transport,
  publications: readonly NamedPublication[],
): Promise<void> {
  const queues = new Map(publications.map(({ delayQueue }) => [delayQueue?.name, delayQueue]));
  for (const queue of queues.values()) {
    if (queue !== undefined) await ensureQueue(transport, queue);
  }
}

/** What `runWorker` works on, with what, and until when. */
export interface RunWorkerOptions extends QueueAddress {
  /** Does the work of one task. */
  readonly handler: HandlerFunction;
  /** Tasks at the same time; default 1. */
  readonly concurrency?: number;
  /** Default: 5 attempts, pauses from 1 s to 1 h, 3 crashes. */
  readonly retries?: Partial<RetryPolicy>;
  /** Time for one task, in milliseconds, or Infinity; default 25 minutes. */
  readonly timeoutMs?: number;
  /** How long running tasks may go on after `signal`, in milliseconds; default 25 s. */
  readonly graceMs?: number;
  /** How long a function may go on after its own signal aborted, in milliseconds; default 10 s. */
  readonly stopMs?: number;
  /** Aborted: takes no more tasks, finishes, and returns. */
  readonly signal?: AbortSignal;
  /** Return when the queue is empty. */
  readonly exitWhenEmpty?: boolean;
  /** Return after so many tasks. */
  readonly maxTasks?: number;
}

const DEFAULT_TIMEOUT_MS = 25 * 60_000;

/**
 * Works on a queue in this process until `signal` aborts or a limit is reached. Connections that
 * are lost are made again, for ever unless there is a limit, and then for 30 s. Each task is
 * acknowledged only when its function has ended.
 *
 * @throws {UsageError} an option is none that a worker can keep to
 * @throws {ToolError} what somebody has to change before the first task can come: URL, login,
 *   queue; or a handler that did not stop when its signal aborted, and still runs
 */
export async function runWorker(options: RunWorkerOptions): Promise<void> {
  checkOptions(options);
  const { timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  const log = options.log ?? silentLogger();
  const queue = requireQueueName(options.queue);
  const worker = new Worker({
    endpoints: parseUrls(options.url, "url", { trust: {} }),
    identity: { name: `worker ${Deno.pid}`, version: VERSION },
    queues: [{
      policy: { name: queue, type: "quorum", strict: false, create: true },
      prefetch: options.concurrency ?? 1,
    }],
    handler: functionHandler(options.handler, { log: (message, id) => log.info(message, { id }) }),
    log,
    tracing: await openTracing(),
    retries: { ...DEFAULT_POLICY, ...options.retries },
    hostname: Deno.hostname(),
    ...(timeoutMs === Infinity ? {} : { timeoutMs }),
    exitWhenEmpty: options.exitWhenEmpty ?? false,
    ...(options.stopMs === undefined ? {} : { stopMs: options.stopMs }),
    ...(options.graceMs === undefined ? {} : { graceMs: options.graceMs }),
    ...(options.maxTasks === undefined ? {} : { maxTasks: options.maxTasks }),
  });
  function stop(): void {
    worker.drain();
  }
  options.signal?.addEventListener("abort", stop);
  if (options.signal?.aborted) stop();
  try {
    const status = await worker.run();
    if (status !== EXIT.ok) throw new ToolError(`the worker ended: ${worker.fault}`, status);
  } finally {
    options.signal?.removeEventListener("abort", stop);
  }
}

/** @throws {UsageError} */
function requireQueueName(name = "task_queue"): string {
  const fault = queueNameFault(name, MAX_QUEUE_NAME_BYTES);
  if (fault === undefined) return name;
  throw new UsageError(`queue must have a name ${fault.replace("and one", "and")}`);
}

/** @throws {UsageError} */
function requireName(what: string, name: string, maxBytes: number): string {
  const bytes = utf8Length(name);
  if (bytes >= 1 && bytes <= maxBytes) return name;
  throw new UsageError(`${what} must have 1 to ${maxBytes} bytes, and has ${bytes}`);
}

/** @throws {UsageError} */
function checkOptions({ retries = {}, timeoutMs, ...options }: RunWorkerOptions): void {
  requireWhole("concurrency", options.concurrency, 1, 65_535);
  if (timeoutMs !== Infinity) requireWhole("timeoutMs", timeoutMs, 1, LONGEST_TIMER_MS);
  requireWhole("graceMs", options.graceMs, 0, LONGEST_TIMER_MS);
  requireWhole("stopMs", options.stopMs, 0, LONGEST_TIMER_MS);
  requireWhole("maxTasks", options.maxTasks, 1, Number.MAX_SAFE_INTEGER);
  requireWhole("retries.maxAttempts", retries.maxAttempts, 1, Number.MAX_SAFE_INTEGER);
  requireWhole("retries.maxCrashes", retries.maxCrashes, 1, Number.MAX_SAFE_INTEGER);
  for (const pause of retries.backoffMs ?? []) {
    requireWhole("retries.backoffMs", pause, 1, LONGEST_TIMER_MS);
  }
  if (retries.backoffMs?.length === 0) {
    throw new UsageError("retries.backoffMs must have at least one pause, and has none");
  }
  const { jitter = 0 } = retries;
  if (!(jitter >= 0 && jitter <= 1)) {
    throw new UsageError(`retries.jitter must be a number from 0 to 1, and is ${jitter}`);
  }
}

/** @throws {UsageError} */
function requireWhole(name: string, value: number | undefined, least: number, most: number): void {
  if (value === undefined || (Number.isInteger(value) && value >= least && value <= most)) return;
  throw new UsageError(
    `${name} must be a whole number from ${least} to ${most}, and is ${value}`,
  );
}

function connectorOf(
  address: QueueAddress,
  what: string,
  tracing: MessageTracing | undefined,
): Connector {
  return new Connector({
    endpoints: parseUrls(address.url, "url", { trust: {} }),
    identity: { name: `${what} ${Deno.pid}`, version: VERSION },
    log: address.log ?? silentLogger(),
    tracing,
  });
}

function silentLogger(): Logger {
  return createLogger({ name: "", write: () => {} });
}
