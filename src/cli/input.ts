/** Inputs that the user names: files and stdin. */
import { EXIT, InputError, reason } from "../errors.ts";

const FIRST_BUFFER_BYTES = 64 * 1024;

/**
 * Reads a file, or stdin for "-", to its end.
 *
 * @param limit in bytes; an input without an end stops there
 * @throws {InputError} unreadable (66), longer than the limit (65)
 */
export async function readInput(path: string, limit: number): Promise<Uint8Array> {
  if (path === "-") return await readToEnd("stdin", Deno.stdin, limit);
  const what = `the file ${JSON.stringify(path)}`;
  let file: Deno.FsFile;
  try {
    file = await Deno.open(path);
  } catch (error) {
    throw unreadable(what, error);
  }
  try {
    return await readToEnd(what, file, limit);
  } finally {
    file.close();
  }
}

/** The error for an input that cannot be read. */
export function unreadable(what: string, error: unknown): InputError {
  const why = error instanceof Deno.errors.NotCapable
    ? 'devices and system files are closed to this program; "-" is stdin'
    : reason(error);
  return new InputError(`cannot read ${what}: ${why}`, EXIT.noInput, { cause: error });
}

interface Source {
  read(buffer: Uint8Array): Promise<number | null>;
}

async function readToEnd(what: string, source: Source, limit: number): Promise<Uint8Array> {
  let bytes = new Uint8Array(FIRST_BUFFER_BYTES);
  let used = 0;
  for (;;) {
    let n: number | null;
    try {
      n = await source.read(bytes.subarray(used));
    } catch (error) {
      throw unreadable(what, error);
    }
    if (n === null) return bytes.subarray(0, used);
    used += n;
    if (used > limit) {
      throw new InputError(
        `${what} must hold at most ${limit} bytes, and holds more`,
        EXIT.badData,
      );
    }
    if (used < bytes.length) continue;
    const larger = new Uint8Array(Math.min(2 * bytes.length, limit + 1));
    larger.set(bytes);
    bytes = larger;
  }
}
