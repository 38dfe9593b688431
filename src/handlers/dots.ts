/** The tutorial's work: every dot in a task is a second. */
import { DONE, type Handler, INTERRUPTED } from "../task/handler.ts";
import type { Task } from "../task/task.ts";
import { escapeControls } from "../observe/log.ts";

const DOT = ".".charCodeAt(0);
/** Timers hold at most 2^31 - 1 ms; longer work is slept in pieces. */
const LONGEST_SLEEP_MS = 2 ** 30;
const MOST_SHOWN_BYTES = 4096;

export interface DotsOptions {
  /** Receives the tutorial's lines. */
  readonly print: (line: string) => void;
  /** Milliseconds for a dot; default 1000. */
  readonly dotMs?: number;
}

/** A handler that sleeps for the dots of a task and prints the tutorial's lines. */
export function dotsHandler(options: DotsOptions): Handler {
  const { print, dotMs = 1000 } = options;
  return async (task, { signal }) => {
    print(` [x] Received ${describeBody(task)}\n`);
    const dots = task.body.reduce((sum, byte) => byte === DOT ? sum + 1 : sum, 0);
    if (!await slept(dots * dotMs, signal)) return INTERRUPTED;
    print(" [x] Done\n");
    return DONE;
  };
}

/**
 * A body for a terminal, on one line: text with its control characters escaped; a count in front
 * when it is long; bytes in hexadecimal when it is not UTF-8.
 */
export function describeBody(task: Task): string {
  const { body } = task;
  const long = body.length > MOST_SHOWN_BYTES;
  const shown = long ? body.subarray(0, MOST_SHOWN_BYTES) : body;
  try {
    // A cut may fall into a character; `stream` leaves that one out instead of failing.
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
      .decode(shown, { stream: long });
    return long ? `${body.length} bytes: ${escapeControls(text)}...` : escapeControls(text);
  } catch {
    const start = [...shown.subarray(0, 32)].map((byte) => byte.toString(16).padStart(2, "0"));
    return `${body.length} bytes that are not UTF-8: ${start.join(" ")}${
      body.length > 32 ? " ..." : ""
    }`;
  }
}

/** Sleeps; false when the signal ended it. */
async function slept(ms: number, signal: AbortSignal): Promise<boolean> {
  for (let left = ms; left > 0 && !signal.aborted; left -= LONGEST_SLEEP_MS) {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(done, Math.min(left, LONGEST_SLEEP_MS));
      function done(): void {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        resolve();
      }
      signal.addEventListener("abort", done);
    });
  }
  return !signal.aborted;
}
