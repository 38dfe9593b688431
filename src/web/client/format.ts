/** Numbers, sizes and times as people read them. */
import { formatDuration as duration } from "../../task/duration.ts";

export { duration };

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });

export function count(value: number): string {
  return whole.format(value);
}

/** How names are sorted: "queue 2" before "queue 10". */
export const inOrder = new Intl.Collator("en", { numeric: true }).compare;

/** "1 task", "3 tasks". */
export function plural(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** A number a second. */
export function rate(value: number): string {
  return value === 0 ? "0" : value < 10 ? tenths.format(value) : whole.format(value);
}

const UNITS = ["B", "KB", "MB", "GB", "TB"];

export function bytes(value: number): string {
  let unit = 0;
  while (value >= 1_000 && unit < UNITS.length - 1) {
    value /= 1_000;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? whole.format(value) : tenths.format(value)} ${
    UNITS[unit]
  }`;
}

/** How long something has waited; less than a second is none of interest. */
export function age(ms: number): string {
  return ms < 1_000 ? "< 1 s" : duration(Math.floor(ms / 1_000) * 1_000);
}

/** A time as the broker writes it, as this machine's clock would show it. */
export function moment(time: string | number): string {
  const at = new Date(time);
  return Number.isNaN(at.getTime()) ? String(time) : at.toLocaleString("en-GB");
}

export function milliseconds(ms: number): string {
  return ms < 10 ? `${tenths.format(ms)} ms` : `${whole.format(ms)} ms`;
}

export function clock(at: Date): string {
  return at.toLocaleTimeString("en-GB");
}
