/** Numbers, sizes and times as people read them. */

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });

export function count(value: number): string {
  return whole.format(value);
}

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

/** Milliseconds, in the two largest units that matter. */
export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))} ms`;
  const seconds = Math.round(ms / 1_000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return pair(minutes, "min", seconds % 60, "s");
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return pair(hours, "h", minutes % 60, "min");
  return pair(Math.floor(hours / 24), "d", hours % 24, "h");
}

function pair(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`;
}

/** How long something has waited; less than a second is none of interest. */
export function age(ms: number): string {
  return ms < 1_000 ? "< 1 s" : duration(ms);
}

/** A time as the broker writes it, as this machine's clock would show it. */
export function moment(text: string): string {
  const at = new Date(text);
  return Number.isNaN(at.getTime()) ? text : at.toLocaleString("en-GB");
}

export function milliseconds(ms: number): string {
  return ms < 10 ? `${tenths.format(ms)} ms` : `${whole.format(ms)} ms`;
}

export function clock(at: Date): string {
  return at.toLocaleTimeString("en-GB");
}
