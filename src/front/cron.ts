/** What a slot of a schedule is; croner decides, daylight saving included. */
import { Cron } from "croner";
import { RecordError, shown } from "../task/record_error.ts";
import { WallClock } from "./wall_clock.ts";

/** Times to come are looked for in the next years. */
const LATEST_YEARS = 10;

/** When a schedule has its slots. */
export interface CronLine {
  /** Five fields, or a name such as "@daily". */
  readonly cron: string;
  /** A field for the seconds; default "0". */
  readonly second?: string | undefined;
  /** IANA's name; default this host's. */
  readonly timezone?: string | undefined;
}

/** Times in milliseconds since 1970. */
export interface Slots {
  /** The first one after a time; undefined: there is none any more. */
  next(after: number): number | undefined;
  /** The last one after `after` and not after `until`. */
  last(after: number, until: number): number | undefined;
}

/** @throws {RecordError} */
export function readSlots({ cron, second = "0", timezone }: CronLine, now: number): Slots {
  const fields = cron.trim().split(/\s+/);
  const isName = fields.length === 1 && fields[0]!.startsWith("@");
  if (!isName && fields.length !== 5) {
    throw new RecordError(
      "cron",
      "have five fields (minute, hour, day, month, weekday) or be a name such as @daily",
      `is ${shown(cron)}`,
    );
  }
  if (second.trim().split(/\s+/).length !== 1 || isName && second !== "0") {
    throw new RecordError("second", "be one field of a cron line of five", `is ${shown(second)}`);
  }
  if (timezone !== undefined) checkTimezone(timezone);
  if (!isName) {
    parse("second", "be a field of seconds", second, `${second.trim()} * * * * *`);
  }
  const pattern = isName ? cron.trim() : [second.trim(), ...fields].join(" ");
  const parsed = parse("cron", "be a cron line", cron, pattern, timezone);
  const isOnceADay = [second, ...fields.slice(0, 2)].every((field) => /^\s*\d+\s*$/.test(field));
  const leaps = isOnceADay
    ? new Leaps(parse("cron", "", cron, pattern, "UTC"), timezone)
    : undefined;
  const next = (after: number) => {
    const found = parsed.nextRun(new Date(after))?.getTime();
    return leaps?.between(after, found) ?? found;
  };
  const first = next(now);
  if (first === undefined || first - now > LATEST_YEARS * 366 * 86_400_000) {
    throw new RecordError("cron", "come within ten years", `is ${shown(cron)}, which does not`);
  }
  return {
    next,
    last: (after, until) => {
      // Going forward is what decides; going back only tells from where.
      const back = parsed.previousRuns(3, new Date(until + 1)).at(-1)?.getTime();
      let found: number | undefined;
      for (let at = Math.max(after, back ?? after);;) {
        const slot = next(at);
        if (slot === undefined || slot > until) return found;
        found = at = slot;
      }
    },
  };
}

/**
 * The slots of a line for one time a day that are a leap of the clocks from one day to the next, as
 * in Nuuk, where 23:00 is 00:00 once a year. Those within a day croner finds.
 */
class Leaps {
  readonly #line: Cron;
  readonly #clock: WallClock;

  /** @param line as it is in UTC, where no time is left out */
  constructor(line: Cron, timezone: string | undefined) {
    this.#line = line;
    this.#clock = new WallClock(timezone);
  }

  /** The first one after a time and before another one, which is the next that croner knows. */
  between(after: number, next: number | undefined): number | undefined {
    if (next === undefined) return undefined;
    const end = this.#clock.at(next);
    let shown = this.#line.nextRun(new Date(this.#clock.at(after)))?.getTime();
    while (shown !== undefined && shown < end) {
      const leap = this.#clock.leapOver(shown);
      if (leap !== undefined && leap > after && leap < next) return leap;
      shown = this.#line.nextRun(new Date(shown))?.getTime();
    }
    return undefined;
  }
}

/** @throws {RecordError} of that field, which holds `given` */
function parse(
  field: string,
  requirement: string,
  given: string,
  pattern: string,
  timezone?: string,
): Cron {
  try {
    return new Cron(pattern, { paused: true, ...(timezone === undefined ? {} : { timezone }) });
  } catch (error) {
    const why = (error as Error).message.replace(/^CronPattern: /, "")
      // croner counts days and months from 0.
      .replace(/^(Invalid value for (?:day|month): )(-?\d+)$/, (_, of, n) => of + (Number(n) + 1));
    throw new RecordError(field, requirement, `is ${shown(given)}: ${why}`);
  }
}

/** @throws {RecordError} */
function checkTimezone(timezone: string): void {
  try {
    new Intl.DateTimeFormat("en", { timeZone: timezone });
  } catch {
    const requirement = "be the name of a time zone such as Europe/Berlin";
    throw new RecordError("timezone", requirement, `is ${shown(timezone)}`);
  }
}
