/** Inputs that the user names: files and stdin. */
import { EXIT, InputError, reason } from "../errors.ts";

const FIRST_BUFFER_BYTES = 64 * 1024;

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
export async function openInput(path: string): Promise<Input> {
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

/** The same bytes with as much room behind them, up to one byte more than the limit. */
function enlarged(bytes: Uint8Array<ArrayBuffer>, limit: number): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(Math.min(2 * bytes.length, limit + 1));
  larger.set(bytes);
  return larger;
}

/** The error for an input that cannot be read. */
export function unreadable(what: string, error: unknown): InputError {
  const hint = error instanceof Deno.errors.NotCapable ? '; "-" is stdin' : "";
  return new InputError(`cannot read ${what}: ${reason(error)}${hint}`, EXIT.noInput, {
    cause: error,
  });
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
