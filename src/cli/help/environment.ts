/** The variables of the environment that tools look at. */
import type { HelpPage } from "./page.ts";

/** A variable, and what it does. */
export type Variable = readonly [name: string, meaning: string];

const TRACED = /^(?:new_task|worker|worker forward)$/;
const SERVICE = /^(?:broker|worker|worker forward)$/;

/** Of no option: the tools that look at them, and why. */
const OTHERS: readonly (readonly [name: string, meaning: string, tools?: RegExp])[] = [
  ["NO_COLOR", "when it is there and not empty: no bold text in the help"],
  ["OTEL_DENO", "true: send traces, see docs/watching.md", TRACED],
  ["OTEL_EXPORTER_OTLP_ENDPOINT", "where traces go; OTEL_* are Deno's", TRACED],
  ["OTEL_SERVICE_NAME", "what the tool is called in traces", TRACED],
  ["TRACEPARENT", "trace that the tasks are part of, as W3C writes it down", /^new_task$/],
  ["TRACESTATE", "what goes with it", /^new_task$/],
  ["TZ", "time zone of cron lines without --timezone, by its name: Europe/Berlin", /^new_task$/],
  ["PATH", "where commands are looked for; /usr/bin:/bin when it is empty", /^worker$/],
  ["TMPDIR", "folder for the files of running commands; /tmp when it is empty", /^worker$/],
  ["TEMP", "the same on Windows", /^worker$/],
  ["TMP", "the same when TEMP is empty", /^worker$/],
  ["NOTIFY_SOCKET", "where a service manager is told how it goes, as sd_notify(3) says", SERVICE],
  ["WATCHDOG_USEC", "for how long it may be silent, in microseconds", SERVICE],
  ["WATCHDOG_PID", "the process that WATCHDOG_USEC is for; any when it is empty", SERVICE],
];

/** Every variable that a tool or subcommand looks at. */
export function variablesOf({ name, flags }: HelpPage): Variable[] {
  const ofFlags = Object.entries(flags).flatMap(([option, { env, shown }]): Variable[] => {
    if (env === undefined) return [];
    const otherwise = shown === undefined ? "" : `; when that is empty, too: ${shown}`;
    return [[env, `stands in for --${option}${otherwise}`]];
  });
  const others = OTHERS.filter(([, , tools]) => tools === undefined || tools.test(name))
    .map(([variable, meaning]): Variable => [variable, meaning]);
  return [...ofFlags, ...others];
}

/** What a worker gives the commands that it runs. Empty where a task has no such property. */
export const COMMAND_VARIABLES: readonly Variable[] = [
  [
    "TASK_ID",
    "id of the task; the same over retries. One sent without gets one with its first retry",
  ],
  ["TASK_QUEUE", "queue that it came from"],
  ["TASK_EXCHANGE", "exchange that it was sent to at first"],
  ["TASK_ROUTING_KEY", "routing key that it was sent with at first"],
  ["TASK_ATTEMPT", "number of this attempt, from 1"],
  ["TASK_MAX_ATTEMPTS", "value of --max-attempts"],
  ["TASK_REDELIVERED", "1: it was delivered before, and may have been done; else 0"],
  ["TASK_CONTENT_TYPE", "content type"],
  ["TASK_TYPE", "type"],
  ["TASK_PRIORITY", "priority"],
  ["TASK_CORRELATION_ID", "correlation id"],
  ["TASK_REPLY_TO", "queue for the answer"],
  ["TASK_TIMESTAMP", "when it was sent, in seconds since 1970"],
  ["TASK_DEADLINE", "when --timeout ends the command, in seconds since 1970"],
  ["TASK_META_FILE", "file with all about the task as JSON, headers too"],
  ["TASK_SNOOZE_FILE", "file for the time after which to try again, with exit status 79"],
  ["TASK_PROGRESS_FILE", "file whose last line tells who waits how far the work is"],
  ["TRACEPARENT", "where the task is part of a trace: this attempt, or else the task, in it"],
  ["TRACESTATE", "what goes with it, where something does"],
  ["AMQP_URL", "with --pass-url: the broker, password included"],
];
