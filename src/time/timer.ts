/**
 * Timers for what must not cost start-up time: the first setTimeout of a process loads node's
 * timers under Deno (6 ms, a fifth of a one-shot new_task); AbortSignal.timeout does not.
 *
 * One that is cancelled does not keep the process alive.
 */
export interface Timer {
  cancel(): void;
}

/** Timers count in 31 bits. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Resolves after `ms` milliseconds. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => after(ms, resolve));
}

/** Calls `callback` once after `ms` milliseconds, unless cancelled. */
export function after(ms: number, callback: () => void): Timer {
  const signal = AbortSignal.timeout(Math.max(0, Math.ceil(ms)));
  // Not `onabort`: Deno lets go of the timer only when the last listener is removed as one.
  signal.addEventListener("abort", callback);
  return {
    cancel() {
      signal.removeEventListener("abort", callback);
    },
  };
}
