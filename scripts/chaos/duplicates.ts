/** Which second ends of a task are explained by something that was killed or cut. */

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
  readonly what: "worker" | "connections" | "broker";
  /** The process that was killed, when it was one. */
  readonly worker?: string;
  /** When it began. */
  readonly from: number;
  /** When it was done. */
  readonly to: number;
}

/** What is known of a chaos. */
export interface ChaosRecord {
  readonly runs: readonly Run[];
  /** How often each task came to the dead queue. */
  readonly deaths: ReadonlyMap<number, number>;
  readonly damages: readonly Damage[];
  /** Tasks that a worker has at the same time, which is its prefetch. */
  readonly concurrency: number;
}

/** From the end of a run until the broker has read its acknowledgement: a slow machine. */
const ACK_MS = 5_000;
/** From then until it has stored it. */
const STORE_MS = 1_000;
/** A failed run is acknowledged when its copy is confirmed, which is tried for a while. */
const COPY_MS = 20_000;

/**
 * Tasks that ended (done, or in the dead queue) more often than the damage explains. One more end
 * is explained by each run that ended and whose acknowledgement the damage may have struck; by one
 * that failed another one, because the copy whose confirm was struck as well is published again.
 */
export function unexplained(record: ChaosRecord): number[] {
  const struck = new Set(struckRuns(record));
  const byTask = Map.groupBy(record.runs, ({ task }) => task);
  return [...new Set([...byTask.keys(), ...record.deaths.keys()])].filter((task) => {
    const runs = byTask.get(task) ?? [];
    const done = runs.filter(({ end }) => end === "done").length;
    const allowed = runs.filter((run) => struck.has(run))
      .reduce((sum, { end }) => sum + (end === "failed" ? 2 : 1), 1);
    return done + (record.deaths.get(task) ?? 0) > allowed;
  });
}

/** Runs that ended, and whose acknowledgement may not have reached the broker's disk. */
export function struckRuns({ runs, damages, concurrency }: ChaosRecord): Run[] {
  const begins = new Map(
    [...Map.groupBy(runs, ({ worker }) => worker)]
      .map(([worker, runs]) => [worker, runs.map(({ began }) => began)]),
  );
  return runs.filter((run) =>
    run.end !== "none" && damages.some((damage) => {
      if (damage.worker !== undefined && damage.worker !== run.worker) return false;
      if (damage.to < run.began) return false;
      if (run.end === "failed") return damage.from <= run.ended + COPY_MS;
      if (damage.from > run.ended + ACK_MS) return false;
      return damage.what === "broker" && damage.from <= run.ended + STORE_MS ||
        // Whoever has room for so many more has been heard: acknowledgements keep their order.
        begunBetween(begins.get(run.worker)!, run.ended, damage.from) < concurrency;
    })
  );
}

function begunBetween(begins: readonly number[], after: number, until: number): number {
  return begins.filter((began) => began > after && began <= until).length;
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
        task: Number(task),
        worker: worker!,
        began: Number(at),
        ended: Infinity,
        end: "none",
      });
    } else {
      const index = open.get(key)!;
      runs[index] = { ...runs[index]!, ended: Number(at), end: what as "done" | "failed" };
    }
  }
  return runs;
}
