/** Text as UTF-8, without a loss of bytes that are none. */

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const strictDecoder = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });
const encoder = new TextEncoder();
const byteDecoder = new TextDecoder("latin1");

/** Longest text done byte by byte; TextDecoder and TextEncoder only pay off beyond it. */
export const SHORT_TEXT = 48;

/**
 * UTF-8 to text. A byte 0xNN that belongs to no valid sequence becomes the lone surrogate U+DCNN,
 * which no UTF-8 gives: what differs as bytes differs as text, and {@link encodeText} gives back
 * the bytes.
 */
export function decodeText(bytes: Uint8Array, start: number, end: number): string {
  const text = decodeBy(decoder, bytes, start, end);
  return text.includes("\ufffd") ? decodeEscaped(bytes, start, end) : text;
}

/** UTF-8 to text. @throws {TypeError} it is none */
export function decodeStrictly(bytes: Uint8Array, start: number, end: number): string {
  return decodeBy(strictDecoder, bytes, start, end);
}

function decodeEscaped(bytes: Uint8Array, start: number, end: number): string {
  let text = "";
  for (let at = start; at < end;) {
    const valid = at;
    for (let length = 1; length > 0 && at < end; at += length) {
      length = sequenceLength(bytes, at, end);
    }
    if (at > valid) text += decoder.decode(bytes.subarray(valid, at));
    for (; at < end && sequenceLength(bytes, at, end) === 0; at++) {
      text += String.fromCharCode(0xdc00 | bytes[at]!);
    }
  }
  return text;
}

/** Bytes of the character that begins here, or 0: they are no UTF-8. */
function sequenceLength(bytes: Uint8Array, at: number, end: number): number {
  const first = bytes[at]!;
  if (first < 0x80) return 1;
  const length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if (first < 0xc2 || first > 0xf4 || at + length > end) return 0;
  const second = bytes[at + 1]!;
  // Overlong forms, surrogates, and what is beyond U+10FFFF.
  const [least, most] = SECOND_BYTES[first] ?? [0x80, 0xbf];
  if (second < least || second > most) return 0;
  for (let n = at + 2; n < at + length; n++) if (bytes[n]! >> 6 !== 2) return 0;
  return length;
}

const SECOND_BYTES: Record<number, [number, number]> = {
  0xe0: [0xa0, 0xbf],
  0xed: [0x80, 0x9f],
  0xf0: [0x90, 0xbf],
  0xf4: [0x80, 0x8f],
};

/** In pairs they are characters beyond U+FFFF. */
const ESCAPED = /([\ud800-\udfff]+)/u;

/** The bytes of a text, those that {@link decodeText} escaped included. */
export function encodeText(text: string): Uint8Array {
  const bytes = encoder.encode(text);
  if (!ESCAPED.test(text)) return bytes;
  let length = 0;
  for (const [index, part] of text.split(ESCAPED).entries()) {
    // Every other one is what the expression found.
    if (index % 2 === 0) length += encoder.encodeInto(part, bytes.subarray(length)).written;
    else for (let at = 0; at < part.length; at++) bytes[length++] = part.charCodeAt(at);
  }
  return bytes.subarray(0, length);
}

/** Writes as much of {@link encodeText} as there is room for. @returns how many bytes */
export function encodeInto(text: string, target: Uint8Array): number {
  if (!ESCAPED.test(text)) return encoder.encodeInto(text, target).written;
  const bytes = encodeText(text).subarray(0, target.length);
  target.set(bytes);
  return bytes.length;
}

/** A character for each byte, to be compared or searched; other bytes give another text. */
export function bytesAsText(bytes: Uint8Array): string {
  return byteDecoder.decode(bytes);
}

/** How many bytes {@link encodeText} makes of a text. */
export function byteLengthOf(text: string): number {
  return isAscii(text) ? text.length : encodeText(text).length;
}

/** Of a long text it is not found out. */
function isAscii(text: string): boolean {
  if (text.length > SHORT_TEXT) return false;
  for (let index = 0; index < text.length; index++) if (text.charCodeAt(index) > 127) return false;
  return true;
}

function decodeBy(by: TextDecoder, bytes: Uint8Array, start: number, end: number): string {
  if (end - start <= SHORT_TEXT) {
    let text = "";
    let index = start;
    for (; index < end; index++) {
      const byte = bytes[index]!;
      if (byte > 127) break;
      text += String.fromCharCode(byte);
    }
    if (index === end) return text;
  }
  return by.decode(bytes.subarray(start, end));
}
