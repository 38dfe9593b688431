/** Durations as people write them: `25m`, `1.5s`, `1h30m`, `250ms`; a bare number is seconds. */

const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/**
 * The longest duration there is, in milliseconds (24.8 days): what a timer can hold, and what a
 * queue's `x-message-ttl` holds as a 32-bit integer.
 */
export const MAX_DURATION_MS = 2 ** 31 - 1;

/**
 * Reads a duration.
 *
 * @param text number and unit (`ms`, `s`, `m`, `h`, `d`), several in a row are added; without a
 *   unit seconds, as timeout(1) and sleep(1) have it
 * @returns whole milliseconds, 0 to {@linkcode MAX_DURATION_MS}
 * @throws {SyntaxError} when it is not a duration
 * @throws {RangeError} when it is longer than {@linkcode MAX_DURATION_MS}
 */
export function parseDuration(text: string): number {
  const trimmed = text.trim();
  let ms = 0;
  if (/^\d+(\.\d+)?$/.test(trimmed)) {
    ms = Number(trimmed) * 1_000;
  } else if (/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(trimmed)) {
    for (const [, amount, unit] of trimmed.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) {
      ms += Number(amount) * UNIT_MS[unit!]!;
    }
  } else {
    throw new SyntaxError(
      `Cannot read a duration: it is a number with a unit such as 250ms, 1.5s, 25m or 1h30m, but is "${text}"`,
    );
  }
  ms = Math.round(ms);
  if (ms > MAX_DURATION_MS) {
    throw new RangeError(
      `Cannot use a duration: it is at most ${formatDuration(MAX_DURATION_MS)}, but is "${text}"`,
    );
  }
  return ms;
}

/** The shortest exact way to write `ms` milliseconds so that {@linkcode parseDuration} reads it. */
export function formatDuration(ms: number): string {
  if (ms === 0) return "0s";
  let rest = ms;
  let text = "";
  for (const unit of ["d", "h", "m", "s", "ms"] as const) {
    const amount = Math.floor(rest / UNIT_MS[unit]!);
    if (amount > 0) text += `${amount}${unit}`;
    rest -= amount * UNIT_MS[unit]!;
  }
  return text;
}
