/** What a run of the report knows: its sizes, its time, and how a measurement may end. */
import { median } from "../measure.ts";

/** A number, or why there is none. */
export type Cell = { readonly value: number } | { readonly missing: string };

/** How large the loads are. */
export interface Sizes {
  /** Rounds of everything that is measured in turn. */
  readonly rounds: number;
  /** Rounds of programs that send one task. */
  readonly oneShots: number;
  /** Tasks of a bulk load, and of what syncs or confirms one by one. */
  readonly bulk: number;
  readonly slowBulk: number;
  /** Runs of a command. */
  readonly commands: number;
  /** Tasks whose wait is measured. */
  readonly samples: number;
  readonly backlogs: readonly number[];
  readonly bodies: readonly number[];
  readonly workers: readonly number[];
  readonly connections: readonly number[];
  readonly queues: readonly number[];
  /** Bytes of bodies that a point of the curve of bodies publishes at most, but five bodies. */
  readonly bodyBytes: number;
  /** What one point of a curve may take, in milliseconds. */
  readonly pointMs: number;
  /** What the whole run may take; after it points are left out. */
  readonly wholeMs: number;
}

const MINUTE_MS = 60_000;
const CURVES = {
  bodies: [10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000],
  workers: [1, 2, 4, 8, 16, 32, 64],
  connections: [1, 10, 100, 1_000],
  queues: [1, 10, 100, 1_000, 10_000],
};

export const SIZES = {
  full: {
    ...CURVES,
    rounds: 5,
    oneShots: 21,
    bulk: 80_000,
    slowBulk: 12_000,
    commands: 1_000,
    samples: 1_000,
    backlogs: [1_000, 10_000, 100_000, 1_000_000, 10_000_000],
    bodyBytes: 100_000_000,
    pointMs: 3 * MINUTE_MS,
    wholeMs: 40 * MINUTE_MS,
  },
  short: {
    ...CURVES,
    rounds: 3,
    oneShots: 9,
    bulk: 40_000,
    slowBulk: 6_000,
    commands: 400,
    samples: 400,
    backlogs: [1_000, 10_000, 100_000, 1_000_000],
    workers: [1, 4, 16, 64],
    bodyBytes: 40_000_000,
    pointMs: 20_000,
    wholeMs: 10.75 * MINUTE_MS,
  },
  tiny: {
    rounds: 1,
    oneShots: 1,
    bulk: 2_000,
    slowBulk: 500,
    commands: 20,
    samples: 30,
    backlogs: [1_000, 10_000],
    bodies: [10, 1_000, 100_000],
    workers: [1, 4],
    connections: [1, 10],
    queues: [1, 10],
    bodyBytes: 1_000_000,
    pointMs: 20_000,
    wholeMs: 15 * MINUTE_MS,
  },
} as const satisfies Record<string, Sizes>;

/** Milliseconds that a measurement must have left to be begun. */
const LEAST_MS = 1_000;

export class Lab {
  readonly #began = performance.now();

  constructor(
    readonly sizes: Sizes,
    /** For scratch files and data of brokers. */
    readonly folder: string,
    readonly log: (line: string) => void,
  ) {}

  /** Milliseconds since the start. */
  get elapsed(): number {
    return performance.now() - this.#began;
  }

  /**
   * One measurement within the time that is left. Whatever goes wrong is the cell's reason.
   *
   * @param act gets a signal that ends its processes when the time is over
   */
  async measure(
    what: string,
    act: (signal: AbortSignal) => Promise<number>,
    ms = this.sizes.pointMs,
  ): Promise<Cell> {
    const left = Math.min(ms, this.sizes.wholeMs - this.elapsed);
    if (left < LEAST_MS) return { missing: "no time left" };
    const over = new AbortController();
    const timer = setTimeout(() => over.abort(), left);
    try {
      const value = await act(over.signal);
      if (!Number.isFinite(value)) return { missing: "failed: no number" };
      this.log(`${what}: ${value.toPrecision(4)}`);
      return { value };
    } catch (error) {
      const reason = over.signal.aborted ? `over ${Math.round(left / 1000)} s` : reasonOf(error);
      this.log(`${what}: ${reason}`);
      return { missing: reason };
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Measures all contestants in turn, so that a noisy minute hits all of them.
   *
   * @returns the median of each; its reason when one round failed
   */
  async inTurn(
    what: string,
    rounds: number,
    contestants: readonly { name: string; run(signal: AbortSignal): Promise<number> }[],
  ): Promise<Cell[]> {
    const cells: Cell[][] = contestants.map(() => []);
    for (let round = 0; round < rounds; round++) {
      for (const [i, { name, run }] of contestants.entries()) {
        if (cells[i]!.some((cell) => "missing" in cell)) continue;
        cells[i]!.push(await this.measure(`${what}, ${name}`, run));
      }
    }
    return cells.map(medianCell);
  }
}

/** The median of the numbers, or the reason when there is none. */
export function medianCell(cells: readonly Cell[]): Cell {
  const values = cells.flatMap((cell) => "value" in cell ? [cell.value] : []);
  if (values.length > 0) return { value: median(values) };
  return cells[0] ?? { missing: "not measured" };
}

/** One short line about an error. */
export function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const lines = text.trim().split("\n");
  // Of a stack the sentence, of other programs the last they said.
  const line = (lines.find((line) => /error:/i.test(line)) ?? lines.at(-1)!)
    .replace(/^.*error: (?=\S)/i, "").replaceAll(/[|`]/g, " ");
  return `failed: ${line.length > 60 ? line.slice(0, 60) + "..." : line}`;
}

/**
 * Runs a command to its end.
 *
 * @throws Error with the end of its stderr when it fails
 */
export async function output(
  command: readonly string[],
  signal: AbortSignal,
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  const [program, ...args] = command as [string, ...string[]];
  const { success, stdout, stderr } = await new Deno.Command(program, {
    args,
    env: { NO_COLOR: "1", ...env },
    signal,
    stdin: "null",
  }).output();
  if (success) return new TextDecoder().decode(stdout);
  const said = new TextDecoder().decode(stderr).trim();
  throw new Error(said === "" ? `${program.replace(/.*\//, "")} failed` : said);
}
