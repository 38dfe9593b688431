/**
 * Whether V8 knows this host's time zone, by which cron lines go that name none. It knows zones by
 * their names. Of a rule, which is what TZ may hold and what an /etc/localtime ends with that is no
 * link to a zone, it makes something alike: UTC, or a zone with other summers, without a word.
 */
import { UsageError } from "../errors.ts";
import { WallClock } from "../front/wall_clock.ts";

/** What a host says of its time zone. */
export interface HostTimezone {
  /** The variable TZ, without its colon. */
  readonly tz: string | undefined;
  /** What TZ names, or else /etc/localtime, in the end; undefined: it is not there. */
  readonly file: { readonly path: string; readonly bytes: Uint8Array } | undefined;
}

/** Minutes that local time is ahead of UTC at a moment, in milliseconds since 1970. */
type OffsetAt = (moment: number) => number;

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const LOCALTIME = "/etc/localtime";
/** Rules of TZ (POSIX): a name, how far it is behind UTC, and the same of the summer. */
const NAME = /(?:<[^<>]+>|[A-Za-z]{3,})/.source;
const TIME = /([+-]?)(\d{1,3})(?::(\d\d))?(?::\d\d)?/.source;
const RULE = new RegExp(`^${NAME}${TIME}(?:${NAME}(?:${TIME})?(?:,([^,]+),([^,]+))?)?$`);
const HAS_SUMMER = new RegExp(`^${NAME}${TIME}${NAME}`);
/** Month, week (5: the last one) and weekday, and the time of that day. */
const CHANGE = new RegExp(`^M(\\d{1,2})\\.([1-5])\\.([0-6])(?:/${TIME})?$`);

/** @param env reads a variable */
export async function readHostTimezone(
  env: (name: string) => string | undefined,
): Promise<HostTimezone> {
  const tz = env("TZ")?.replace(/^:/, "") || undefined;
  const path = tz ?? LOCALTIME;
  try {
    const file = path.startsWith("/")
      ? { path: await Deno.realPath(path), bytes: await Deno.readFile(path) }
      : undefined;
    return { tz, file };
  } catch {
    // It is not there, as on Windows: UTC, or something that this knows nothing of.
    return { tz, file: undefined };
  }
}

/**
 * @param now milliseconds since 1970; its year is looked at
 * @param offsetAt what V8 takes it for
 * @throws {UsageError} it is not known by a name, and V8 takes it for another one
 */
export function requireKnownTimezone(
  { tz, file }: HostTimezone,
  now: number,
  offsetAt: OffsetAt = (moment) => -new Date(moment).getTimezoneOffset(),
): void {
  const isOfFile = tz === undefined || tz.startsWith("/");
  const said = isOfFile ? file?.path.replace(/^.*\/zoneinfo\//, "") ?? "" : tz;
  if (isFollowedZone(said.replace(/^(?:posix|right)\//, ""), now, offsetAt)) return;
  const rule = isOfFile ? ruleOf(file) : tz;
  // There is no file, or an old one, of which nobody knows.
  if (rule === undefined || isFollowedRule(rule, now, offsetAt)) return;
  throw new UsageError(
    `cron lines without a time zone go by this host's, which must be one by its name, and is ${
      JSON.stringify(tz ?? rule)
    } (${tz === undefined ? LOCALTIME : "TZ"}): --timezone names one, such as Europe/Berlin`,
  );
}

/** Whether it is the name of a zone with these offsets. */
function isFollowedZone(name: string, now: number, offsetAt: OffsetAt): boolean {
  // "+03" is an offset, of which V8 makes nothing in TZ.
  if (!/^[A-Za-z]/.test(name)) return false;
  try {
    const clock = new WallClock(name);
    return middles(now).every((moment) =>
      clock.at(moment) - moment === offsetAt(moment) * MINUTE_MS
    );
  } catch {
    return false;
  }
}

/** Of winter and summer, wherever they are. */
function middles(now: number): number[] {
  const year = new Date(now).getUTCFullYear();
  return [0, 6].map((month) => Date.UTC(year, month, 15));
}

/** The rule that a file of a zone ends with, for the time after all that it lists. */
function ruleOf(file: HostTimezone["file"]): string | undefined {
  const text = new TextDecoder("latin1").decode(file?.bytes.slice(-200));
  return /\n([^\n]+)\n$/.exec(text)?.[1];
}

/** Whether offsets are those of a rule, in the year of a moment. */
function isFollowedRule(rule: string, now: number, offsetAt: OffsetAt): boolean {
  const parts = RULE.exec(rule);
  if (parts === null) return false;
  const standard = -minutesOf(parts.slice(1, 4))!;
  if (!HAS_SUMMER.test(rule)) {
    return middles(now).every((moment) => offsetAt(moment) === standard);
  }
  const summer = -(minutesOf(parts.slice(4, 7)) ?? -standard - 60);
  const year = new Date(now).getUTCFullYear();
  const [begin = "M3.2.0", end = "M11.1.0"] = parts.slice(7, 9);
  return isChange(begin, year, standard, summer, offsetAt) &&
    isChange(end, year, summer, standard, offsetAt);
}

/** Whether the clocks change there. */
function isChange(
  text: string,
  year: number,
  before: number,
  after: number,
  offsetAt: OffsetAt,
): boolean {
  const parts = CHANGE.exec(text);
  if (parts === null) return false;
  const [month, week, weekday] = parts.slice(1, 4).map(Number) as [number, number, number];
  const first = Date.UTC(year, month - 1, 1);
  let day = first + (weekday - new Date(first).getUTCDay() + 7) % 7 * DAY_MS +
    (week - 1) * 7 * DAY_MS;
  if (new Date(day).getUTCMonth() !== month - 1) day -= 7 * DAY_MS;
  const minutes = minutesOf(parts.slice(4, 7)) ?? 120;
  const moment = day + (minutes - before) * MINUTE_MS;
  return offsetAt(moment - MINUTE_MS) === before && offsetAt(moment) === after;
}

/** @param parts sign, hours and minutes */
function minutesOf([sign, hours, minutes]: readonly (string | undefined)[]): number | undefined {
  if (hours === undefined) return undefined;
  const sum = Number(hours) * 60 + Number(minutes ?? 0);
  return sign === "-" ? -sum : sum;
}
