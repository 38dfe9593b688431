/** The options of tasks that are sent at times. */
import { UsageError } from "../errors.ts";
import { choice, text, type Values } from "./flags.ts";

export const SCHEDULE_FLAGS = {
  cron: text({
    group: "schedule",
    value: "EXPR",
    help: "send the task at the times of this cron line, and go on until ended",
  }),
  timezone: text({
    group: "schedule",
    value: "TZ",
    help: "whose time cron lines tell (default: this host's)",
  }),
  schedule: text({
    group: "schedule",
    value: "FILE",
    minBytes: 1,
    help:
      "the same for every line of a file: a record with cron, and timezone and second if need be",
  }),
  missed: choice({
    group: "schedule",
    choices: ["skip", "once"],
    default: "skip",
    help: "what is due while this does not run is not sent, or the last of each schedule is",
  }),
  state: text({
    group: "schedule",
    value: "FILE",
    minBytes: 1,
    help: "keeps which times were sent, for --missed",
  }),
};

/** For the help page. */
export const SCHEDULE_HELP: readonly [string, string] = [
  "Schedules",
  `  A cron line has minute, hour, day, month and weekday, or is a name such as @daily. With both a
  day and a weekday it is time on either (0 0 13 * 5: each 13th and each Friday). Where the clock
  goes forward, one time a day (30 2 * * *) that does not exist is the moment of the change; of
  several, those that do not exist are left out. Where it goes back, one time a day comes once,
  before the change; several times or all hours come twice. A host's time zone that has no name,
  such as TZ=CET-1CEST,M3.5.0,M10.5.0, is refused: --timezone names one.

  Every time has an id made of the schedule and itself, so that two new_tasks with the same
  schedules, for safety, send tasks of the same ids. Each is done once where the queue drops the
  second one: --queue-arg x-message-deduplication=true on our broker, when the queue is made
  (x-cache-size, 128, is how many ids it remembers). On other brokers a worker with --dedupe-file
  does each once on its host. A time counts as sent when the broker has confirmed it; until then it
  is sent again.

  SIGHUP reads the file again, and keeps the old one when the new is none. The first Ctrl-C or
  SIGTERM waits for the confirms and ends with 0.`,
];

/** What is sent at times. */
export interface ScheduleInput {
  /** Undefined: there is a file. */
  readonly cron: string | undefined;
  readonly path: string | undefined;
  readonly timezone: string | undefined;
  readonly sendMissed: boolean;
  readonly state: string | undefined;
}

/**
 * @param given names of the options on the command line
 * @param otherInput the task comes from a file or stdin, or there are many
 * @returns undefined: it is sent at once
 * @throws {UsageError}
 */
export function readScheduleInput(
  values: Values<typeof SCHEDULE_FLAGS>,
  given: ReadonlySet<string>,
  words: readonly string[],
  otherInput: boolean,
): ScheduleInput | undefined {
  const { cron, schedule: path, timezone, missed, state } = values;
  if (cron === undefined && path === undefined) {
    const [stray] = ["timezone", "missed", "state"].filter((name) => given.has(name));
    if (stray === undefined) return undefined;
    throw new UsageError(`--${stray} needs --cron or --schedule`);
  }
  if (cron !== undefined && path !== undefined) {
    throw new UsageError("one of --cron and --schedule can be had, and both were given");
  }
  if (otherInput) {
    throw new UsageError("a task of --cron or --schedule comes from words or records");
  }
  if (path !== undefined && words.length > 0) {
    throw new UsageError("with --schedule the tasks come from the file, and words were given");
  }
  for (const name of ["at", "id", "content-type"]) {
    const takes = name === "at" || path !== undefined;
    if (!takes || !given.has(name)) continue;
    throw new UsageError(`--${name} is for a task that is sent once, and a schedule was given`);
  }
  if (missed === "once" && state === undefined) {
    throw new UsageError("--missed once needs --state, and has none");
  }
  return { cron, path, timezone, sendMissed: missed === "once", state };
}
