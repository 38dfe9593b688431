/** `worker queues --watch`: the queues on a terminal, at one place, until a signal ends it. */
import { EXIT, ToolError } from "../errors.ts";
import { escapeControls } from "../observe/log.ts";
import { sleep } from "../time/sleep.ts";
import type { Host } from "./main.ts";
import type { QueueRow, QueueView } from "./queue_row.ts";
import { type Look, renderFrame } from "./queue_frame.ts";
import { onSignals } from "./signals.ts";

const PAUSE_MS = 2_000;
const MOST_LOOKS = 60;

/** A screen of its own without a cursor, and back. */
const ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l";
const HOME = "\x1b[H";
const CLEAR_LINE = "\x1b[K";
const CLEAR_BELOW = "\x1b[J";

/** Whether there is a terminal that can do more than print lines. */
export function isScreen(host: Host): boolean {
  return Deno.stdout.isTerminal() && host.env("TERM") !== "dumb";
}

/**
 * Of what is no terminal: the rows, again and again.
 *
 * @param render what is printed of them
 * @throws {ToolError}
 */
export async function watchAsLines(
  host: Host,
  board: QueueView,
  render: (rows: readonly QueueRow[]) => string,
): Promise<number> {
  const ending = new AbortController();
  const signals = onSignals({ end: () => ending.abort() });
  try {
    while (!ending.signal.aborted && !host.unheard) {
      await host.print(render(await board.rows()));
      await sleep(PAUSE_MS, ending.signal);
    }
  } finally {
    signals.dispose();
  }
  return EXIT.ok;
}

/** @throws {ToolError} the broker cannot be reached at first; later it is waited for */
export async function watchOnScreen(
  host: Host,
  board: QueueView,
  troubles: readonly string[],
): Promise<number> {
  const watch = new Watch(host, troubles);
  watch.add(await board.rows());
  const ending = new AbortController();
  const redraw = () => watch.draw();
  const signals = onSignals({
    end: () => ending.abort(),
    abort: () => watch.leaveNow(),
    // Whoever stops it gets his terminal back meanwhile.
    quiet: () => {
      watch.leaveNow();
      Deno.kill(Deno.pid, "SIGSTOP");
    },
    resume: () => watch.enter(),
  });
  const onWindows = Deno.build.os === "windows";
  if (!onWindows) Deno.addSignalListener("SIGWINCH", redraw);
  watch.enter();
  try {
    while (!ending.signal.aborted && !host.unheard) {
      await sleep(PAUSE_MS, ending.signal);
      if (ending.signal.aborted) break;
      try {
        watch.add(await board.rows());
      } catch (error) {
        if (!(error instanceof ToolError)) throw error;
        watch.lost(error.message);
      }
      watch.draw();
    }
  } finally {
    watch.leave();
    if (!onWindows) Deno.removeSignalListener("SIGWINCH", redraw);
    signals.dispose();
  }
  return EXIT.ok;
}

/** What is on the screen. */
class Watch {
  /** Told by the board since the last look. */
  readonly #troubles: readonly string[];
  readonly #host: Host;
  readonly #history = new Map<string, Look[]>();
  #rows: readonly QueueRow[] = [];
  #trouble: string | undefined;
  #isShown = false;

  constructor(host: Host, troubles: readonly string[]) {
    this.#host = host;
    this.#troubles = troubles;
  }

  add(rows: readonly QueueRow[]): void {
    this.#rows = rows.map((row) => ({ ...row, name: escapeControls(row.name) }));
    this.#trouble = this.#troubles.at(-1);
    this.#note(new Map(this.#rows.map(({ name, ready }) => [name, ready])));
  }

  /** The broker is away: what was known stays, and is followed by a gap. */
  lost(why: string): void {
    this.#trouble = why;
    this.#note(new Map());
  }

  #note(ready: ReadonlyMap<string, number | undefined>): void {
    const at = performance.now();
    for (const { name } of this.#rows) {
      const looks = this.#history.get(name) ?? [];
      looks.push({ at, ready: ready.get(name) });
      this.#history.set(name, looks.slice(-MOST_LOOKS));
    }
  }

  enter(): void {
    if (this.#isShown) return;
    this.#isShown = true;
    this.#host.print(ENTER);
    this.draw();
  }

  leave(): void {
    if (this.#isShown) this.#host.print(LEAVE);
    this.#isShown = false;
  }

  /** The process is about to end, or to be stopped. */
  leaveNow(): void {
    if (!this.#isShown) return;
    this.#isShown = false;
    try {
      Deno.stdout.writeSync(new TextEncoder().encode(LEAVE));
    } catch {
      // The terminal is gone.
    }
  }

  draw(): void {
    if (!this.#isShown) return;
    const { columns, rows: lines } = Deno.consoleSize();
    const frame = renderFrame({
      rows: this.#rows,
      history: this.#history,
      trouble: this.#trouble === undefined ? undefined : escapeControls(this.#trouble),
      // A terminal of a serial line may not know its size, and says 0.
      columns: columns || 80,
      lines: lines || 24,
      colors: !Deno.noColor,
    });
    this.#host.print(
      HOME + frame.map((line) => `${line}${CLEAR_LINE}\n`).join("") + CLEAR_BELOW,
    );
  }
}
