/** `worker`: takes tasks from a queue, does them, and acknowledges each only when it is done. */
import { ackTimeoutRemedy } from "./amqp/ack_timeout.ts";
import type { Endpoint } from "./amqp/url.ts";
import { readEndpoints, urlForCommands } from "./cli/connection_flags.ts";
import { garbled, isGarbled, parseCommandLine } from "./cli/command_line.ts";
import { type HelpPage } from "./cli/help/page.ts";
import { hostRoom } from "./cli/host_room.ts";
import { readLogStyle } from "./cli/log_flags.ts";
import { type Host, runMain, VERSION } from "./cli/main.ts";
import { runCommand } from "./cli/commands.ts";
import { tell } from "./cli/tell.ts";
import { WORKER_COMMANDS } from "./cli/worker_commands.ts";
import { openTracing } from "./cli/tracing.ts";
import { hostname, runToTheEnd } from "./cli/worker_run.ts";
import {
  readRetryPolicy,
  readWorkerQueues,
  WORKER_FLAGS,
  type WorkerValues,
} from "./cli/worker_flags.ts";
import { EXIT, ToolError, UsageError } from "./errors.ts";
import { dotsHandler } from "./handlers/dots.ts";
import type { LineOrigin } from "./handlers/output.ts";
import { renderJson } from "./observe/log.ts";
import type { Handler } from "./task/handler.ts";
import { formatDuration, parseDuration } from "./task/duration.ts";
import { optional } from "./task/optional.ts";
import { openDedupe } from "./worker/dedupe.ts";
import type { WorkerOptions } from "./worker/options.ts";
import { ACK_MARGIN_MS, Worker } from "./worker/worker.ts";

/** Below the half hour after which RabbitMQ takes a task back that nobody acknowledges. */
const DEFAULT_TIMEOUT_MS = parseDuration("25m")!;
const ACK_TIMEOUT_MS = parseDuration("30m")!;

/** Options that say nothing of other kinds of work. */
const FOR_COMMANDS = [
  ...["cwd", "pass-url", "output", "leave-orphans", "snooze"],
  ...["ack-on", "retry-on", "dead-on", "stop-on"],
];

/** What does the work, and how to end it. */
interface Work {
  readonly handler: Handler;
  /** It is somebody else's code, which may keep bodies of tasks. */
  readonly keepsBodies?: boolean;
  /** Ends what is running, at once. */
  kill(): void;
}

if (import.meta.main) await main();

/** Runs this program, and ends the process. */
export async function main(): Promise<never> {
  return await runMain("worker", run);
}

/** What is told about this tool. */
export async function help(): Promise<HelpPage> {
  return (await import("./cli/worker_help.ts")).HELP;
}

/** @returns the exit status */
export async function run(host: Host): Promise<number> {
  const ended = await runCommand(WORKER_COMMANDS, host);
  if (ended !== undefined) return ended;
  const { values, words, given, separated } = await parseCommandLine(
    WORKER_FLAGS,
    host.args,
    host.env,
    { stopEarly: true },
  );
  if (await tell(host, values, help)) return EXIT.ok;
  // As of `worker -- $COMMAND` with a variable that is not set: tasks would be done by nothing.
  if (separated && words.length === 0) throw new UsageError('"--" needs a command after it');
  host.logAs(readLogStyle(values));

  const endpoints = readEndpoints(values, host);
  const queues = readWorkerQueues(values);
  const tutorial = words.length === 0 &&
    [values.shell, values.handler, values.post].every((work) => work === undefined);
  const timeoutMs = values.timeout ?? (tutorial ? undefined : DEFAULT_TIMEOUT_MS);
  warnAboutAckTimeout(values, timeoutMs, endpoints[0]!, host);
  const work = await chooseWork(values, words, given, endpoints, host)
    .catch((error) => suggestSubcommand(error, words[0], host.args[0]));
  const dedupe = values["dedupe-file"] === undefined
    ? undefined
    : await openDedupe(values["dedupe-file"], values["dedupe-ttl"], host.log);
  const pages = values.metrics && new (await import("./worker/pages.ts")).WorkerPages();
  const ready = Promise.withResolvers<void>();
  const worker = new Worker({
    ...workerOptions(values),
    endpoints,
    identity: { name: `worker ${Deno.pid}`, version: VERSION },
    queues,
    room: hostRoom(queues.length, values["host-memory"]),
    handler: work.handler,
    freeBodies: work.keepsBodies !== true,
    log: host.log,
    tracing: await openTracing(),
    // The tutorial's worker says all there is to say on stdout.
    summarize: !tutorial || values["log-format"] === "json" || values["log-level"] === "debug",
    ...optional("timeoutMs", timeoutMs),
    ...optional("dedupe", dedupe),
    ...(pages === undefined ? {} : { onRun: (run) => pages.ran(run) }),
    onReady: () => {
      host.print(" [*] Waiting for messages. To exit press CTRL+C\n");
      ready.resolve();
    },
  });
  try {
    return await runToTheEnd(host, worker, {
      kill: () => work.kill(),
      pages,
      at: values.metrics,
      ready: ready.promise,
    });
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

/** @throws {ToolError} what was asked for cannot be run here */
async function chooseWork(
  values: WorkerValues,
  words: readonly string[],
  given: ReadonlySet<string>,
  endpoints: readonly Endpoint[],
  host: Host,
): Promise<Work> {
  checkWork(values, words, given);
  if (values.handler !== undefined) return await moduleWork(values.handler, host);
  if (values.post !== undefined) return await postWork(values, values.post, host);
  if (values.shell === undefined && words.length === 0) {
    return { handler: dotsHandler({ print: host.print }), kill() {} };
  }
  return await commandWork(values, words, endpoints, host);
}

/** @throws {UsageError} it is not one kind of work, or an option is for another */
function checkWork(
  values: WorkerValues,
  words: readonly string[],
  given: ReadonlySet<string>,
): void {
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
  const isCommand = values.shell !== undefined || words.length > 0;
  const forCommand = FOR_COMMANDS.find((name) => given.has(name));
  if (!isCommand && forCommand !== undefined) {
    throw new UsageError(`--${forCommand} is for a command or --shell, and none is given`);
  }
  const forPost = [...given].find((name) => name.startsWith("post-"));
  if (values.post === undefined && forPost !== undefined) {
    throw new UsageError(`--${forPost} is for --post, which is not given`);
  }
}

/** @throws {ToolError} */
async function moduleWork(module: string, host: Host): Promise<Work> {
  const { functionHandler, loadHandler } = await import("./handlers/module.ts");
  const work = await loadHandler(module);
  const log = (message: string, id: string) => host.log.info(message, { id });
  return { handler: functionHandler(work, { log }), keepsBodies: true, kill() {} };
}

async function commandWork(
  values: WorkerValues,
  words: readonly string[],
  endpoints: readonly Endpoint[],
  host: Host,
): Promise<Work> {
  const { CommandHandler } = await import("./handlers/command.ts");
  (await import("./handlers/environment.ts")).dropOwnVariables();
  const command = new CommandHandler({
    ...(values.shell === undefined ? { argv: words } : { shell: values.shell }),
    ...(values["pass-url"] ? { url: () => urlForCommands(endpoints) } : {}),
    ...optional("cwd", values.cwd),
    output: values.output,
    ...(values["log-format"] === "json" ? { lineStyle: jsonLines } : {}),
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

/** A subcommand that is misspelt looks like a command that does not exist. */
async function suggestSubcommand(
  error: unknown,
  word: string | undefined,
  firstArg: string | undefined,
): Promise<never> {
  const missing = error instanceof ToolError && error.exitCode === EXIT.notFound;
  if (!missing || word === undefined) throw error;
  const { didYouMean } = await import("./cli/suggest.ts");
  const names = Object.keys(WORKER_COMMANDS);
  const hint = didYouMean(word, names, "worker ") ||
    (word === firstArg ? `; subcommands are ${names.join(", ")}` : "");
  throw new ToolError(error.message + hint, error.exitCode, { cause: error });
}

/** Lines of a command among log lines that are all JSON. */
function jsonLines(origin: LineOrigin): (line: Uint8Array) => Uint8Array {
  return (line) => {
    const text = new TextDecoder().decode(line);
    return new TextEncoder().encode(renderJson("worker", new Date(), "info", text, { ...origin }));
  };
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
    `${causes.join(" and ")}, and RabbitMQ takes a task back after 30 min without an ` +
      "acknowledgement, to run it again: " +
      ackTimeoutRemedy(queue[0]!.name, vhost, longestMs + ACK_MARGIN_MS),
  );
}
