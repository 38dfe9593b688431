/** What is known of queues, a row each, and how that is printed. */

export interface QueueRow {
  /** Safe to be shown. */
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
   * Queues that do not exist are left out, except those that somebody named.
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
  ["oldest", ({ oldestAt }) => oldestAt === undefined ? undefined : agoOf(oldestAt)],
];

/** The rows as aligned text, with a head. */
export function tableOf(rows: readonly QueueRow[]): string {
  const columns = [
    ["ready", ({ ready, state }: QueueRow) => ready?.toFixed() ?? state] as const,
    [
      "consumers",
      ({ consumers, state }: QueueRow) => state === "paused" ? state : consumers?.toFixed(),
    ] as const,
    ...(rows.some(({ unacked }) => unacked !== undefined) ? MORE : []),
  ];
  const cells = [
    ["queue", ...columns.map(([head]) => head)],
    ...rows.map((row) => [row.name, ...columns.map(([, cell]) => cell(row) ?? "-")]),
  ];
  const widths = cells[0]!.map((_, column) => Math.max(...cells.map((row) => row[column]!.length)));
  return cells.map(([name, ...numbers]) =>
    [name!.padEnd(widths[0]!), ...numbers.map((text, i) => text.padStart(widths[i + 1]!))]
      .join("  ") + "\n"
  ).join("");
}

/** How long ago something was, in its largest unit. */
function agoOf(at: number): string {
  const seconds = Math.max(0, (Date.now() - at) / 1_000);
  const [unit, size] = UNITS.find(([, size]) => seconds >= size) ?? ["s", 1];
  return `${Math.floor(seconds / size)}${unit}`;
}

const UNITS: readonly [string, number][] = [["d", 86_400], ["h", 3_600], ["m", 60]];
