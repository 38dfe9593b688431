/** Which second runs of a task are explained by something that was killed or cut. */

/** One run of a task, as its handler wrote it down. Times are in milliseconds since 1970. */
export interface Run {
  readonly task: number;
  /** The process that ran it. */
  readonly worker: string;
  readonly began: number;
  /** Infinity when it never ended. */
  readonly ended: number;
  readonly end: "done" | "failed" | "none";
}

/** Something that was destroyed. */
export interface Damage {
  readonly at: number;
  /** The process that was killed; absent: the broker, or all connections. */
  readonly worker?: string;
}

/** From the end of a run until the broker has read and stored its acknowledgement: a slow disk. */
const ACK_MS = 5_000;
/** A failed run is acknowledged when its copy is confirmed, which is tried for a while. */
const COPY_MS = 20_000;

/**
 * Tasks that were done more often than the damage explains. A run may be repeated when damage to
 * its process, its connection or its broker came before its acknowledgement.
 */
export function unexplained(runs: readonly Run[], damages: readonly Damage[]): number[] {
  const byTask = Map.groupBy(runs, ({ task }) => task);
  return [...byTask].filter(([, runs]) => {
    const done = runs.filter(({ end }) => end === "done").length;
    const struck = runs.filter((run) => damages.some((damage) => strikes(damage, run))).length;
    return done > 1 + struck;
  }).map(([task]) => task);
}

function strikes({ at, worker }: Damage, { began, ended, end, worker: runner }: Run): boolean {
  const settled = ended + (end === "failed" ? COPY_MS : ACK_MS);
  return (worker === undefined || worker === runner) && at >= began && at <= settled;
}

/**
 * Reads the lines `TASK begin|done|failed WORKER TIME`, in the order of their time. A line that
 * was cut by a kill is left out.
 */
export function parseRuns(text: string): Run[] {
  const runs: Run[] = [];
  const open = new Map<string, number>();
  for (const [, task, what, worker, at] of text.matchAll(/^(\d+) (\w+) (\S+) (\d+)$/gm)) {
    const key = `${task} ${worker}`;
    if (what === "begin") {
      open.set(key, runs.length);
      runs.push({
        ...{ task: Number(task), worker: worker!, began: Number(at) },
        ...{ ended: Infinity, end: "none" },
      });
    } else {
      const index = open.get(key)!;
      runs[index] = { ...runs[index]!, ended: Number(at), end: what as "done" | "failed" };
    }
  }
  return runs;
}
