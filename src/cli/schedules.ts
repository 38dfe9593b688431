/** `new_task --cron` and `--schedule`: sends tasks at their times until it is ended. */
import type { Connector } from "../amqp/connection.ts";
import { EXIT, InputError, isPassing, reason, ToolError, UsageError } from "../errors.ts";
import type { Defaults } from "../front/outgoing.ts";
import { readSchedule, type Schedule } from "../front/schedule.ts";
import { ScheduleRunner } from "../front/schedule_runner.ts";
import { Sender } from "../front/sender.ts";
import { readSlotFile, writeSlotFile } from "../front/slot_file.ts";
import { WallClock } from "../front/wall_clock.ts";
import { readHostTimezone, requireKnownTimezone } from "./host_timezone.ts";
import { isBlank, readLines } from "./lines.ts";
import type { Host } from "./main.ts";
import type { ScheduleInput } from "./schedule_flags.ts";
import { onSignals } from "./signals.ts";

export interface ScheduleOrder {
  readonly input: ScheduleInput;
  /** The task of --cron. */
  readonly words: readonly string[];
  /** Its id, if it has one. */
  readonly id: string | undefined;
  readonly defaults: Defaults;
  /** How long a task may take to its confirm before it is sent again, in milliseconds. */
  readonly timeoutMs: number;
  readonly quiet: boolean;
}

const MAX_LINE_BYTES = 16 * 1024 * 1024;
const MOST_SCHEDULES = 10_000;
/** On their way at a time, of all schedules. */
const MOST = { tasks: 10_000, bytes: 64 * 1024 * 1024 };

/**
 * Sends until a signal ends it.
 *
 * @throws {ToolError} the options, the file or the state cannot be used; the broker refuses the
 *   login; or not all was confirmed at the end
 */
export async function runSchedules(
  host: Host,
  connector: Connector,
  order: ScheduleOrder,
): Promise<number> {
  const { input, defaults, timeoutMs, quiet } = order;
  const schedules = await readAll(host, order);
  const positions = input.state === undefined ? undefined : await readSlotFile(input.state);
  const sender = new Sender({ connector, timeoutMs, most: MOST });
  let printing: Promise<void> | undefined;
  const keeper = input.state === undefined ? undefined : new Keeper(host, input.state);
  const runner = new ScheduleRunner({
    sender,
    defaults,
    log: host.log,
    sendMissed: input.sendMissed,
    onSent: (id) => {
      if (quiet || printing !== undefined) return; // nobody reads what there is already
      printing = host.print(` [x] Sent ${id}\n`)?.finally(() => printing = undefined);
    },
    onProgress: () => keeper?.keep(runner.positions),
  });
  const ended = Promise.withResolvers<void>();
  // One after the other: what was read last is what holds.
  let reading = Promise.resolve();
  const signals = onSignals({
    end: () => ended.resolve(),
    ...(input.path === undefined ? {} : { reload: () => void (reading = reading.then(reload)) }),
  });
  try {
    // Before anything is sent, so that nothing is sent that cannot be written down.
    await keeper?.write(new Map([...positions ?? []]));
    await prepare(host, sender, schedules, defaults);
    if (!quiet) {
      const many = schedules.length === 1 ? "schedule" : "schedules";
      host.print(` [*] Sending by ${schedules.length} ${many}. To exit press CTRL+C\n`);
      host.print(` [*] ${describeNext(schedules, Date.now())}\n`);
    }
    runner.use(schedules, positions);
    await ended.promise;
    await runner.end();
  } finally {
    signals.dispose();
    await keeper?.kept();
  }
  await sender.close();
  return EXIT.ok;

  async function reload(): Promise<void> {
    try {
      const next = await readAll(host, order);
      runner.use(next);
      host.log.info(`read the schedule file again`, { schedules: next.length });
    } catch (error) {
      host.log.error(`the schedules stay as they were: ${reason(error)}`);
    }
  }
}

/** When the first one comes, as the clocks of its zone show it. */
function describeNext(schedules: readonly Schedule[], now: number): string {
  const [first] = schedules.map(({ slots, timezone }) => ({ at: slots.next(now)!, timezone }))
    .sort((one, other) => one.at - other.at);
  const { at, timezone } = first!;
  const shown = new Date(new WallClock(timezone).at(at)).toISOString().slice(0, 19);
  const whose = timezone ?? "this host's time";
  return `Next at ${shown.replace("T", " ")} (${whose}), ${new Date(at).toISOString()}`;
}

/** A broker that is away is waited for; one that refuses is not. */
async function prepare(
  host: Host,
  sender: Sender,
  schedules: readonly Schedule[],
  defaults: Defaults,
): Promise<void> {
  const names = new Set(schedules.map(({ record }) => record.queue ?? defaults.queue.name));
  for (const name of names) {
    try {
      await sender.prepare({ ...defaults.queue, name });
    } catch (error) {
      if (!isPassing(error)) throw error;
      host.log.warn(error.message);
      return;
    }
  }
}

/** @throws {ToolError} */
async function readAll(host: Host, order: ScheduleOrder): Promise<Schedule[]> {
  const now = Date.now();
  const schedules = await readSource(order, now);
  if (schedules.some(({ timezone }) => timezone === undefined)) {
    requireKnownTimezone(await readHostTimezone(host.env), now);
  }
  return schedules;
}

/** @throws {ToolError} */
async function readSource(
  { input, words, id, defaults }: ScheduleOrder,
  now: number,
): Promise<Schedule[]> {
  if (input.path === undefined) {
    const record = { body: words.join(" ") || "hello", cron: input.cron, ...(id && { id }) };
    try {
      return [await readSchedule(record, defaults, now, input.timezone)];
    } catch (error) {
      throw error instanceof ToolError ? new UsageError(`--${error.message}`) : error;
    }
  }
  const what = `the schedule file ${JSON.stringify(input.path)}`;
  const bad = (sentence: string) => new InputError(`${what}${sentence}`, EXIT.badData);
  const schedules = new Map<string, Schedule>();
  for await (const { number, bytes } of readLines(input.path, { limit: MAX_LINE_BYTES })) {
    if (isBlank(bytes)) continue;
    let schedule: Schedule;
    try {
      schedule = await readSchedule(bytes, defaults, now, input.timezone);
    } catch (error) {
      throw error instanceof ToolError ? bad(`, line ${number}: ${error.message}`) : error;
    }
    if (schedules.has(schedule.key)) {
      throw bad(
        `, line ${number}: a schedule must be there once, or have another id, and is there twice`,
      );
    }
    schedules.set(schedule.key, schedule);
    if (schedules.size > MOST_SCHEDULES) {
      throw bad(` must have at most ${MOST_SCHEDULES} schedules`);
    }
  }
  if (schedules.size === 0) throw bad(" must have a schedule, and has none");
  return [...schedules.values()];
}

/** Keeps the state file as new as the disk allows. */
class Keeper {
  readonly #host: Host;
  readonly #path: string;
  #next: Map<string, number> | undefined;
  #writing: Promise<void> | undefined;

  constructor(host: Host, path: string) {
    this.#host = host;
    this.#path = path;
  }

  keep(positions: Map<string, number>): void {
    this.#next = positions;
    this.#writing ??= this.#writeAll();
  }

  write(positions: Map<string, number>): Promise<void> {
    return writeSlotFile(this.#path, positions);
  }

  async kept(): Promise<void> {
    await this.#writing;
  }

  async #writeAll(): Promise<void> {
    while (this.#next !== undefined) {
      const positions = this.#next;
      this.#next = undefined;
      try {
        await this.write(positions);
      } catch (error) {
        this.#host.log.error(reason(error));
      }
    }
    this.#writing = undefined;
  }
}
