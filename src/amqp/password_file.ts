/** A password in a file, which somebody may replace at any time. */
import { EXIT, InputError, reason } from "../errors.ts";

export class PasswordFile {
  readonly path: string;
  #last: string | undefined;

  constructor(path: string) {
    this.path = path;
  }

  /**
   * The first line of the file as it is now; the rest must be empty. What is no file, a pipe for
   * instance, is read only once.
   *
   * @throws {InputError} unreadable (66), no password (65)
   */
  read(): string {
    const what = `the password file ${JSON.stringify(this.path)}`;
    let bytes: Uint8Array;
    try {
      if (this.#last !== undefined && !Deno.statSync(this.path).isFile) return this.#last;
      bytes = Deno.readFileSync(this.path);
    } catch (error) {
      throw new InputError(`cannot read ${what}: ${reason(error)}`, EXIT.noInput, { cause: error });
    }
    return this.#last = passwordIn(bytes, what);
  }

  /** The password as it is now, or the last one that could be read. @throws {InputError} there is none */
  latest(): string {
    try {
      return this.read();
    } catch (error) {
      if (this.#last === undefined) throw error;
      return this.#last;
    }
  }
}

/** @throws {InputError} */
function passwordIn(bytes: Uint8Array, what: string): string {
  const content = decodeText(bytes);
  if (content === undefined) {
    throw new InputError(`${what} must be UTF-8 without NUL, and is not`, EXIT.badData);
  }
  const password = content.replace(/\r?\n$/, "");
  if (password !== "" && !/[\r\n]/.test(password)) return password;
  throw new InputError(
    `${what} must hold one line, and ${password === "" ? "is empty" : "holds several"}`,
    EXIT.badData,
  );
}

/** undefined: not UTF-8, or with a NUL, as text of 16 bits a character has. */
function decodeText(bytes: Uint8Array): string | undefined {
  if (bytes.includes(0)) return undefined;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}
