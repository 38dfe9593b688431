/** The lines of an input. */
import type { Supply } from "../amqp/supply.ts";
import { EXIT, InputError } from "../errors.ts";
import { type Input, openInput } from "./input.ts";

/** What is read at a time, at most. */
const BUFFER_BYTES = 64 * 1024;
/** Less room than that is not worth a read, where little has to be moved for more. */
const LITTLE_BYTES = BUFFER_BYTES / 4;
const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** A line of an input. */
export interface Line {
  /** 1 for the first. */
  readonly number: number;
  /** Without its end: a newline, or a carriage return and a newline. Stays as it is. */
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
 * `next` throws {@linkcode InputError}: unreadable (66), a line longer than the limit (65).
 *
 * Short lines are parts of the buffer that they were read into, which nobody writes to again: a copy
 * of each would cost more than everything else that is done about it.
 */
export class Lines implements Supply<Line> {
  readonly #path: string;
  readonly #limit: number;
  readonly #isNul: boolean;
  readonly #skip: number;
  #input: Input | undefined;
  #buffer = new Uint8Array(BUFFER_BYTES);
  /** The part of the buffer that was read into. */
  #filled = this.#buffer.subarray(0, 0);
  /** Where the next line begins, and up to where its end was looked for. */
  #start = 0;
  #seen = 0;
  /** Lines are parts of this buffer. */
  #isShared = false;
  /** Of the buffer's first byte in the input. */
  #offset = 0;
  /** Of the next line. */
  #number = 1;
  #isAtEnd = false;
  #isReading = false;
  #isClosed = false;

  constructor(path: string, { limit, nul = false, skip = 0 }: LineOptions) {
    this.#path = path;
    this.#limit = limit;
    this.#isNul = nul;
    this.#skip = skip;
  }

  next(): Line | undefined | Promise<Line | undefined> {
    return this.#find() ?? (this.#isAtEnd ? undefined : this.#readOn());
  }

  close(): void {
    this.#isClosed = true;
    if (this.#isReading) return;
    this.#input?.[Symbol.dispose]();
    this.#input = undefined;
  }

  /** The next line, if it is read. */
  #find(): Line | undefined {
    for (;;) {
      const end = this.#filled.indexOf(this.#isNul ? 0 : NEWLINE, this.#seen);
      const isWhole = end >= 0;
      this.#seen = isWhole ? end + 1 : this.#filled.length;
      this.#checkLength((isWhole ? end : this.#seen) - this.#start);
      if (!isWhole && !(this.#isAtEnd && this.#start < this.#seen)) return undefined;
      const start = this.#start;
      this.#start = this.#seen;
      if (this.#number++ <= this.#skip) continue;
      const bytes = this.#part(start, isWhole ? end : this.#seen);
      return { number: this.#number - 1, bytes, end: this.#offset + this.#seen };
    }
  }

  #part(start: number, end: number): Uint8Array {
    const hasReturn = !this.#isNul && end > start && this.#filled[end - 1] === CARRIAGE_RETURN;
    const stop = hasReturn ? end - 1 : end;
    if (this.#buffer.length > BUFFER_BYTES) return this.#filled.slice(start, stop);
    // Whoever keeps an empty line keeps no buffer with it.
    if (start === stop) return new Uint8Array();
    this.#isShared = true;
    return this.#filled.subarray(start, stop);
  }

  async #readOn(): Promise<Line | undefined> {
    this.#isReading = true;
    try {
      for (;;) {
        await this.#read();
        if (this.#isClosed) return undefined;
        const line = this.#find();
        if (line !== undefined || this.#isAtEnd) return line;
      }
    } finally {
      this.#isReading = false;
      if (this.#isClosed) this.close();
    }
  }

  async #read(): Promise<void> {
    this.#input ??= await openInput(this.#path);
    this.#makeRoom();
    const used = this.#filled.length;
    const n = await this.#input.read(this.#buffer.subarray(used));
    if (n === null) this.#isAtEnd = true;
    else this.#filled = this.#buffer.subarray(0, used + n);
  }

  /** For more of a line that is longer than the buffer, or behind lines that others have. */
  #makeRoom(): void {
    const rest = this.#filled.length - this.#start;
    const room = this.#buffer.length - this.#filled.length;
    if (room > (rest < LITTLE_BYTES ? LITTLE_BYTES : 0)) return;
    const size = rest < LITTLE_BYTES
      ? BUFFER_BYTES
      : rest < this.#buffer.length
      ? this.#buffer.length
      : Math.min(2 * this.#buffer.length, this.#limit + 1);
    const kept = this.#filled.subarray(this.#start);
    if (this.#isShared || size !== this.#buffer.length) this.#buffer = new Uint8Array(size);
    this.#buffer.set(kept);
    this.#isShared = false;
    this.#filled = this.#buffer.subarray(0, rest);
    this.#offset += this.#start;
    this.#seen -= this.#start;
    this.#start = 0;
  }

  #checkLength(length: number): void {
    if (length <= this.#limit) return;
    const unit = this.#isNul ? "record" : "line";
    throw new InputError(
      `a ${unit} of ${this.#input!.what} must have at most ${this.#limit} bytes, and ${unit} ` +
        `${this.#number} has more`,
      EXIT.badData,
    );
  }
}

/** Whether a line has nothing but blanks: between records it is none. */
export function isBlank(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0x20 || byte === 0x09 || byte === CARRIAGE_RETURN);
}

/** The same for those who have few of them. @throws {InputError} */
export async function* readLines(path: string, options: LineOptions): AsyncGenerator<Line> {
  const lines = new Lines(path, options);
  try {
    for (let line; (line = await lines.next()) !== undefined;) yield line;
  } finally {
    lines.close();
  }
}
