/** `worker`: takes tasks from a queue, does them, and acknowledges each only when it is done. */
import { ackTimeoutRemedy } from "./amqp/ack_timeout.ts";
import type { Endpoint } from "./amqp/url.ts";
import { EXIT_HELP, readEndpoints, URL_HELP, urlForCommands } from "./cli/broker_flags.ts";
import { garbled, isGarbled, parseCommandLine } from "./cli/command_line.ts";
import { type HelpPage } from "./cli/help/page.ts";
import { renderHelp } from "./cli/help/render.ts";
import { type Host, runMain, VERSION } from "./cli/main.ts";
import { QUEUE_NAMES_HELP } from "./cli/queue_names.ts";
import { runToTheEnd } from "./cli/worker_run.ts";
import {
  readRetryPolicy,
  readWorkerQueues,
  WORKER_FLAGS,
  type WorkerValues,
} from "./cli/worker_flags.ts";
import { EXIT, UsageError } from "./errors.ts";
import { dotsHandler } from "./handlers/dots.ts";
import type { Handler } from "./task/handler.ts";
import { formatDuration, parseDuration } from "./task/duration.ts";
import { openDedupe } from "./worker/dedupe.ts";
import type { WorkerOptions } from "./worker/options.ts";
import { ACK_MARGIN_MS, Worker } from "./worker/worker.ts";

const HELP: HelpPage = {
  usage: [
    "worker [OPTION]...                      (works one second for every dot in a task)",
    "worker [OPTION]... -- COMMAND [ARG]...  (runs a command for each task)",
    "worker [OPTION]... --shell TEXT",
    "worker [OPTION]... --handler FILE",
    "worker [OPTION]... --post URL           (posts each task to a web application)",
    "worker dead ls|show|replay|purge       (worker dead --help)",
    "worker forward --to URL                (sends tasks to another broker; worker forward --help)",
    "worker queues                          (worker queues --help)",
  ],
  about:
    `Takes tasks from a queue, one at a time unless told otherwise, does them, and acknowledges each
only when it is done. A worker that is killed loses nothing: the broker gives its tasks to another
one, so that a task can run twice. When the connection is lost, it connects again, for ever unless
it is to end.`,
  flags: WORKER_FLAGS,
  sections: [
    [
      "Commands",
      `  The task's body is on stdin. {id}, {queue} and {attempt} in the arguments are replaced; {{id}}
  stands for {id} itself. A task whose id begins with "-" does not become an option: where {id}
  begins an argument before "--", it goes to NAME.dead. The environment has TASK_ID, TASK_QUEUE,
  TASK_EXCHANGE, TASK_ROUTING_KEY, TASK_ATTEMPT, TASK_MAX_ATTEMPTS, TASK_REDELIVERED,
  TASK_CONTENT_TYPE, TASK_TYPE, TASK_PRIORITY, TASK_CORRELATION_ID, TASK_REPLY_TO, TASK_TIMESTAMP,
  TASK_DEADLINE (seconds since 1970), TASK_META_FILE (everything about the task, as JSON),
  TASK_SNOOZE_FILE and TASK_PROGRESS_FILE (see Answers). TASK_ID stays the same over retries; a task
  that was sent without an id gets one with its first retry. AMQP_URL, WORK_QUEUE and TASK_* of the
  worker's own environment are left out: a command that sends the next task needs --pass-url, and
  names its queue. Exit status:
    0              done
    64 65 66 76 78 it will never work: to NAME.dead
    79             again after the time in TASK_SNOOZE_FILE, or --snooze; counts as no attempt
    255            put it back and end the worker with 75
    126 127        of --shell: cannot run here; put it back and end the worker, as when COMMAND
                   cannot be executed
    others         failed: another attempt after --backoff, at last to NAME.dead`,
    ],
    [
      "Modules",
      `  The default export is called with (task, context). task: id, bytes, text(), json(),
  properties, queue. context: signal (AbortSignal), attempt, log(text), progress(done, total).
  An exception is a failed attempt; one whose name is RejectTask sends the task to NAME.dead, one
  whose name is RetryTask may have delayMs. It shares the worker's thread: code that computes for
  half a minute without an await stops the heartbeats, and the broker gives its task to another
  worker; such work is a command's. A compiled worker takes JavaScript only.`,
    ],
    [
      "Answers",
      `  Who waits for a task (its reply_to) is sent what the command wrote to stdout, what the module
  returned (text, bytes, or as JSON) or what the web application answered, at most 1 MiB of it; of a
  dead task why. The answer is sent before the task is acknowledged, with the task's correlation id
  and headers task-*. Who asked for it is told how far the work is: context.progress(done, total),
  or the last line of TASK_PROGRESS_FILE, such as 3/10, 30% or words.`,
    ],
    [
      "Web applications",
      `  --post sends a task as a POST request: its body, Content-Type and Content-Encoding as they are;
  Task-Id, Task-Queue, Task-Attempt, Task-Max-Attempts, Task-Redelivered, Task-Exchange,
  Task-Routing-Key, Task-Type, Task-Priority, Task-Correlation-Id, Task-Reply-To, Task-App-Id,
  Task-Timestamp and Task-Deadline (seconds since 1970), percent-encoded, where it has them;
  Task-Headers, its headers as JSON, or when that has over 4 KiB its length in
  Task-Headers-Left-Out; traceparent and tracestate. Redirects are not followed, proxies of the
  environment not used. Status:
    2xx                 done
    408 409 425 429     failed: another attempt after Retry-After or --backoff
    429 503             with Retry-After: again after that; counts as no attempt
    other 4xx           it will never work: to NAME.dead, with the first 4 KiB of the answer
    others, no answer   failed: another attempt, at last to NAME.dead
  The token and the secret file are read again when they change; every key in the latter signs.`,
    ],
    [
      "Signals",
      `  SIGTERM, SIGINT, SIGHUP: take no more tasks, finish within --grace, put the rest back, exit 0.
  Again, or SIGQUIT, SIGUSR1: end at once, with 128 plus the signal's number. SIGTSTP: take no more
  tasks and stay; SIGCONT: take them again. SIGUSR2: say on stderr what is running. SIGKILL leaves a
  running command behind, while the broker gives its task to another worker. Under nohup, use
  setsid: SIGHUP is not ignored.`,
    ],
    QUEUE_NAMES_HELP,
    URL_HELP,
    EXIT_HELP,
  ],
};

/** Below the half hour after which RabbitMQ takes a task back that nobody acknowledges. */
const DEFAULT_TIMEOUT_MS = parseDuration("25m")!;
const ACK_TIMEOUT_MS = parseDuration("30m")!;

/** What does the work, and how to end it. */
interface Work {
  readonly handler: Handler;
  /** Ends what is running, at once. */
  kill(): void;
}

if (import.meta.main) await runMain("worker", run);

async function run(host: Host): Promise<number> {
  // Words, not options: a command of one of these names comes after "--".
  const [first, ...rest] = host.args;
  if (first === "dead") return await (await import("./cli/dead.ts")).runDead(host, rest);
  if (first === "forward") return await (await import("./cli/forward.ts")).runForward(host, rest);
  if (first === "queues") return await (await import("./cli/queues.ts")).runQueues(host, rest);
  const { values, words, given } = await parseCommandLine(WORKER_FLAGS, host.args, host.env, {
    stopEarly: true,
  });
  if (values.help) return said(host, renderHelp(HELP));
  if (values.version) return said(host, `worker ${VERSION}\n`);

  const endpoints = readEndpoints(values, host);
  const queues = readWorkerQueues(values);
  const tutorial = words.length === 0 &&
    [values.shell, values.handler, values.post].every((work) => work === undefined);
  const timeoutMs = values.timeout ?? (tutorial ? undefined : DEFAULT_TIMEOUT_MS);
  warnAboutAckTimeout(values, timeoutMs, endpoints[0]!, host);
  const work = await chooseWork(values, words, given, endpoints, host);
  const dedupe = values["dedupe-file"] === undefined
    ? undefined
    : await openDedupe(values["dedupe-file"], values["dedupe-ttl"], host.log);
  const pages = values.metrics && new (await import("./worker/pages.ts")).WorkerPages();
  const worker = new Worker({
    ...workerOptions(values),
    endpoints,
    identity: { name: `worker ${Deno.pid}`, version: VERSION },
    queues,
    handler: work.handler,
    log: host.log,
    summarize: !tutorial,
    ...optional("timeoutMs", timeoutMs),
    ...optional("dedupe", dedupe),
    onRun: (ms) => pages?.ran(ms),
    onReady: () => host.print(" [*] Waiting for messages. To exit press CTRL+C\n"),
  });
  try {
    return await runToTheEnd(host, worker, { kill: () => work.kill(), pages, at: values.metrics });
  } finally {
    dedupe?.close();
  }
}

/** What the options say of the worker, whatever its work is. */
function workerOptions(
  values: WorkerValues,
): Omit<WorkerOptions, "endpoints" | "identity" | "queues" | "handler" | "log"> {
  return {
    retries: readRetryPolicy(values),
    queueType: values["delay-queue-type"],
    hostname: hostname(),
    // A command has its own SIGKILL; only after that it counts as stuck.
    stopMs: values["kill-after"] + 5_000,
    graceMs: values.grace,
    ackEarly: values.ack === "early",
    killOnDisconnect: values["on-disconnect"] === "kill",
    reply: !values["no-reply"],
    exitWhenEmpty: values["exit-when-empty"],
    ...optional("deadTtlMs", values["dead-ttl"]),
    ...optional("rate", values.rate),
    ...optional("idleTimeoutMs", values["idle-timeout"]),
    ...optional("maxTasks", values["max-tasks"]),
    ...optional("maxRuntimeMs", values["max-runtime"]),
    ...optional("maxMemoryBytes", values["max-memory"]),
    ...optional("connectTimeoutMs", values["connect-timeout"]),
    ...(values.strict ? { strictPlaces: values.concurrency } : {}),
    ...optional("consumerPriority", values["consumer-priority"]),
    limitExitCode: values["limit-exit-code"],
  };
}

function said(host: Host, text: string): number {
  host.print(text);
  return EXIT.ok;
}

/** @throws {ToolError} what was asked for cannot be run here */
async function chooseWork(
  values: WorkerValues,
  words: readonly string[],
  given: ReadonlySet<string>,
  endpoints: readonly Endpoint[],
  host: Host,
): Promise<Work> {
  if (words.some(isGarbled)) throw new UsageError(garbled("the command"));
  if (/^amqps?:/.test(words[0] ?? "")) {
    throw new UsageError(
      `the broker is given by --url or AMQP_URL, and ${JSON.stringify(words[0])} stands where a ` +
        "command does",
    );
  }
  const options = ["shell", "handler", "post"].filter((name) => given.has(name));
  const chosen = options.map((name) => `--${name}`);
  if (words.length > 0) chosen.unshift("a command");
  if (chosen.length > 1) {
    throw new UsageError(`worker does one kind of work, and was given ${chosen.join(" and ")}`);
  }
  if (values.shell?.trim() === "") {
    throw new UsageError("--shell must have a command line for the shell, and is blank");
  }
  if (values.handler !== undefined) {
    const { functionHandler, loadHandler } = await import("./handlers/module.ts");
    const work = await loadHandler(values.handler);
    const log = (message: string, id: string) => host.log.info(message, { id });
    return { handler: functionHandler(work, { log }), kill() {} };
  }
  const forPost = [...given].find((name) => name.startsWith("post-"));
  if (values.post === undefined && forPost !== undefined) {
    throw new UsageError(`--${forPost} is for --post, which is not given`);
  }
  if (values.post !== undefined) return await postWork(values, values.post, host);
  if (values.shell === undefined && words.length === 0) {
    return { handler: dotsHandler({ print: host.print }), kill() {} };
  }
  const { CommandHandler } = await import("./handlers/command.ts");
  (await import("./handlers/environment.ts")).dropOwnVariables();
  const command = new CommandHandler({
    ...(values.shell === undefined ? { argv: words } : { shell: values.shell }),
    ...(values["pass-url"] ? { url: () => urlForCommands(endpoints) } : {}),
    ...optional("cwd", values.cwd),
    output: values.output,
    exits: {
      ack: values["ack-on"],
      retry: values["retry-on"],
      dead: values["dead-on"],
      stop: values["stop-on"],
    },
    killAfterMs: values["kill-after"],
    snoozeMs: values.snooze,
    leaveOrphans: values["leave-orphans"],
    warn: (message) => host.log.warn(message),
  });
  return { handler: command.handle, kill: () => command[Symbol.dispose]() };
}

/** @throws {ToolError} */
async function postWork(values: WorkerValues, url: string, host: Host): Promise<Work> {
  const { PostHandler } = await import("./handlers/post.ts");
  const post = await PostHandler.open({
    url,
    tls: {
      ...optional("ca", values["post-cacert"]),
      ...optional("cert", values["post-cert"]),
      ...optional("key", values["post-key"]),
    },
    ...optional("tokenFile", values["post-token-file"]),
    ...optional("secretFile", values["post-secret-file"]),
    userAgent: `worker/${VERSION}`,
    warn: (message) => host.log.warn(message),
  });
  return { handler: post.handle, kill: () => post[Symbol.dispose]() };
}

function warnAboutAckTimeout(
  { ack, concurrency, queue, rate }: WorkerValues,
  timeoutMs: number | undefined,
  { vhost }: Endpoint,
  host: Host,
): void {
  const turnMs = rate === undefined ? 0 : Math.ceil(1_000 * concurrency / rate);
  const longestMs = (timeoutMs ?? 0) + turnMs;
  if (longestMs < ACK_TIMEOUT_MS || ack === "early") return;
  const causes = [
    ...(timeoutMs === undefined ? [] : [`--timeout is ${formatDuration(timeoutMs)}`]),
    ...(turnMs < 60_000 ? [] : [`by --rate tasks wait here up to ${formatDuration(turnMs)}`]),
  ];
  host.log.warn(
    `${causes.join(" and ")}, and RabbitMQ takes a task back after 30 m without an ` +
      "acknowledgement, to run it again: " +
      ackTimeoutRemedy(queue[0]!.name, vhost, longestMs + ACK_MARGIN_MS),
  );
}

function hostname(): string {
  try {
    return Deno.hostname();
  } catch {
    return "unknown"; // the permission is not given
  }
}

function optional<K extends string, V>(key: K, value: V | undefined): { [P in K]?: V } {
  return value === undefined ? {} : { [key]: value } as { [P in K]?: V };
}
