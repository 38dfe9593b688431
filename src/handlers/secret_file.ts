/** A file with a secret that may be replaced while the worker runs. */
import { EXIT, InputError, reason } from "../errors.ts";

export class SecretFile<T> {
  readonly #path: string;
  readonly #what: string;
  readonly #parse: (lines: readonly string[]) => T;
  readonly #warn: (message: string) => void;
  /** What it was when it was read, or last found to be wrong. */
  #version = "";
  #secret: T;

  /**
   * Reads it.
   *
   * @param what how to name it: "the token file"
   * @param parse makes the secret of the lines that are not empty
   * @param warn told when a change cannot be read: the secret from before stays
   * @throws {InputError} it cannot be read (66), or holds no such secret (65)
   */
  constructor(
    path: string,
    what: string,
    parse: (lines: readonly string[]) => T,
    warn: (message: string) => void,
  ) {
    this.#path = path;
    this.#what = `${what} ${JSON.stringify(path)}`;
    this.#parse = parse;
    this.#warn = warn;
    try {
      this.#version = versionOf(path);
    } catch (error) {
      throw this.#unreadable(error);
    }
    this.#secret = this.#read();
  }

  /** The secret of this moment. */
  get(): T {
    let version: string;
    try {
      version = versionOf(this.#path);
    } catch (error) {
      version = reason(error);
    }
    if (version === this.#version) return this.#secret;
    // Said once for each change.
    this.#version = version;
    try {
      this.#secret = this.#read();
    } catch (error) {
      this.#warn(`${(error as Error).message}; what it held before is used on`);
    }
    return this.#secret;
  }

  #read(): T {
    let text: string;
    try {
      text = Deno.readTextFileSync(this.#path);
    } catch (error) {
      throw this.#unreadable(error);
    }
    try {
      return this.#parse(text.split(/\r?\n/).filter((line) => line !== ""));
    } catch (error) {
      throw new InputError(`${this.#what} ${(error as Error).message}`, EXIT.badData);
    }
  }

  #unreadable(error: unknown): InputError {
    return new InputError(`cannot read ${this.#what}: ${reason(error)}`, EXIT.noInput);
  }
}

function versionOf(path: string): string {
  const { mtime, size, ino, ctime } = Deno.statSync(path);
  return [mtime?.getTime(), ctime?.getTime(), size, ino].join(" ");
}
