/** Running contestants in turn, and what their numbers amount to. */

/** Where the tables go: everything the bench says. */
export type Say = (line: string) => void;

/** Something that is measured once per round. */
export interface Contestant<T> {
  readonly name: string;
  run(): Promise<T>;
}

/**
 * Runs all contestants in turn, `rounds` times, so that a noisy minute hits all of them.
 *
 * @returns the measurements of each contestant, in the order of the contestants
 */
export async function interleave<T>(
  rounds: number,
  contestants: readonly Contestant<T>[],
): Promise<T[][]> {
  const results: T[][] = contestants.map(() => []);
  for (let round = 0; round < rounds; round++) {
    for (const [i, contestant] of contestants.entries()) results[i]!.push(await contestant.run());
  }
  return results;
}

/** The middle one, or the mean of the two in the middle. */
export function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return (sorted[Math.ceil(middle) - 1]! + sorted[Math.floor(middle)]!) / 2;
}

/** The one below which this part of the numbers is; 0.99: nearly the largest. NaN of none. */
export function percentile(numbers: readonly number[], part: number): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? NaN;
}

/** Columns as wide as their widest cell; the first one left, the others right. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row.map((cell, column) =>
      column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)
    ).join("  ")
  ).join("\n");
}

/** One line that says whether a number keeps what was asked of it. */
export function verdict(what: string, value: number, relation: "<=" | ">=", limit: number): string {
  const met = relation === "<=" ? value <= limit : value >= limit;
  return `${what}: ${round(value)}, asked for ${relation} ${limit}: ${met ? "met" : "MISSED"}`;
}

export function round(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/**
 * Runs a command to its end.
 *
 * @returns its stdout and the wall time in milliseconds, process start included
 * @throws Error when it fails
 */
export async function time(
  command: readonly string[],
  env: Record<string, string> = {},
): Promise<{ stdout: string; ms: number }> {
  const [program, ...args] = command as [string, ...string[]];
  const process = new Deno.Command(program, { args, env, stdin: "null" });
  const started = performance.now();
  const { success, stdout, stderr } = await process.output();
  const ms = performance.now() - started;
  if (success) return { stdout: new TextDecoder().decode(stdout), ms };
  throw new Error(`${command.join(" ")} failed: ${new TextDecoder().decode(stderr)}`);
}

/** Resident memory of a process now, in MB. Linux only. */
export async function residentMemory(pid: number): Promise<number> {
  const status = await Deno.readTextFile(`/proc/${pid}/status`);
  return Number(status.match(/^VmRSS:\s+(\d+)/m)![1]) / 1000;
}

/** Linux counts the time of processes in these. */
const TICKS_PER_SECOND = 100;

/** Milliseconds of CPU that a process has used. Linux only. */
export function cpuOf(pid: number): number {
  const fields = Deno.readTextFileSync(`/proc/${pid}/stat`).replace(/^.*\) /s, "").split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 1_000 / TICKS_PER_SECOND;
}

/** A process is at rest when it works for no more than a tenth of so many milliseconds. */
const SPAN_MS = 200;
/** Spans after which it is not waited for any longer. */
const MOST_SPANS = 50;

/** Resolves when a process has done what it had to do. Linux only. */
export async function atRest(pid: number): Promise<void> {
  for (let span = 0; span < MOST_SPANS; span++) {
    const before = cpuOf(pid);
    await new Promise((resolve) => setTimeout(resolve, SPAN_MS));
    if (cpuOf(pid) - before <= SPAN_MS / 10) return;
  }
}
