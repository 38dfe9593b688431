/** `new_task`: puts a task on a durable queue and says so only when the broker confirmed it. */
import { Connector } from "./amqp/connection.ts";
import type { MessageTracing } from "./amqp/message_tracing.ts";
import { deadline } from "./time/deadline.ts";
import { ensureQueue, ensureWorkQueue, inspectQueue, type QueuePolicy } from "./amqp/declare.ts";
import { type Publication, Publisher } from "./amqp/publisher.ts";
import type { Transport } from "./amqp/transport.ts";
import { pause } from "./time/timer.ts";
import { type Endpoint, redact } from "./amqp/url.ts";
import {
  CONNECTION_FLAGS,
  QUEUE_FLAGS,
  readEndpoints,
  readQueuePolicy,
} from "./cli/connection_flags.ts";
import type { BulkOrder } from "./cli/bulk.ts";
import { parseCommandLine } from "./cli/command_line.ts";
import { duration, toggle } from "./cli/flags.ts";
import type { HelpPage } from "./cli/help/page.ts";
import { HTTP_FLAGS, readHttpInput } from "./cli/http_flags.ts";
import { TOOL_FLAGS } from "./cli/general_flags.ts";
import { tell } from "./cli/tell.ts";
import { inTrace, openTracing } from "./cli/tracing.ts";
import { readLogStyle } from "./cli/log_flags.ts";
import { type Host, runMain, VERSION } from "./cli/main.ts";
import { namedQueues, oneQueue } from "./cli/queue_names.ts";
import { readScheduleInput, SCHEDULE_FLAGS } from "./cli/schedule_flags.ts";
import { readTaskBody, readTaskOptions, TASK_FLAGS, type TaskOptions } from "./cli/task_flags.ts";
import { readWaitOptions, WAIT_FLAGS, type WaitOptions } from "./cli/wait_flags.ts";
import { ChannelError, ConnectionError, EXIT, NackError, TaskError, ToolError } from "./errors.ts";
import { formatDuration } from "./task/duration.ts";
import { dropsDuplicates, toldById } from "./task/duplicates.ts";
import type { QueueSpec } from "./task/topology.ts";

const FLAGS = {
  ...CONNECTION_FLAGS,
  ...QUEUE_FLAGS,
  ...TASK_FLAGS,
  ...SCHEDULE_FLAGS,
  ...WAIT_FLAGS,
  ...HTTP_FLAGS,
  queue: namedQueues,
  timeout: duration({
    group: "lifecycle",
    default: "5s",
    min: 1,
    help: "limit for the whole attempt, but for reading stdin; of many tasks, for waiting until " +
      "something is confirmed; with --wait for the answer, too",
  }),
  quiet: toggle({
    group: "watching",
    help: "do not print the line that says what was sent, and no progress",
  }),
  ...TOOL_FLAGS,
};

/**
 * Pauses before a refused task is sent again, in milliseconds: a quorum queue that somebody else has
 * just made, or whose leader has just died, refuses tasks until it has elected one.
 */
const NACK_PAUSES_MS = [100, 300, 600];

interface Destination {
  readonly queue: QueuePolicy;
  /** Where the task waits until it is due, unless it is. */
  readonly delayQueue?: QueueSpec;
  readonly task: Omit<Publication, "body">;
}

interface Order extends Destination {
  readonly task: Publication;
  /** Milliseconds for the whole attempt. */
  readonly timeout: number;
  /** When it began, by performance.now(). */
  readonly started: number;
}

if (import.meta.main) await main();

/** Runs this program, and ends the process. */
export async function main(): Promise<never> {
  return await runMain("new_task", run, { isBrief: true });
}

/** What is told about this tool. */
export async function help(): Promise<HelpPage> {
  return (await import("./cli/new_task_help.ts")).helpOf(FLAGS);
}

/** @returns the exit status */
export async function run(host: Host): Promise<number> {
  const { values, words, separated, given } = await parseCommandLine(FLAGS, host.args, host.env);
  if (await tell(host, values, help)) return EXIT.ok;
  host.logAs(readLogStyle(values));

  const http = readHttpInput(values, given, words);
  const names = http === undefined ? [oneQueue(values.queue)] as const : values.queue.names;
  const queue = readQueuePolicy({ ...values, queue: names[0] });
  const own = readTaskOptions(values, words, separated);
  const hasInput = own.path !== undefined || own.bulk !== undefined;
  const schedules = readScheduleInput(values, given, words, hasInput);
  const options = schedules === undefined ? inTrace(own, host) : own;
  const wait = readWaitOptions(values, given, {
    isScheduled: schedules !== undefined,
    isBulk: options.bulk !== undefined,
  });
  // A part of a bundle that is loaded later may run the source from its beginning: so it is loaded
  // before a password or a task is read, of which a pipe has but one (scripts/program/beginning.ts).
  const openConnector = async () => {
    const tracing = await openTracing();
    return connectorTo(readEndpoints(values, host), values.timeout, host, tracing);
  };
  const isIdChosen = values.id !== undefined;
  const defaults = { ...options, queue, areAwaited: wait !== undefined };
  const manner = { timeoutMs: values.timeout, quiet: values.quiet };
  if (http !== undefined) {
    const { runHttp } = await import("./cli/http.ts");
    return await runHttp(host, await openConnector(), {
      input: http,
      queues: names.map((name) => ({ ...queue, name })),
      ...manner,
    });
  }
  const { properties } = options;
  const isTold = isIdChosen && dropsDuplicates(queue.arguments);
  const sent = isTold ? { ...options, properties: toldById(properties) } : options;
  const destination = await destinationOf(queue, sent);
  if (schedules !== undefined) {
    const { runSchedules } = await import("./cli/schedules.ts");
    const plan = { input: schedules, words, id: values.id, defaults, ...manner };
    return await runSchedules(host, await openConnector(), plan);
  }
  if (options.bulk !== undefined) {
    const idPrefix = options.properties.messageId;
    const order = { input: options.bulk, defaults, idPrefix, isIdChosen, ...manner };
    return await sendMany(host, openConnector, order, wait);
  }
  const call = wait && { wait, by: (await import("./cli/wait.ts")).waitForAnswer };
  const connector = await openConnector();
  const started = performance.now();
  const { body, shown } = await readInTime(
    readTaskBody(options.path, words),
    options,
    values.timeout,
  );
  if (call !== undefined) {
    const { messageId: id } = options.properties;
    return await call.by(host, connector, { wait: call.wait, defaults, id, body, ...manner });
  }
  // Whoever writes to stdin may take his time.
  const patient = options.path === "-";
  const task = { ...destination.task, body };
  const transport = await send(connector, {
    ...destination,
    task,
    timeout: values.timeout,
    started: patient ? performance.now() : started,
  });
  const leaving = transport.leave(); // while the broker answers the line is written
  if (!values.quiet) host.print(` [x] Sent ${shown}\n`);
  await leaving;
  return EXIT.ok;
}

async function sendMany(
  host: Host,
  openConnector: () => Promise<Connector>,
  order: BulkOrder,
  wait: WaitOptions | undefined,
): Promise<number> {
  if (wait === undefined) {
    const { sendBulk } = await import("./cli/bulk.ts");
    return await sendBulk(host, await openConnector(), order);
  }
  const { waitForMany } = await import("./cli/wait_many.ts");
  return await waitForMany(host, await openConnector(), { ...order, wait });
}

/** One silent host must leave time for the others. */
function connectorTo(
  endpoints: readonly Endpoint[],
  timeoutMs: number,
  host: Host,
  tracing: MessageTracing | undefined,
): Connector {
  const most = Math.ceil(timeoutMs / endpoints.length);
  return new Connector({
    endpoints: endpoints.map((endpoint) => ({
      ...endpoint,
      connectionTimeout: Math.min(endpoint.connectionTimeout, most),
    })),
    identity: { name: `new_task ${Deno.pid}`, version: VERSION },
    log: host.log,
    tracing,
  });
}

/** @throws {ToolError} a file, which may be a pipe that nobody writes to, takes longer */
async function readInTime<T>(reading: Promise<T>, { path }: TaskOptions, ms: number): Promise<T> {
  if (path === undefined || path === "-") return await reading;
  return await deadline(
    reading,
    ms,
    () =>
      new ToolError(
        `cannot read the file ${JSON.stringify(path)} within ${formatDuration(ms)}`,
        EXIT.temporary,
      ),
  );
}

/** Where a task goes: to its queue, or to the delay queue in which it waits until it is due. */
async function destinationOf(
  queue: QueuePolicy,
  { properties, delayMs, dueAt }: TaskOptions,
): Promise<Destination> {
  const waitMs = delayMs ?? (dueAt === undefined ? undefined : dueAt - Date.now());
  const direct = { queue, task: { exchange: "", routingKey: queue.name, properties } };
  if (waitMs === undefined) return direct;
  const { schedule } = await import("./task/schedule.ts");
  const task = { queue: queue.name, properties };
  const scheduled = schedule(task, waitMs, queue.type);
  if (scheduled === undefined) return direct;
  const { delayQueue } = scheduled;
  return {
    queue,
    delayQueue,
    task: { exchange: "", routingKey: delayQueue.name, properties: scheduled.properties },
  };
}

/**
 * Publishes the task and returns the connection when it is confirmed. A connection that ends
 * before the confirm sends the same task, with the same id, through the next address.
 *
 * @throws {ToolError}
 */
async function send(connector: Connector, order: Order): Promise<Transport> {
  const { started } = order;
  const progress: Progress = { step: `connecting to ${connector.describe()}`, sent: false };
  let sentBefore = false;
  for (let tried = 1;; tried++) {
    try {
      return await deadline(
        sendOnce(connector, order, progress),
        order.timeout - (performance.now() - started),
        () => overdue(order, progress),
      );
    } catch (error) {
      const transport = progress.transport;
      progress.transport = undefined;
      const timeLeft = performance.now() - started < order.timeout;
      const lost = error instanceof ConnectionError && transport?.isEnded === true;
      if (lost && timeLeft && tried < connector.addresses) {
        sentBefore ||= progress.sent;
        progress.sent = false;
        continue;
      }
      transport?.destroy(new ConnectionError("given up"));
      if (!sentBefore || progress.sent || !(error instanceof ConnectionError)) throw error;
      const { message, exitCode, fatal } = error;
      throw new ConnectionError(
        `${message}; an earlier attempt may have put the task on the queue or not`,
        exitCode,
        fatal,
        { cause: error },
      );
    }
  }
}

/** How far an attempt has come, for the sentence when its time is over. */
interface Progress {
  step: string;
  /** The task has left for the broker. */
  sent: boolean;
  transport?: Transport | undefined;
}

async function sendOnce(
  connector: Connector,
  { queue, delayQueue, task }: Order,
  progress: Progress,
): Promise<Transport> {
  const transport = progress.transport = await connector.connect();
  const where = redact(transport.endpoint);
  progress.step = `preparing the queue ${JSON.stringify(queue.name)} at ${where}`;
  const publisher = await openPublisher(transport, queue, delayQueue);
  progress.step = `waiting for ${where} to confirm the task, which may be on the queue or not`;
  progress.sent = true;
  try {
    await publishPatiently(transport, publisher, task);
  } catch (error) {
    if (error instanceof TaskError && error.exitCode === EXIT.unavailable) {
      await requireHome(transport, task.routingKey);
    }
    throw error;
  }
  return transport;
}

/**
 * Brokers return a task to a queue that is missing, and one to a queue whose node is down.
 *
 * @throws {ToolError} it is there, but not for the moment
 */
async function requireHome(transport: Transport, queue: string): Promise<void> {
  try {
    await inspectQueue(transport, queue);
  } catch (error) {
    if (error instanceof ToolError && error.exitCode === EXIT.temporary) throw error;
  }
}

/**
 * Nearly always the queue is there and may be of any type. Whatever else it is, `ensureWorkQueue` finds
 * out, and says so.
 *
 * @throws {ToolError}
 */
async function openPublisher(
  transport: Transport,
  queue: QueuePolicy,
  delayQueue: QueueSpec | undefined,
): Promise<Publisher> {
  const { name, create } = queue;
  const particular = queue.strict || queue.arguments !== undefined;
  if (delayQueue !== undefined) {
    await ensureWorkQueue(transport, queue); // the task would wait for nothing
    if (create) await ensureQueue(transport, delayQueue);
    return await Publisher.open(transport);
  }
  if (!create && !particular) return await Publisher.open(transport);
  if (!particular) {
    try {
      return await Publisher.open(transport, { queue: name });
    } catch (error) {
      if (!(error instanceof ChannelError)) throw error;
    }
  }
  await ensureWorkQueue(transport, queue);
  return await Publisher.open(transport);
}

/** Publishes, and again on another channel when the broker refuses the task for the moment. */
async function publishPatiently(
  transport: Transport,
  publisher: Publisher,
  task: Publication,
): Promise<void> {
  for (let refusals = 0;; refusals++) {
    try {
      return await publisher.publish(task);
    } catch (error) {
      const ms = NACK_PAUSES_MS[refusals];
      if (!(error instanceof NackError) || ms === undefined) throw error;
      await pause(ms);
      publisher = await Publisher.open(transport);
    }
  }
}

function overdue(order: Order, { step, transport }: Progress): ConnectionError {
  const blocked = transport?.blocked === undefined
    ? ""
    : `; the broker blocks publishers: ${transport.blocked}`;
  return new ConnectionError(
    `cannot send the task within ${formatDuration(order.timeout)}: stopped while ${step}${blocked}`,
  );
}
