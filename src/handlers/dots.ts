/** The tutorial's work: every dot in a task is a second. */
import { DONE, type Handler, INTERRUPTED } from "../task/handler.ts";
import type { Task } from "../task/task.ts";
import { escapeControls } from "../observe/log.ts";
import { toHex } from "../task/hex.ts";

const DOT = ".".charCodeAt(0);
/** Timers hold at most 2^31 - 1 ms; longer work is slept in pieces. */
const LONGEST_SLEEP_MS = 2 ** 30;
const MOST_SHOWN_BYTES = 4096;
const MOST_HEX_BYTES = 32;

export interface DotsOptions {
  /** Receives the tutorial's lines; may say what to wait for when nobody reads them. */
  readonly print: (line: string) => Promise<void> | void;
  /** Milliseconds for a dot; default 1000. */
  readonly dotMs?: number;
}

/** A handler that sleeps for the dots of a task and prints the tutorial's lines. */
export function dotsHandler(options: DotsOptions): Handler {
  const { print, dotMs = 1000 } = options;
  return async (task, context) => {
    const read = print(` [x] Received ${describeBody(task)}\n`);
    if (read !== undefined && !await beforeAbort(read, context.signal)) return INTERRUPTED;
    const dots = countDots(task.body);
    if (dots > 0 && !await slept(dots * dotMs, context.signal)) return INTERRUPTED;
    print(" [x] Done\n");
    return DONE;
  };
}

function countDots(body: Uint8Array): number {
  let dots = 0;
  for (let at = body.indexOf(DOT); at >= 0; at = body.indexOf(DOT, at + 1)) dots++;
  return dots;
}

/** Shared by all tasks: without `stream` it keeps no part of what it has decoded. */
const wholeText = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * A body for a terminal, on one line: text with its control characters escaped; a count in front
 * when it is long; bytes in hexadecimal when it is not UTF-8.
 */
export function describeBody(task: Task): string {
  const { body } = task;
  const long = body.length > MOST_SHOWN_BYTES;
  const shown = long ? body.subarray(0, MOST_SHOWN_BYTES) : body;
  try {
    if (!long) return escapeControls(wholeText.decode(shown));
    // A cut may fall into a character; `stream` leaves that one out instead of failing.
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
      .decode(shown, { stream: true });
    return `${body.length} bytes: ${escapeControls(text)}...`;
  } catch {
    const start = toHex(shown.subarray(0, MOST_HEX_BYTES), " ");
    const rest = body.length > MOST_HEX_BYTES ? " ..." : "";
    return `${body.length} bytes that are not UTF-8: ${start}${rest}`;
  }
}

/** Waits; false when the signal came first. */
async function beforeAbort(promise: Promise<void>, signal: AbortSignal): Promise<boolean> {
  const aborted = Promise.withResolvers<void>();
  signal.addEventListener("abort", () => aborted.resolve(), { once: true });
  if (!signal.aborted) await Promise.race([promise, aborted.promise]);
  return !signal.aborted;
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
