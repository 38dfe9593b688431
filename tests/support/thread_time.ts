/**
 * What a thread has done, and what it has waited for: Linux counts that itself. What others have done
 * meanwhile on a busy machine is no part of it.
 */

export interface ThreadTime {
  /** Milliseconds that it was computing. */
  computed: number;
  /** Milliseconds that it could have computed and did not get a processor. */
  starved: number;
}

/** Of a process's main thread. Zeros where that cannot be measured, or the process is gone. */
export function threadTime(pid: number): ThreadTime {
  return read(`${pid}/task/${pid}`);
}

/** Of the thread that asks. Zeros where that cannot be measured. */
export function ownThreadTime(): ThreadTime {
  return read("thread-self");
}

function read(thread: string): ThreadTime {
  try {
    const text = Deno.readTextFileSync(`/proc/${thread}/schedstat`);
    const [computed, starved] = text.split(" ").map((nanoseconds) => Number(nanoseconds) / 1e6);
    return { computed: computed!, starved: starved! };
  } catch {
    return { computed: 0, starved: 0 };
  }
}
