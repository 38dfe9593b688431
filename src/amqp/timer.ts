/**
 * Timers for what must not cost start-up time: the first setTimeout of a process loads node's
 * timers under Deno (6 ms, a fifth of a one-shot new_task); AbortSignal.timeout does not.
 *
 * They do not keep the process alive: whoever waits for one also waits for a socket.
 */
export interface Timer {
  cancel(): void;
}

/** Calls `callback` once after `ms` milliseconds, unless cancelled. */
export function after(ms: number, callback: () => void): Timer {
  const signal = AbortSignal.timeout(Math.max(0, Math.ceil(ms)));
  signal.onabort = callback;
  return {
    cancel() {
      signal.onabort = null;
    },
  };
}
