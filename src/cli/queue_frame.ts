/** How queues look on a terminal: depth now, how fast it changes, and how it was. */
import { roleOf } from "../task/topology.ts";
import type { QueueRow } from "./queue_row.ts";
import { cut, shortened, widthOf } from "./text_width.ts";

/** One look at a queue. */
export interface Look {
  /** In performance.now(). */
  readonly at: number;
  /** Absent where the broker did not say. */
  readonly ready: number | undefined;
}

export interface Frame {
  readonly rows: readonly QueueRow[];
  /** The last looks by name of the queue, oldest first. */
  readonly history: ReadonlyMap<string, readonly Look[]>;
  /** What goes wrong, if something does. */
  readonly trouble: string | undefined;
  /** Of the terminal. */
  readonly columns: number;
  readonly lines: number;
  readonly colors: boolean;
}

/** From empty to full. */
const BARS = ["\u2581", "\u2582", "\u2583", "\u2584", "\u2585", "\u2586", "\u2587", "\u2588"];
const LEAST_NAME = 12;
const LEAST_BARS = 8;
const MOST_BARS = 60;
/** Rates are of as many looks. */
const RATE_LOOKS = 5;

const COLORS = { head: 1, rising: 33, falling: 32, dead: 31, idle: 33, paused: 36, bars: 34 };
type Color = keyof typeof COLORS;

/**
 * The lines of a frame, each narrower than the terminal: what ends in the last column wraps on some.
 */
export function renderFrame(frame: Frame): string[] {
  const { columns, lines, rows, trouble } = frame;
  const paint = (color: Color | undefined, text: string) =>
    frame.colors && color !== undefined ? `\x1b[${COLORS[color]}m${text}\x1b[0m` : text;
  const width = Math.max(1, columns - 1);
  const cells = rows.some((row) => row.in !== undefined) ? RATE_CELLS : DEPTH_CELLS;
  const numbers = cells.reduce((sum, { columns }) => sum + columns + 1, 0);
  const longest = Math.max(LEAST_NAME, ...rows.map(({ name }) => widthOf(name)));
  const nameColumns = Math.max(
    1,
    Math.min(longest, Math.max(LEAST_NAME, width - numbers - 2 - LEAST_BARS)),
  );
  const left = width - nameColumns - numbers - 2;
  const bars = left < LEAST_BARS ? 0 : Math.min(MOST_BARS, left);
  const fit = (texts: readonly [Color | undefined, string][]) => {
    let room = width;
    return texts.map(([color, text]) => {
      const short = cut(text, room);
      room -= widthOf(short);
      return paint(color, short);
    }).join("").trimEnd();
  };
  const head = cells.map(({ head, columns }) => ` ${head.padStart(columns)}`).join("");
  const output = [fit([["head", `${pad("queue", nameColumns)}${head}`]])];
  const room = Math.max(1, lines - 2 - (trouble === undefined ? 0 : 1));
  const shown = rows.length <= room ? rows : rows.slice(0, room - 1);
  for (const row of shown) {
    const looks = frame.history.get(row.name) ?? [];
    output.push(fit([
      [row.state === "paused" ? "paused" : undefined, pad(row.name, nameColumns)],
      ...cells.map(({ columns, show }): [Color | undefined, string] => {
        const { text, color } = show(row, looks);
        return [color, ` ${text.padStart(columns)}`];
      }),
      ["bars", bars === 0 ? "" : `  ${sparkline(looks.map(({ ready }) => ready), bars)}`],
    ]));
  }
  if (shown.length < rows.length) output.push(cut(`${rows.length - shown.length} more`, width));
  if (trouble !== undefined) output.push(paint("dead", cut(trouble, width)));
  return output;
}

/** A column of numbers. */
interface Cell {
  readonly head: string;
  readonly columns: number;
  readonly show: (row: QueueRow, looks: readonly Look[]) => { text: string; color?: Color };
}

const READY: Cell = {
  head: "ready",
  columns: 10,
  show: ({ name, ready, state }) => ({
    text: ready === undefined ? state! : grouped(ready),
    ...(roleOf(name).kind === "dead" && ready ? { color: "dead" } : {}),
  }),
};

const CONSUMERS: Cell = {
  head: "consumers",
  columns: 10,
  show: ({ name, ready = 0, consumers, state }) => {
    if (state === "paused") return { text: state, color: "paused" };
    const isIdle = roleOf(name).kind === "work" && consumers === 0 && ready > 0;
    return {
      text: consumers === undefined ? "-" : grouped(consumers),
      ...(isIdle ? { color: "idle" } : {}),
    };
  },
};

const CHANGE: Cell = {
  head: "change/s",
  columns: 10,
  show: (_, looks) => {
    const rate = rateOf(looks);
    return {
      text: signed(rate),
      ...(rate ? { color: rate > 0 ? "rising" : "falling" } : {}),
    };
  },
};

function told(head: "unacked" | "in/s" | "out/s", of: "unacked" | "in" | "out"): Cell {
  return {
    head,
    columns: 8,
    show: (row) => ({ text: row[of] === undefined ? "-" : grouped(rounded(row[of])) }),
  };
}

/** Of what AMQP tells, and of what the API of a page does. */
const DEPTH_CELLS: readonly Cell[] = [READY, CHANGE, CONSUMERS];
const RATE_CELLS: readonly Cell[] = [
  READY,
  told("unacked", "unacked"),
  told("in/s", "in"),
  told("out/s", "out"),
  CONSUMERS,
];

/** The last values as bars, scaled to the largest; a gap where there is no value. */
export function sparkline(values: readonly (number | undefined)[], width: number): string {
  const last = values.slice(-width);
  const most = Math.max(1, ...last.map((value) => value ?? 0));
  return last.map((value) => {
    return value === undefined ? " " : BARS[Math.ceil(value / most * (BARS.length - 1))];
  }).join("");
}

/** By how much the depth changes a second; undefined before there are two looks. */
export function rateOf(looks: readonly Look[]): number | undefined {
  const known = looks.slice(-RATE_LOOKS).filter(({ ready }) => ready !== undefined);
  const [first, last] = [known[0], known.at(-1)];
  if (first === undefined || last === undefined || last.at <= first.at) return undefined;
  return (last.ready! - first.ready!) / (last.at - first.at) * 1_000;
}

function signed(rate: number | undefined): string {
  if (rate === undefined) return "";
  const shown = rounded(rate);
  return shown === 0 ? "0" : `${shown > 0 ? "+" : "-"}${grouped(Math.abs(shown))}`;
}

/** As much of a rate as anybody reads. */
function rounded(rate: number): number {
  return Math.abs(rate) >= 100 ? Math.round(rate) : Math.round(rate * 10) / 10;
}

function grouped(number: number): string {
  return number < 1e9
    ? number.toLocaleString("en-US", { maximumFractionDigits: 1 })
    : number.toExponential(2);
}

function pad(text: string, columns: number): string {
  const short = shortened(text, columns);
  return short + " ".repeat(columns - widthOf(short));
}
