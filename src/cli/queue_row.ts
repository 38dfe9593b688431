/** What is known of queues, a row each, and how that is printed. */
import { escapeControls, jsonLine } from "../observe/log.ts";
import { formatDurationShort } from "../task/duration.ts";
import { inColumns } from "./columns.ts";
import { shortened } from "./text_width.ts";

export interface QueueRow {
  /** As the broker has it: not safe to be shown. */
  readonly name: string;
  /** Absent where the broker does not say. */
  readonly ready?: number;
  readonly consumers?: number;
  /** AMQP does not tell these, the API of a page does; messages a second, milliseconds since 1970. */
  readonly unacked?: number;
  readonly in?: number;
  readonly out?: number;
  readonly oldestAt?: number;
  /** Why there is less to say. */
  readonly state?: "paused" | "missing" | "unavailable";
}

/** Something that shows queues. */
export interface QueueView {
  /**
   * Queues that do not exist are left out, except those that somebody named, and the default one
   * where it stands for all.
   *
   * @throws {ToolError} there is nobody to ask
   */
  rows(): Promise<QueueRow[]>;
  /** Of the first queue that could not be looked at. */
  readonly status: number;
  close(): Promise<void>;
}

/** What is shown when somebody tells it. */
const MORE: readonly [head: string, cell: (row: QueueRow) => string | undefined][] = [
  ["unacked", ({ unacked }) => unacked?.toFixed()],
  ["in/s", (row) => row.in?.toFixed(1)],
  ["out/s", ({ out }) => out?.toFixed(1)],
  [
    "oldest",
    ({ oldestAt }) =>
      oldestAt === undefined ? undefined : formatDurationShort(Date.now() - oldestAt),
  ],
];

/** So much of a name is shown on the narrowest terminal. */
const LEAST_NAME = 28;

/**
 * The rows as aligned text, with a head.
 *
 * @param width columns of the terminal, which long names are cut to fit; default: they are whole
 */
export function tableOf(rows: readonly QueueRow[], width = Infinity): string {
  const columns = [
    ["ready", ({ ready, state }: QueueRow) => ready?.toFixed() ?? state] as const,
    [
      "consumers",
      ({ consumers, state }: QueueRow) => state === "paused" ? state : consumers?.toFixed(),
    ] as const,
    ...(rows.some(({ unacked }) => unacked !== undefined) ? MORE : []),
  ];
  const numbers = [
    columns.map(([head]) => head),
    ...rows.map((row) => columns.map(([, cell]) => cell(row) ?? "-")),
  ];
  // Where the widest of each goes, behind two blanks.
  const taken = columns.reduce((sum, _, at) => {
    return sum + 2 + Math.max(...numbers.map((cells) => cells[at]!.length));
  }, 0);
  const room = Math.max(LEAST_NAME, width - taken);
  const names = rows.map(({ name }) => shortened(escapeControls(name), room));
  return inColumns(["queue", ...names].map((name, at) => [name, ...numbers[at]!]), 1);
}

/** The rows as JSON, an object a line; what is not known is not there. */
export function linesOf(rows: readonly QueueRow[]): string {
  return rows.map(({ name, ready, consumers, unacked, in: arriving, out, oldestAt, state }) =>
    jsonLine({
      queue: name,
      state,
      ready,
      consumers,
      unacked,
      in: rounded(arriving),
      out: rounded(out),
      oldest_at: oldestAt === undefined ? undefined : timeOf(oldestAt),
    })
  ).join("");
}

function rounded(rate: number | undefined): number | undefined {
  return rate === undefined ? undefined : Math.round(rate * 1_000) / 1_000;
}

/** @returns undefined: it is no time */
function timeOf(ms: number): string | undefined {
  const time = new Date(ms);
  return Number.isNaN(time.getTime()) ? undefined : time.toISOString();
}
