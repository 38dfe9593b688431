/** Records as text: JSON, of which no digit and no second field of a name is to be lost. */
import { RecordError, shown } from "./record_error.ts";

const decoder = new TextDecoder("utf-8", { fatal: true });
const encoder = new TextEncoder();

/** @throws {RecordError} */
export function decode(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    throw new RecordError("", "be UTF-8", "is not");
  }
}

/** @throws {RecordError} */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new RecordError("", "be JSON", `is not: ${(error as Error).message}`);
  }
}

/** Whether a JSON text may have numbers that JavaScript's are not: too large, too small, too long. */
export function hasUnusualNumbers(text: string): boolean {
  return /\d{16}|\d[eE][-+]?\d{3}/.test(text);
}

/** A part of a text, in UTF-16 code units. */
interface Span {
  readonly start: number;
  readonly end: number;
}

/**
 * The members of an object with what stands behind the colons of their names.
 *
 * @param text JSON, known to be an object
 * @throws {RecordError} a name is there twice
 */
export function membersOf(path: string, text: string): Map<string, Span> {
  const members = new Map<string, Span>();
  let depth = 0;
  let name: string | undefined;
  let start = 0;
  for (let at = 0; at < text.length; at++) {
    switch (text[at]) {
      case '"': {
        const end = endOfString(text, at);
        if (depth === 1 && name === undefined) name = textOf(text.slice(at, end + 1));
        at = end;
        break;
      }
      case ":":
        if (depth === 1) start = at + 1;
        break;
      case "{":
      case "[":
        depth++;
        break;
      case "}":
      case "]":
        if (--depth === 0 && name !== undefined) add(name, at);
        break;
      case ",":
        if (depth === 1) {
          add(name!, at);
          name = undefined;
        }
    }
  }
  return members;

  function add(name: string, end: number): void {
    if (members.has(name)) {
      throw new RecordError(path, "have each field once", `has ${shown(name)} twice`);
    }
    members.set(name, { start, end });
  }
}

/** The text that a JSON string holds. */
function textOf(string: string): string {
  return string.includes("\\") ? JSON.parse(string) : string.slice(1, -1);
}

/** Index of the quote that ends the string which begins at `start`. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1);; end = text.indexOf('"', end + 1)) {
    let escapes = 0;
    while (text[end - 1 - escapes] === "\\") escapes++;
    if (escapes % 2 === 0) return end;
  }
}

/** A record as it was written. */
export class WrittenRecord {
  readonly #text: string;
  readonly #members: ReadonlyMap<string, Span>;
  /** Where each character is a byte. */
  readonly #bytes: Uint8Array | undefined;

  /** @throws {RecordError} */
  constructor(text: string, source: string | Uint8Array) {
    this.#text = text;
    this.#members = membersOf("", text);
    if (typeof source !== "string" && source.length === text.length) this.#bytes = source;
  }

  /** What stands behind a field's name. */
  get(name: string): string {
    const { start, end } = this.#members.get(name)!;
    return this.#text.slice(start, end);
  }

  /** The same in UTF-8. */
  bytesOf(name: string): Uint8Array {
    const written = this.get(name);
    const text = written.trim();
    if (this.#bytes === undefined) return encoder.encode(text);
    const start = this.#members.get(name)!.start + written.indexOf(text);
    return this.#bytes.subarray(start, start + text.length);
  }

  /** What a field's text is in UTF-8. */
  textOf(name: string, text: string): Uint8Array {
    const written = this.#bytes === undefined ? undefined : this.bytesOf(name);
    // Nothing of it is escaped.
    if (written?.length === text.length + 2) return written.subarray(1, -1);
    return encoder.encode(text);
  }
}
