/** What signals ask a program for. */

export interface SignalActions {
  /**
   * SIGINT, SIGTERM, SIGHUP for the first time: an orderly end.
   *
   * @param status the exit status of a program that the signal ends
   */
  readonly end: (status: number) => void;
  /** The second of these, or SIGQUIT: the process ends at once, after this. Must not wait. */
  readonly abort?: () => void;
  /** SIGHUP: read files again. Absent: it ends the program like SIGTERM. */
  readonly reload?: () => void;
  /** SIGTSTP: no more work, but stay. */
  readonly quiet?: () => void;
  /** SIGCONT: take up work again. */
  readonly resume?: () => void;
  /** SIGUSR2: say how things are. SIGUSR1 is Deno's own, see inspector.ts. */
  readonly status?: () => void;
}

/** Exit status of a process that a signal ends at once: 128 plus its number. */
const ENDING = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129, SIGQUIT: 131 } as const;

/**
 * Ctrl-C under `deno task` arrives twice, from the terminal and from deno, less than a millisecond
 * apart. Nobody presses it twice so fast.
 */
const ECHO_MS = 50;

/** Listens until disposed. */
export function onSignals(actions: SignalActions): { dispose(): void } {
  /** The first ending signal and when it came, in performance.now(). */
  let first: { signal: string; at: number } | undefined;
  const removers: (() => void)[] = [];
  function on(signal: Deno.Signal, listener: () => void): void {
    try {
      Deno.addSignalListener(signal, listener);
      removers.push(() => Deno.removeSignalListener(signal, listener));
    } catch {
      // Not on this system: Windows has neither SIGQUIT nor, before Deno 2.8, SIGTERM.
    }
  }
  for (const [signal, status] of Object.entries(ENDING)) {
    if (signal === "SIGHUP" && actions.reload !== undefined) {
      on(signal, actions.reload);
      continue;
    }
    on(signal as keyof typeof ENDING, () => {
      const now = performance.now();
      if (first?.signal === signal && now - first.at < ECHO_MS) return;
      if (first !== undefined || signal === "SIGQUIT") {
        actions.abort?.();
        Deno.exit(status);
      }
      first = { signal, at: now };
      actions.end(status);
    });
  }
  // inspector.ts ends the process.
  if (actions.abort !== undefined) on("SIGUSR1", actions.abort);
  if (actions.quiet !== undefined) on("SIGTSTP", actions.quiet);
  if (actions.resume !== undefined) on("SIGCONT", actions.resume);
  if (actions.status !== undefined) on("SIGUSR2", actions.status);
  return {
    dispose() {
      for (const remove of removers) remove();
    },
  };
}
