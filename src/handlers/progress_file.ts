/** The file into which a command writes how far it is: the last line of it counts. */
import type { Progress } from "../task/handler.ts";

/** Between two looks, in milliseconds. */
const LOOK_MS = 250;
/** Of the end of the file that is looked at, in bytes. */
const TAIL_BYTES = 4_096;

/** Looks at the file until disposed, and once more then. */
export class ProgressFile implements Disposable {
  readonly #path: string;
  readonly #report: (progress: Progress) => void;
  readonly #timer: ReturnType<typeof setInterval>;
  #last = "";

  constructor(path: string, report: (progress: Progress) => void) {
    this.#path = path;
    this.#report = report;
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#look();
    try {
      Deno.removeSync(this.#path);
    } catch {
      // Most commands never write one.
    }
  }

  #look(): void {
    const line = lastLine(this.#path);
    if (line === undefined || line === this.#last) return;
    this.#last = line;
    this.#report(parseProgress(line));
  }
}

/** Reads "3/10", "30%" or "3"; anything else is text. */
export function parseProgress(line: string): Progress {
  const [, done, total, percent] = /^(\d+(?:\.\d+)?)(?:\/(\d+(?:\.\d+)?)|(%))?$/.exec(line) ?? [];
  if (done === undefined) return { text: line };
  if (percent !== undefined) return { done: Number(done), total: 100 };
  return { done: Number(done), ...(total === undefined ? {} : { total: Number(total) }) };
}

/** The last line that has ended, or what there is of the first one. */
function lastLine(path: string): string | undefined {
  try {
    // Opening a named pipe would wait for somebody who writes to it.
    const { isFile, size } = Deno.lstatSync(path);
    if (!isFile || size === 0) return undefined;
    using file = Deno.openSync(path);
    file.seekSync(Math.max(0, size - TAIL_BYTES), Deno.SeekMode.Start);
    const bytes = new Uint8Array(TAIL_BYTES);
    const length = file.readSync(bytes) ?? 0;
    const lines = new TextDecoder().decode(bytes.subarray(0, length)).split("\n");
    const open = lines.pop()!;
    const ended = lines.findLast((line) => line.trim() !== "");
    return (ended ?? open).trim() || undefined;
  } catch {
    return undefined;
  }
}
