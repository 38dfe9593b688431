/** When an HTTP server wants to be asked again (RFC 9110 section 10.2.3). */
import { LONGEST_PAUSE_MS } from "../task/handler.ts";

/** Between the values of several headers; a date has a comma of its own, before its day. */
const COMMA = /,(?!\s*\d{2}[ -]\w{3}[ -])/;

/**
 * The pause that a `Retry-After` header asks for, in milliseconds, or undefined when it is none. Of
 * several, as an application and a proxy in front of it may send them, it is the longest: whoever
 * asks for less is not harmed by it.
 *
 * @param value of the header, or all of them with commas between
 * @param date the answer's `Date` header: a time of the server's is compared with its own clock
 * @param now milliseconds since 1970, where there is no such header
 */
export function parseRetryAfter(
  value: string | null,
  date: string | null,
  now: number,
): number | undefined {
  const from = date === null ? now : parseHttpDate(date.trim()) ?? now;
  const pauses = (value ?? "").split(COMMA)
    .map((text) => parsePause(text.trim(), from))
    .filter((pause) => pause !== undefined);
  return pauses.length === 0 ? undefined : Math.min(Math.max(...pauses), LONGEST_PAUSE_MS);
}

function parsePause(text: string, from: number): number | undefined {
  if (/^\d+$/.test(text)) return Number(text) * 1_000;
  const time = parseHttpDate(text);
  return time === undefined ? undefined : Math.max(time - from, 0);
}

/** The three forms that RFC 9110 section 5.6.7 has everybody read. */
const DATE_FORMS: readonly RegExp[] = [
  /^\w{3}, (?<day>\d{2}) (?<month>\w{3}) (?<year>\d{4}) (?<clock>\d{2}:\d{2}:\d{2}) GMT$/,
  /^\w{6,9}, (?<day>\d{2})-(?<month>\w{3})-(?<year>\d{2}) (?<clock>\d{2}:\d{2}:\d{2}) GMT$/,
  /^\w{3} (?<month>\w{3}) (?<day>[ \d]\d) (?<clock>\d{2}:\d{2}:\d{2}) (?<year>\d{4})$/,
];
const MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec";

function parseHttpDate(text: string): number | undefined {
  for (const form of DATE_FORMS) {
    const found = form.exec(text)?.groups as
      | Record<"day" | "month" | "year" | "clock", string>
      | undefined;
    if (found === undefined) continue;
    const month = MONTHS.indexOf(found.month) / 3 + 1;
    const year = found.year.length === 2 ? `20${found.year}` : found.year;
    const pad = (value: string | number) => String(value).trim().padStart(2, "0");
    const time = Date.parse(`${year}-${pad(month)}-${pad(found.day)}T${found.clock}Z`);
    return Number.isNaN(time) ? undefined : time;
  }
  return undefined;
}
