/** How far the sending of many tasks has come: a bar on a terminal, a log line elsewhere. */
import { after, type Timer } from "../time/timer.ts";
import type { Host } from "./main.ts";

/** Both in milliseconds. */
const REDRAW_MS = 250;
const LINE_MS = 10_000;

/** What is under way. */
export interface Counts {
  /** Tasks. */
  readonly confirmed: number;
  readonly rejected: number;
  /** Bytes or files of the input that are taken. */
  readonly end: number;
}

/** How much there is, in what `end` counts. */
export interface Known {
  readonly total: number | undefined;
  /** Where it begins; undefined: where the first task ends. */
  readonly start: number | undefined;
}

/** A moment of it. */
export interface Reading {
  readonly tasks: number;
  readonly rejected: number;
  /** Tasks a second since the last reading. */
  readonly rate: number;
  /** Absent where the size is not known. */
  readonly percent?: number;
  readonly leftMs?: number;
}

/** Turns counts into what people want to know. Pure: whoever asks tells the time. */
export class Gauge {
  readonly #known: Known;
  readonly #startedAt: number;
  #start: number | undefined;
  #lastAt: number;
  #lastTasks = 0;

  /** @param now in milliseconds */
  constructor(known: Known, now: number) {
    this.#known = known;
    this.#startedAt = this.#lastAt = now;
    this.#start = known.start;
  }

  read({ confirmed, rejected, end }: Counts, now: number): Reading {
    const rate = (confirmed - this.#lastTasks) / Math.max(now - this.#lastAt, 1) * 1_000;
    this.#lastAt = now;
    this.#lastTasks = confirmed;
    const reading = { tasks: confirmed, rejected, rate: Math.round(rate) };
    const { total } = this.#known;
    if (total === undefined || total === 0) return reading;
    const percent = Math.min(100, Math.floor(end / total * 100));
    if (end === 0) return { ...reading, percent };
    this.#start ??= end;
    const taken = end - this.#start;
    if (taken <= 0) return { ...reading, percent };
    // What was skipped took no time.
    const leftMs = Math.max(0, total - end) / taken * (now - this.#startedAt);
    return { ...reading, percent, leftMs: Math.ceil(leftMs / 1_000) * 1_000 };
  }
}

/** A reading in words. */
export function describeReading({ tasks, rejected, rate, percent, leftMs }: Reading): string {
  return [
    ...(percent === undefined ? [] : [`${percent} %`]),
    `${tasks} ${tasks === 1 ? "task" : "tasks"} confirmed`,
    ...(rejected === 0 ? [] : [`${rejected} rejected`]),
    `${rate}/s`,
    ...(leftMs === undefined ? [] : [`${clock(leftMs)} left`]),
  ].join(", ");
}

/** As minutes and seconds, and hours where there are any. */
function clock(ms: number): string {
  const seconds = Math.ceil(ms / 1_000);
  const [h, m, s] = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60, seconds % 60];
  const two = (value: number) => String(value).padStart(2, "0");
  return h === 0 ? `${m}:${two(s)}` : `${h}:${two(m)}:${two(s)}`;
}

/** Shows it until it ends. */
export async function showProgress(
  host: Host,
  counts: Counts,
  known: Known,
): Promise<{ end(): void }> {
  const gauge = new Gauge(known, performance.now());
  const bar = Deno.stderr.isTerminal() && !Deno.noColor ? await openBar(host, known) : undefined;
  const show = bar?.show ?? ((reading) => host.log.info(describeReading(reading)));
  let timer: Timer;
  (function again() {
    timer = after(bar === undefined ? LINE_MS : REDRAW_MS, () => {
      show(gauge.read(counts, performance.now()));
      again();
    });
  })();
  return {
    end() {
      timer.cancel();
      bar?.end();
    },
  };
}

/** cli-progress costs 20 ms to load, which only terminals pay. */
async function openBar(host: Host, { total }: Known) {
  const { default: progress } = await import("cli-progress");
  const bar = new progress.SingleBar({
    stream: {
      isTTY: true,
      write: (text: string) => {
        host.complain(text);
        return true;
      },
    },
    format: total === undefined ? "{words}" : "[{bar}] {words}",
    barsize: 20,
    barCompleteChar: "=",
    barIncompleteChar: " ",
    clearOnComplete: true,
    gracefulExit: false,
    hideCursor: false,
    // What does not fit is cut off: a second line could not be taken back.
    linewrap: false,
  });
  bar.start(100, 0, { words: "" });
  return {
    show: (reading: Reading) =>
      bar.update(reading.percent ?? 0, { words: describeReading(reading) }),
    end: () => bar.stop(),
  };
}
