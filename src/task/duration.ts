/** Durations as people write them: "500ms", "5s", "25m", "1h", "7d"; a bare number is seconds. */

const UNIT_MS: Record<string, number> = {
  ms: 1,
  "": 1000,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** The duration in milliseconds (a whole number), or undefined when the text is none. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d{1,12}(?:\.\d{1,6})?)(ms|s|m|h|d)?$/.exec(text);
  if (match === null) return undefined;
  return Math.round(Number(match[1]) * UNIT_MS[match[2] ?? ""]!);
}

/** A duration for people: the largest unit that shows it in at most one decimal place. */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  for (const [unit, size] of [["d", 86_400_000], ["h", 3_600_000], ["m", 60_000]] as const) {
    if (ms >= size && (ms / size * 10) % 1 === 0) return `${ms / size} ${unit}`;
  }
  return `${Math.round(ms / 100) / 10} s`;
}
