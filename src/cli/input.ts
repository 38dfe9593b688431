/** Inputs that the user names: files and stdin. */
import { EXIT, InputError, reason } from "../errors.ts";

const FIRST_BUFFER_BYTES = 64 * 1024;
const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** Of /dev/null on Linux: major 1, minor 3. */
const NULL_DEVICE = 0x103;

/** A file, or stdin for "-", that is being read. */
export interface Input extends Disposable {
  /** For errors: "stdin", or `the file "PATH"`. */
  readonly what: string;
  /** @throws {InputError} unreadable (66) */
  read(buffer: Uint8Array): Promise<number | null>;
}

/** @throws {InputError} it cannot be opened (66) */
async function openInput(path: string): Promise<Input> {
  const isStdin = path === "-";
  const what = isStdin ? "stdin" : `the file ${JSON.stringify(path)}`;
  let empty = true;
  const file = isStdin ? Deno.stdin : await Deno.open(path).catch((error) => {
    throw unreadable(what, error);
  });
  return {
    what,
    async read(buffer) {
      let n: number | null;
      try {
        n = await file.read(buffer);
      } catch (error) {
        throw unreadable(what, error);
      }
      if (n === null && empty && isStdin && await isStdinMissing()) {
        throw new InputError(
          "cannot read stdin: it is closed or /dev/null; --file /dev/null is an empty task",
        );
      }
      empty = false;
      return n;
    },
    [Symbol.dispose]() {
      if (!isStdin) file.close();
    },
  };
}

/**
 * Reads a file, or stdin for "-", to its end.
 *
 * @param limit in bytes; an input without an end stops there
 * @throws {InputError} unreadable (66), longer than the limit (65)
 */
export async function readInput(path: string, limit: number): Promise<Uint8Array> {
  using input = await openInput(path);
  let bytes = new Uint8Array(FIRST_BUFFER_BYTES);
  let used = 0;
  for (;;) {
    const n = await input.read(bytes.subarray(used));
    if (n === null) return bytes.subarray(0, used);
    used += n;
    if (used > limit) {
      throw new InputError(
        `${input.what} must hold at most ${limit} bytes, and holds more`,
        EXIT.badData,
      );
    }
    if (used === bytes.length) bytes = enlarged(bytes, limit);
  }
}

/** A line of an input. */
export interface Line {
  /** 1 for the first. */
  readonly number: number;
  /** Without its end: a newline, or a carriage return and a newline. */
  readonly bytes: Uint8Array;
  /** Bytes of the input up to its end. */
  readonly end: number;
}

export interface LineOptions {
  /** Longest line in bytes. */
  readonly limit: number;
  /** Lines end with NUL; a carriage return is a byte like any other. */
  readonly nul?: boolean;
  /** Lines at the beginning that are left out. */
  readonly skip?: number;
}

/**
 * Reads the lines of a file, or of stdin for "-". What follows the last newline is a line, too. A
 * carriage return at the end of a line is no part of it.
 *
 * @throws {InputError} unreadable (66), a line longer than the limit (65)
 */
export async function* readLines(path: string, options: LineOptions): AsyncGenerator<Line> {
  const { limit, nul = false, skip = 0 } = options;
  const delimiter = nul ? 0 : NEWLINE;
  const unit = nul ? "record" : "line";
  using input = await openInput(path);
  let bytes = new Uint8Array(FIRST_BUFFER_BYTES);
  let used = 0;
  let number = 1;
  /** Of the buffer's first byte in the input. */
  let offset = 0;
  function checkLength(length: number): void {
    if (length <= limit) return;
    throw new InputError(
      `a ${unit} of ${input.what} must have at most ${limit} bytes, and ${unit} ${number} has more`,
      EXIT.badData,
    );
  }
  function lineOf(line: Uint8Array<ArrayBuffer>, end: number): Line {
    return { number, bytes: nul ? line : withoutReturn(line), end: offset + end };
  }
  for (;;) {
    const n = await input.read(bytes.subarray(used));
    if (n === null) break;
    const filled = bytes.subarray(0, used + n);
    let start = 0;
    for (let end = filled.indexOf(delimiter, used); end >= 0;) {
      checkLength(end - start);
      if (number > skip) yield lineOf(filled.slice(start, end), end + 1);
      number++;
      start = end + 1;
      end = filled.indexOf(delimiter, start);
    }
    bytes.copyWithin(0, start, filled.length);
    offset += start;
    used = filled.length - start;
    checkLength(used);
    if (used === bytes.length) bytes = enlarged(bytes, limit);
  }
  if (used > 0 && number > skip) yield lineOf(bytes.slice(0, used), used);
}

/** Windows, and whatever writes for it, ends lines with two characters. */
function withoutReturn(line: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return line.at(-1) === CARRIAGE_RETURN ? line.subarray(0, -1) : line;
}

/** The same bytes with as much room behind them, up to one byte more than the limit. */
function enlarged(bytes: Uint8Array<ArrayBuffer>, limit: number): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(Math.min(2 * bytes.length, limit + 1));
  larger.set(bytes);
  return larger;
}

/** The error for an input that cannot be read. */
export function unreadable(what: string, error: unknown): InputError {
  const why = error instanceof Deno.errors.NotCapable
    ? 'devices and system files are closed to this program; "-" is stdin'
    : reason(error);
  return new InputError(`cannot read ${what}: ${why}`, EXIT.noInput, { cause: error });
}

/**
 * Nobody gave this process a stdin: its runtime then puts /dev/null in the place, as cron and
 * systemd do.
 */
async function isStdinMissing(): Promise<boolean> {
  if (Deno.build.os !== "linux") return false;
  const { fstatSync } = await import("node:fs");
  return fstatSync(0).rdev === NULL_DEVICE;
}
