/** `worker forward`: takes tasks from queues here, and publishes them to another broker. */
import { Connector, type ConnectorOptions } from "../amqp/connection.ts";
import { type Endpoint, redact } from "../amqp/url.ts";
import { EXIT, UsageError } from "../errors.ts";
import { type Destination, ForwardHandler } from "../handlers/forward.ts";
import { optional } from "../task/optional.ts";
import { DEFAULT_POLICY, MOST_RETURNS } from "../task/retry.ts";
import { connectTimeout } from "../worker/limits.ts";
import { TaskRoom } from "../worker/task_room.ts";
import type { WindowSize } from "../worker/window.ts";
import { Worker } from "../worker/worker.ts";
import { EXIT_HELP, readEndpoints, readQueuePolicy, URL_HELP } from "./connection_flags.ts";
import { parseCommandLine } from "./command_line.ts";
import { type HelpPage } from "./help/page.ts";
import {
  FORWARD_FLAGS,
  type ForwardValues,
  readDestination,
  requireAnotherQueue,
  targetValues,
} from "./forward_flags.ts";
import { hostMemory } from "./host_memory.ts";
import { hostRoom } from "./host_room.ts";
import { readLogStyle } from "./log_flags.ts";
import { type Host, VERSION } from "./main.ts";
import { QUEUE_NAMES_HELP } from "./queue_names.ts";
import { keepHeapSmall } from "./small_heap.ts";
import { tell } from "./tell.ts";
import { openTracing } from "./tracing.ts";
import { hostname, runToTheEnd } from "./worker_run.ts";

/** Tasks of a queue that are on their way at the same time. */
const MOST_TASKS = 1_536;
const MOST_BYTES = 16 * 1024 * 1024;
/**
 * Bytes of the host's memory for each of them: what has been in hand for a while costs both brokers
 * and this program much more than itself, until garbage is collected.
 */
const BYTES_PER_TASK = 512 * 1024;
/** The part of the host's memory that their bodies may take. */
const BODIES_SHARE = 1 / 16;
/** By a limited rate no more are here than can be sent in this many seconds. */
const RATE_SECONDS = 5;
/** How long without a link tasks are kept in hand before they go back, in milliseconds. */
const PATIENCE_MS = 5 * 60_000;

export const help: HelpPage = {
  name: "worker forward",
  summary: "send tasks on to another broker",
  usage: ["worker forward --to URL [OPTION]..."],
  about:
    `Takes tasks from queues and publishes each to another broker, persistent and mandatory, and
acknowledges it here when that broker has confirmed it. Body, properties and headers, id and
priority stay as they are, and so does the order of a queue, but for what comes again. While the
other broker cannot be reached or blocks, tasks stay here; it tries for ever, and then sends what was
not confirmed again, first.`,
  examples: [
    [
      "From a device to a cluster, whenever the link is up:",
      "TO_AMQP_URL=amqps://device7@cluster.example.org/ worker forward -q readings",
    ],
    [
      "Move what waits to a new broker, and end:",
      "worker forward --to amqp://node1 -q mails --exit-when-empty",
    ],
    [
      "Leave room on the link for others:",
      "worker forward --to amqp://node1 -q readings --bytes-rate 64k/s",
    ],
  ],
  flags: FORWARD_FLAGS,
  essential: [
    "to",
    "to-password-file",
    "url",
    "queue",
    "to-queue",
    "to-exchange",
    "bytes-rate",
    "exit-when-empty",
    "metrics",
    "help",
  ],
  sections: [
    [
      "What becomes of a task",
      `  The queue there is created as new_task does it. A task that is not due yet (--delay, a pause
  after a failure) waits there for what is left; --expiration is shortened by the time that the task
  was in hand here, and not by that in its queue, which no broker tells. Attempts made so far count
  there, too. CC, BCC and what brokers write of dead-lettering (x-death) stay behind; a user_id
  becomes the header task-user-id. The header task-forwarded is a table: count (how often it was
  forwarded), host, broker, queue and at (from where and when, the last time), sent (how often this
  copy was sent) and redelivered.

  What can never be sent goes to NAME.dead here, with the reason, and the others pass it: a body or
  headers that the other broker refuses, a task that it returns as unroutable, one that expired in
  hand, one that was forwarded --max-hops times before, and, after some returns to its queue, one
  that is too large for the memory of this host.`,
    ],
    [
      "Twice, and late",
      `  A task that was unconfirmed when a connection or this program ended may be there twice, with
  the same id; "sent" above 1 or "redelivered" tell the later copies. The last line and the metrics
  count them. Of a quorum queue of RabbitMQ here some may come late: RabbitMQ sends behind
  others what is in hand when this is stopped, or on its way when the number of tasks in hand changes
  because their sizes vary much.`,
    ],
    [
      "Moving a queue",
      `  Producers are pointed at the other broker first, then --exit-when-empty moves what is left
  while workers go on at both. Tasks that wait in NAME.delay.* come when they are due, and those in
  NAME.dead stay: worker queues shows them.`,
    ],
    QUEUE_NAMES_HELP,
    URL_HELP,
    EXIT_HELP,
  ],
};

/** Runs `worker forward ...`. */
export async function run(host: Host, args: readonly string[]): Promise<number> {
  const { values, words } = await parseCommandLine(FORWARD_FLAGS, args, host.env);
  if (await tell(host, values, () => help)) return EXIT.ok;
  host.logAs(readLogStyle(values));
  if (words.length > 0) {
    throw new UsageError(
      `worker forward takes options only, and was given ${JSON.stringify(words[0])}`,
    );
  }
  const way = readWay(values, host);
  const limits = limitsOf(values);
  const memory = hostMemory(values["host-memory"]);
  const connections = {
    identity: { name: `worker forward ${Deno.pid}`, version: VERSION },
    log: host.log,
    tracing: await openTracing(),
  };
  const { connectTimeoutMs } = connectTimeout(limits);
  const handler = handlerOf(values, {
    ...connections,
    ...way,
    patience: Math.min(PATIENCE_MS, connectTimeoutMs ?? Infinity),
    endsAfter: connectTimeoutMs,
  });
  const pages = values.metrics &&
    new (await import("../worker/pages.ts")).WorkerPages(() => handler.metrics());
  const ready = Promise.withResolvers<void>();
  const worker = new Worker({
    ...optionsOf(values, memory),
    ...limits,
    ...connections,
    endpoints: way.here,
    handler,
    freeBodies: true,
    onReady: () => {
      host.print(" [*] Forwarding tasks. To exit press CTRL+C\n");
      ready.resolve();
    },
    onDrain: (overdue, stopped) => handler.drain(overdue, stopped),
  });
  using _heap = keepHeapSmall(memory);
  handler.start(worker);
  try {
    return await runToTheEnd(host, worker, {
      kill: () => {},
      pages,
      at: values.metrics,
      ready: ready.promise,
    });
  } finally {
    await handler.close();
    const { done, dead } = worker.describe();
    host.log.info("forwarded", {
      tasks: done,
      bytes: handler.bytes,
      dead,
      "sent-again": handler.repeats,
      "not-sent-again": worker.recognised,
    });
  }
}

/** From where to where. */
interface Way {
  readonly here: readonly Endpoint[];
  readonly there: readonly Endpoint[];
  readonly destination: Destination;
}

/** @throws {UsageError} it leads to where it begins */
function readWay(values: ForwardValues, host: Host): Way {
  const destination = readDestination(values);
  const target = targetValues(values);
  const here = readEndpoints(values, host);
  const there = readEndpoints(target, host, {
    url: "--to",
    variable: "TO_AMQP_URL",
    prefix: "--to-",
  });
  requireAnotherQueue(here, there, destination);
  return { here, there, destination };
}

/** The way, and how both ends are connected to. */
interface Ends extends Way, Omit<ConnectorOptions, "endpoints"> {
  /** Milliseconds. */
  readonly patience: number;
  /** Milliseconds; undefined: never. */
  readonly endsAfter: number | undefined;
}

function handlerOf(values: ForwardValues, ends: Ends): ForwardHandler {
  const { here, there, destination, patience, endsAfter, identity, log, tracing } = ends;
  const bytesPerSecond = values["bytes-rate"];
  return new ForwardHandler({
    connector: new Connector({
      endpoints: there,
      identity: { ...identity, ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }) },
      log,
      tracing,
    }),
    destination,
    delayQueueType: values["delay-queue-type"],
    host: hostname(),
    broker: redact({ ...here[0]!, username: "" }).replace("//@", "//"),
    maxHops: values["max-hops"],
    patience,
    endsAfter,
    traced: tracing !== undefined,
    log,
  });
}

function limitsOf(values: ForwardValues) {
  return {
    exitWhenEmpty: values["exit-when-empty"],
    ...optional("idleTimeoutMs", values["idle-timeout"]),
    ...optional("maxTasks", values["max-tasks"]),
    ...optional("maxRuntimeMs", values["max-runtime"]),
    ...optional("connectTimeoutMs", values["connect-timeout"]),
  };
}

/**
 * What the values say of the worker, but for its limits.
 * @param memory of the host, in bytes; undefined: nobody knows
 */
function optionsOf(values: ForwardValues, memory: number | undefined) {
  return {
    queues: values.queue.map(({ name }) => ({
      policy: readQueuePolicy({
        queue: name,
        "queue-type": undefined,
        "queue-arg": [],
        "no-declare": values["no-declare"],
      }),
      prefetch: 1,
    })),
    window: windowOf(values, memory),
    room: hostRoom(values.queue.length, memory),
    summarize: values["log-level"] === "debug",
    retries: {
      ...DEFAULT_POLICY,
      maxCrashes: Infinity,
      runsEarly: true,
      mostReturns: MOST_RETURNS,
    },
    queueType: values["delay-queue-type"],
    hostname: hostname(),
    graceMs: values.grace,
    reply: false,
    ...optional("deadTtlMs", values["dead-ttl"]),
    ...optional("rate", values.rate),
    ...optional("consumerPriority", values["consumer-priority"]),
    limitExitCode: values["limit-exit-code"],
  };
}

/** What of a queue may be in hand. */
function windowOf(values: ForwardValues, memory = Infinity): WindowSize {
  const { rate = Infinity, "bytes-rate": bytesRate = Infinity } = values;
  const share = memory / values.queue.length;
  const tasks = Math.min(MOST_TASKS, share / BYTES_PER_TASK, rate * RATE_SECONDS);
  const bytes = Math.min(MOST_BYTES, share * BODIES_SHARE, bytesRate * RATE_SECONDS);
  return { tasks: Math.max(1, Math.ceil(tasks)), room: TaskRoom.of(Math.max(65_536, bytes)) };
}
