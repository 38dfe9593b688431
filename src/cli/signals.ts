/** SIGINT and SIGTERM: the first asks for an orderly end, the second ends the process. */

const STATUS = { SIGINT: 130, SIGTERM: 143 } as const;

/**
 * Listens until disposed.
 *
 * @param onFirst called once, for the first signal; the next one of either kind ends the process at
 *   once with 128 plus its number
 */
export function onSignals(onFirst: () => void): { dispose(): void } {
  let seen = false;
  const listeners = Object.entries(STATUS).map(([signal, status]) => {
    function listener(): void {
      if (seen) Deno.exit(status);
      seen = true;
      onFirst();
    }
    try {
      Deno.addSignalListener(signal as keyof typeof STATUS, listener);
      return () => Deno.removeSignalListener(signal as keyof typeof STATUS, listener);
    } catch {
      // Windows has no SIGTERM before Deno 2.8.
      return () => {};
    }
  });
  return {
    dispose() {
      for (const remove of listeners) remove();
    },
  };
}
