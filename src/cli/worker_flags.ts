/** The options of `worker`, and what they say. */
import { UsageError } from "../errors.ts";
import { type OutputMode, parseOutputMode } from "../handlers/output.ts";
import { parseExitCodes } from "../handlers/exit_codes.ts";
import { parseDuration } from "../task/duration.ts";
import type { RetryPolicy } from "../task/retry.ts";
import { DEFAULT_POLICY } from "../task/retry.ts";
import type { WorkerQueue } from "../worker/options.ts";
import { CONNECTION_FLAGS, QUEUE_FLAGS, readQueuePolicy } from "./connection_flags.ts";
import { choice, duration, type Flag, integer, size, text, toggle, type Values } from "./flags.ts";
import { TOOL_FLAGS } from "./general_flags.ts";
import { HOST_MEMORY } from "./host_memory.ts";
import { listenAddress } from "./listen_address.ts";
import { queues } from "./queue_names.ts";

const MAX_BACKOFF_MS = 2 ** 31 - 1;

const backoff: Flag<readonly number[]> = {
  group: "outcome",
  value: "TIME,...",
  help: "pause after the first, second ... failed attempt, each up to a fifth longer at random",
  shown: "1s,5s,15s,1m,5m,15m,1h",
  fallback: () => DEFAULT_POLICY.backoffMs,
  parse: (texts, source) => {
    const given = texts.at(-1)!;
    const pauses = given.split(",").map((part) => parseDuration(part));
    if (pauses.every((ms) => ms !== undefined && ms >= 1 && ms <= MAX_BACKOFF_MS)) {
      return pauses as number[];
    }
    throw new UsageError(
      `${source} must be times of 1ms to 24d such as 1s,5s,1m, and is ${JSON.stringify(given)}`,
    );
  },
};

/** AMQP's 32 bits. */
const consumerPriority: Flag<number | undefined> = {
  group: "queue",
  value: "N",
  help:
    "tasks go to workers of a lower one only when those of a higher one are busy; standby workers " +
    "have =-1 (default 0)",
  fallback: () => undefined,
  parse: (texts, source) => {
    const given = texts.at(-1)!;
    const priority = Number(given);
    if (/^-?\d{1,10}$/.test(given) && priority === (priority | 0)) return priority;
    throw new UsageError(
      `${source} must be a whole number of 32 bits, and is ${JSON.stringify(given)}`,
    );
  },
};

/** A task waits for its turn unacknowledged, and brokers do not wait for ever. */
const LOWEST_RATE_PER_HOUR = 3;

const rate: Flag<number | undefined> = {
  group: "queue",
  value: "N/s",
  help: "start at most so many tasks a second, a minute (N/m) or an hour (N/h; at least 3)",
  fallback: () => undefined,
  parse: (texts, source) => {
    const given = texts.at(-1)!;
    const match = /^(\d{1,9}(?:\.\d{1,3})?)(?:\/(s|m|min|h))?$/.exec(given);
    const seconds = { s: 1, m: 60, min: 60, h: 3600 }[match?.[2] ?? "s"]!;
    const perSecond = Number(match?.[1] ?? 0) / seconds;
    if (perSecond * 3_600 >= LOWEST_RATE_PER_HOUR) return perSecond;
    throw new UsageError(
      `${source} must be a number of tasks such as 10/s, 30/m or at least ` +
        `${LOWEST_RATE_PER_HOUR}/h, and is ${JSON.stringify(given)}`,
    );
  },
};

const output: Flag<OutputMode> = {
  group: "command",
  value: "prefix|inherit|null|file:DIR",
  help: "where the command's output goes; prefix: to stderr, each line behind the task's id",
  shown: "prefix",
  fallback: () => ({ kind: "prefix" }),
  parse: (texts, source) => {
    const mode = parseOutputMode(texts.at(-1)!);
    if (mode !== undefined) return mode;
    throw new UsageError(
      `${source} must be prefix, inherit, null or file:DIR, and is ${JSON.stringify(texts.at(-1))}`,
    );
  },
};

function exitCodes(help: string): Flag<readonly number[]> {
  return {
    group: "outcome",
    value: "CODES",
    help,
    fallback: () => [],
    parse: (texts, source) => {
      const codes = parseExitCodes(texts.at(-1)!);
      if (codes !== undefined) return codes;
      throw new UsageError(
        `${source} must be exit statuses such as 3,70-75, and is ${JSON.stringify(texts.at(-1))}`,
      );
    },
  };
}

export const WORKER_FLAGS = {
  ...CONNECTION_FLAGS,
  ...QUEUE_FLAGS,
  queue: queues,
  concurrency: integer({
    group: "queue",
    short: "c",
    min: 1,
    max: 65535,
    default: 1,
    help: "tasks at the same time; the broker sends no more than these (prefetch)",
  }),
  strict: toggle({
    group: "queue",
    help: "serve the queues in their order: one only when those before it are empty",
  }),
  "consumer-priority": consumerPriority,
  shell: text({
    group: "command",
    value: "TEXT",
    help: "run a shell text for each task instead of a command; nothing in it is replaced",
  }),
  handler: text({
    group: "command",
    value: "FILE",
    help: "call the default export of a module for each task (JavaScript; TypeScript under deno)",
  }),
  post: text({
    group: "command",
    value: "URL",
    help:
      "post each task to http://, https:// or unix:SOCKET:/PATH; {queue} and {type} are replaced",
  }),
  "post-token-file": text({
    group: "command",
    value: "PATH",
    help: "file with a bearer token for --post",
  }),
  "post-secret-file": text({
    group: "command",
    value: "PATH",
    help: "file of whsec_ keys that sign each request as Standard Webhooks has it",
  }),
  "post-cacert": text({
    group: "command",
    value: "PATH",
    help: "PEM file of further authorities to trust",
  }),
  "post-cert": text({
    group: "command",
    value: "PATH",
    help: "PEM file of the client certificate for --post",
  }),
  "post-key": text({ group: "command", value: "PATH", help: "PEM file of its key" }),
  cwd: text({ group: "command", value: "DIR", help: "directory that the command runs in" }),
  "pass-url": toggle({
    group: "command",
    help: "give the command AMQP_URL, password included, so that new_task in it finds this broker",
  }),
  output,
  "ack-on": exitCodes("exit statuses that mean done, besides 0"),
  "retry-on": exitCodes("exit statuses that mean another attempt"),
  "dead-on": exitCodes("exit statuses that mean it will never work"),
  "stop-on": exitCodes("exit statuses that put the task back and end the worker"),
  snooze: duration({ group: "outcome", default: "1m", min: 1, help: "pause after exit status 79" }),
  timeout: duration({
    group: "command",
    min: 1,
    help: "limit for one task; then SIGTERM to its process group (default 25m; none for dots)",
  }),
  "kill-after": duration({ group: "command", default: "10s", help: "from SIGTERM to SIGKILL" }),
  "leave-orphans": toggle({ group: "command", help: "do not kill what a command leaves running" }),
  "max-attempts": integer({
    group: "outcome",
    min: 1,
    max: 1_000_000,
    default: DEFAULT_POLICY.maxAttempts,
    help: "attempts before a failing task goes to NAME.dead",
  }),
  backoff,
  "max-crashes": integer({
    group: "outcome",
    min: 1,
    max: 1_000_000,
    default: DEFAULT_POLICY.maxCrashes,
    help:
      "starts of a task whose worker may vanish before it goes to NAME.dead without another run; " +
      "what was delivered and not begun does not count",
  }),
  "delay-queue-type": choice({
    group: "outcome",
    choices: ["quorum", "classic"],
    default: "quorum",
    help: "type of NAME.delay.* and NAME.dead when they have to be created",
  }),
  "dead-ttl": duration({
    group: "outcome",
    min: 1,
    help: "how long dead tasks are kept (default for ever)",
  }),
  ack: choice({
    group: "outcome",
    choices: ["late", "early"],
    default: "late",
    help: "early acknowledges before the run, for work longer than the broker waits: at most once",
  }),
  "on-disconnect": choice({
    group: "outcome",
    choices: ["finish", "kill"],
    default: "finish",
    help: "what happens to running tasks when the connection is lost",
  }),
  rate,
  "dedupe-file": text({
    group: "outcome",
    value: "PATH",
    help: "SQLite file of the ids that succeeded on this host; those are skipped",
  }),
  "dedupe-ttl": duration({
    group: "outcome",
    default: "1d",
    min: 1,
    help: "how long an id is kept there",
    needs: ["dedupe-file"],
  }),
  "no-reply": toggle({
    group: "outcome",
    help: "send no answers to those who wait for a task (its reply_to)",
  }),
  metrics: listenAddress({
    group: "watching",
    help: "serve /metrics, /livez and /readyz over HTTP; from this machine only without a HOST",
  }),
  "exit-when-empty": toggle({ group: "lifecycle", help: "end when the queues are empty" }),
  "idle-timeout": duration({
    group: "lifecycle",
    min: 1,
    help: "end after so long without a task",
  }),
  "max-tasks": integer({
    group: "lifecycle",
    min: 1,
    max: 2 ** 31,
    help: "end after so many tasks",
  }),
  "max-runtime": duration({ group: "lifecycle", min: 1, help: "end after so long" }),
  "limit-exit-code": integer({
    group: "lifecycle",
    min: 0,
    max: 255,
    default: 0,
    help: "exit status when one of these four has ended it",
    needs: ["exit-when-empty", "idle-timeout", "max-tasks", "max-runtime", "max-memory"],
  }),
  "connect-timeout": duration({
    group: "lifecycle",
    min: 1,
    help:
      "end with 75 after so long without the broker, and what runs then (default 30s when one of " +
      "these four is given, else for ever)",
  }),
  "host-memory": HOST_MEMORY,
  "max-memory": size({
    group: "lifecycle",
    min: 2 ** 20,
    help:
      "end when the worker takes more than this, such as 300M, and what runs then is finished; " +
      "with 75, for a supervisor to start it again, or --limit-exit-code",
  }),
  grace: duration({
    group: "lifecycle",
    default: "25s",
    help: "time to finish running tasks after the first SIGINT or SIGTERM",
  }),
  ...TOOL_FLAGS,
};

export type WorkerValues = Values<typeof WORKER_FLAGS>;

/** The queues with the concurrency shared out by weight, at least 1 each. @throws {UsageError} */
export function readWorkerQueues(values: WorkerValues): WorkerQueue[] {
  const queues = values.queue;
  if (values.strict) {
    if (queues.some(({ weight }) => weight !== 1)) {
      throw new UsageError(
        "with --strict the queues have no parts of the concurrency, and one has",
      );
    }
    return queues.map(({ name }) => ({
      policy: readQueuePolicy({ ...values, queue: name }),
      prefetch: 1,
    }));
  }
  if (values.concurrency < queues.length) {
    throw new UsageError(
      `--concurrency must be at least the number of queues, ${queues.length}, and is ${values.concurrency}`,
    );
  }
  const total = queues.reduce((sum, { weight }) => sum + weight, 0);
  const spare = values.concurrency - queues.length;
  let left = spare;
  const prefetches = queues.map(({ weight }) => {
    const share = Math.floor(spare * weight / total);
    left -= share;
    return 1 + share;
  });
  // What rounding left over goes to the queues named first.
  for (let i = 0; left > 0; i++, left--) prefetches[i % prefetches.length]!++;
  return queues.map(({ name }, i) => ({
    policy: readQueuePolicy({ ...values, queue: name }),
    prefetch: prefetches[i]!,
  }));
}

export function readRetryPolicy(values: WorkerValues): RetryPolicy {
  return {
    maxAttempts: values["max-attempts"],
    backoffMs: values.backoff,
    jitter: DEFAULT_POLICY.jitter,
    maxCrashes: values["max-crashes"],
  };
}
