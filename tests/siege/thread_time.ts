/** What a process's main thread has done, and what it has waited for: Linux counts that itself. */

export interface ThreadTime {
  /** Milliseconds that it was computing. */
  computed: number;
  /** Milliseconds that it could have computed and did not get a processor. */
  starved: number;
}

/** Zeros where that cannot be measured, or the process is gone. */
export function threadTime(pid: number): ThreadTime {
  try {
    const text = Deno.readTextFileSync(`/proc/${pid}/task/${pid}/schedstat`);
    const [computed, starved] = text.split(" ").map((nanoseconds) => Number(nanoseconds) / 1e6);
    return { computed: computed!, starved: starved! };
  } catch {
    return { computed: 0, starved: 0 };
  }
}
