/**
 * Durations and times as people write them: "500ms", "5s", "25m", "1 h 30 min", "7d", where a bare
 * number is seconds; and RFC 3339.
 */

const UNIT_MS: Record<string, number> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** Most digits of a number in front of its point. */
const MOST_DIGITS = 12;
const NUMBER = String.raw`\d{1,${MOST_DIGITS}}(?:\.\d{1,6})?`;
const PART = `${NUMBER} ?(?:ms|s|m|min|h|d)`;
const DURATION = new RegExp(`^(?:${NUMBER}|${PART}(?: ?${PART})*)$`);

/**
 * The duration in milliseconds (a whole number), or undefined when the text is none. What
 * {@link formatDuration} writes is one.
 */
export function parseDuration(text: string): number | undefined {
  const simple = parseSimple(text);
  if (simple !== undefined) return simple;
  if (!DURATION.test(text)) return undefined;
  let [ms, last] = [0, Infinity];
  for (const [, number, unit = "s"] of text.matchAll(/([\d.]+) ?([a-z]+)?/g)) {
    const unitMs = UNIT_MS[unit]!;
    if (unitMs >= last) return undefined; // each once, the largest first
    ms += Number(number) * unitMs;
    last = unitMs;
  }
  return Math.round(ms);
}

/**
 * Some digits and a unit, as most durations are: the expression for all of them takes 0.2 ms of a
 * process's start to compile.
 */
function parseSimple(text: string): number | undefined {
  let digits = 0;
  while (text[digits]! >= "0" && text[digits]! <= "9") digits++;
  const unit = text.slice(digits);
  if (digits < 1 || digits > MOST_DIGITS || !Object.hasOwn(UNIT_MS, unit)) return undefined;
  return Number(text.slice(0, digits)) * UNIT_MS[unit]!;
}

/** Longest wait of a task, in milliseconds. Ten years: a workday more or less is no matter then. */
export const LONGEST_DELAY_MS = 3_650 * 86_400_000;

/** What RabbitMQ takes: 32 bits. */
export const MAX_EXPIRATION_MS = 2 ** 32 - 1;

/**
 * A time to live in milliseconds, or undefined when the text is none or too long: "30s", "5m", where
 * a bare number is milliseconds, as in AMQP.
 */
export function parseExpiration(text: string): number | undefined {
  // A bare number is seconds in parseDuration, so it needs to be whole here.
  const ms = /[a-z]$/.test(text) ? parseDuration(text) : /^\d+$/.test(text) ? Number(text) : NaN;
  return ms !== undefined && ms <= MAX_EXPIRATION_MS ? ms : undefined;
}

const MINUTE_S = 60;
const HOUR_S = 3_600;
const DAY_S = 86_400;

/**
 * A duration for people: "350 ms", "1.5 s" below ten seconds, "42 s", and then the two largest
 * units: "20 min 8 s", "2 h 5 min", "1 d 2 h". What is below them is left out.
 */
export function formatDuration(ms: number): string {
  const whole = Math.max(0, Math.round(ms));
  if (whole < 1_000) return `${whole} ms`;
  if (whole < 9_950) return `${Math.round(whole / 100) / 10} s`;
  const seconds = Math.round(whole / 1_000);
  if (seconds < MINUTE_S) return `${seconds} s`;
  if (seconds < HOUR_S) return inTwo(seconds, MINUTE_S, "min", 1, "s");
  if (seconds < DAY_S) return inTwo(seconds, HOUR_S, "h", MINUTE_S, "min");
  return inTwo(seconds, DAY_S, "d", HOUR_S, "h");
}

function inTwo(
  seconds: number,
  large: number,
  largeUnit: string,
  small: number,
  smallUnit: string,
): string {
  const rest = Math.floor(seconds % large / small);
  const most = `${Math.floor(seconds / large)} ${largeUnit}`;
  return rest === 0 ? most : `${most} ${rest} ${smallUnit}`;
}

/** A duration in a column of a table, where a blank would end it: its largest unit alone, "3h". */
export function formatDurationShort(ms: number): string {
  return formatDuration(Math.floor(Math.max(0, ms) / 1_000) * 1_000)
    .replace(/^0 ms/, "0 s").replace(/^(\d+) (.).*/, "$1$2");
}

const TIME =
  /^(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)([Zz]|[+-]\d{2}:\d{2})$/;

/**
 * A point in time, in milliseconds since 1970, or undefined when the text is none: RFC 3339, where
 * seconds may be left out but not the zone.
 */
export function parseTime(text: string): number | undefined {
  const [, year, month, day, clock, zone] = TIME.exec(text) ?? [];
  // Date takes February 30 for March 2.
  const date = new Date(`${year}-${month}-${day}T00:00Z`);
  if (Number.isNaN(date.getTime()) || date.getUTCDate() !== Number(day)) return undefined;
  const time = Date.parse(`${year}-${month}-${day}T${clock}${zone!.toUpperCase()}`);
  return Number.isNaN(time) ? undefined : time;
}
