/**
 * Sizes as people write them: "300M", or "300MiB", is 300 times 1024 squared, and a bare number is
 * bytes.
 */

const UNITS = ["", "K", "M", "G", "T"];

/** The size in whole bytes, or undefined when the text is none. */
export function parseSize(text: string): number | undefined {
  const [, number, unit = ""] = /^(\d{1,16}(?:\.\d{1,3})?)(?:([KMGT])(?:iB)?)?$/i.exec(text) ?? [];
  if (number === undefined) return undefined;
  const bytes = Math.floor(Number(number) * 1_024 ** UNITS.indexOf(unit.toUpperCase()));
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** The same as text, which {@link parseSize} takes: with the largest unit that loses nothing. */
export function formatSize(bytes: number): string {
  let power = 0;
  while (bytes > 0 && bytes % 1_024 === 0 && power < UNITS.length - 1) {
    bytes /= 1_024;
    power++;
  }
  return bytes + UNITS[power]!;
}
