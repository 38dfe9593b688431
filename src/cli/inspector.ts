/**
 * Keeps SIGUSR1 from opening a debugger for everybody on this machine.
 *
 * `deno run` of 2.9.2 and newer (a compiled program does not) listens for SIGUSR1 from half a second
 * after the start, and then opens V8's inspector on 127.0.0.1:9229. It asks for no credentials:
 * whoever connects reads all that the process knows. No option turns that off, and neither a
 * listener of ours nor an ignored signal prevents it. Closed by us as soon as it was open, it was
 * used by somebody waiting for it in 9 of 20 times. So the process ends, as it does by this signal
 * where nobody listens for it; in 33 times nobody got through.
 */

/** 128 plus the signal's number. */
const EXIT_SIGUSR1 = Deno.build.os === "linux" ? 138 : 158;

/** @param say called before the process ends */
export function guardInspector(say: (sentence: string) => void): void {
  if (Deno.build.os === "windows") return;
  Deno.addSignalListener("SIGUSR1", () => {
    say("SIGUSR1 ends it, lest Deno opens a debugger to everybody on this machine");
    // After the other listeners, which end what runs.
    queueMicrotask(() => Deno.exit(EXIT_SIGUSR1));
  });
}
