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

import { after } from "../time/timer.ts";

/** 128 plus the signal's number. */
const EXIT_SIGUSR1 = Deno.build.os === "linux" ? 138 : 158;

/**
 * When a program listens that has most likely done its work before, in milliseconds: long before Deno
 * does. Until then the signal ends it, as any process that does not listen.
 */
const LATER_MS = 50;

/**
 * @param say called before the process ends
 * @param isBrief the program is often done at once, and is not to pay for the listener then, which is
 *   0.4 ms and a thread; it never keeps its event loop so long that the timer would come late
 */
export function guardInspector(say: (sentence: string) => void, isBrief = false): void {
  if (Deno.build.os === "windows") return;
  if (isBrief) {
    after(LATER_MS, () => guardInspector(say));
    return;
  }
  Deno.addSignalListener("SIGUSR1", () => {
    say("SIGUSR1 ends it, lest Deno opens a debugger to everybody on this machine");
    // After the other listeners, which end what runs.
    queueMicrotask(() => Deno.exit(EXIT_SIGUSR1));
  });
}
