/** Finds a text in others in a time that grows with them alone. */

/** Up to so long, what V8 does is faster: it may compare each of its characters with each of theirs. */
const SHORT = 8;

/** A text that is looked for in many others. */
export class Needle {
  readonly text: string;
  /** How much of it is at its beginning and before each of its places, too (Knuth, Morris, Pratt). */
  readonly #borders: Uint16Array;

  /** @param text of at most 65,535 UTF-16 code units */
  constructor(text: string) {
    this.text = text;
    this.#borders = bordersOf(text);
  }

  isIn(other: string): boolean {
    const { text } = this;
    if (text.length <= SHORT) return other.includes(text);
    let matched = 0;
    for (let at = 0; at < other.length; at++) {
      const code = other.charCodeAt(at);
      while (matched > 0 && text.charCodeAt(matched) !== code) {
        matched = this.#borders[matched - 1]!;
      }
      if (text.charCodeAt(matched) === code && ++matched === text.length) return true;
    }
    return false;
  }
}

function bordersOf(text: string): Uint16Array {
  const borders = new Uint16Array(text.length);
  let length = 0;
  for (let at = 1; at < text.length; at++) {
    const code = text.charCodeAt(at);
    while (length > 0 && text.charCodeAt(length) !== code) length = borders[length - 1]!;
    if (text.charCodeAt(length) === code) length++;
    borders[at] = length;
  }
  return borders;
}

const decoder = new TextDecoder("utf-16le", { ignoreBOM: true });
const [BACKSLASH, LETTER_U] = [0x5c, 0x75];
const ESCAPE_LENGTH = 6;

/** A text without the `\u00e4` that many programs write of what is not ASCII in JSON. */
export function unescaped(text: string): string {
  const units = new Uint16Array(text.length);
  let length = 0;
  for (let at = 0; at < text.length;) {
    const code = text.charCodeAt(at);
    const isEscape = code === BACKSLASH && text.charCodeAt(at + 1) === LETTER_U;
    const value = isEscape ? hexAt(text, at + 2) : -1;
    units[length++] = value < 0 ? code : value;
    at += value < 0 ? 1 : ESCAPE_LENGTH;
  }
  return decoder.decode(units.subarray(0, length));
}

/** The value of four hexadecimal digits; less than 0: they are not there. */
function hexAt(text: string, start: number): number {
  let value = 0;
  for (let at = start; at < start + 4; at++) {
    const digit = digitOf(text.charCodeAt(at));
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

function digitOf(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const letter = (code | 0x20) - 0x61;
  return letter >= 0 && letter < 6 ? letter + 10 : -1;
}
