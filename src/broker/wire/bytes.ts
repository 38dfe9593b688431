/**
 * Reading and writing AMQP's basic types (AMQP 0-9-1 section 4.2) on byte arrays. Every read is
 * checked against the end of what was received; a short input throws {@link MalformedError}.
 */

/** Bytes from a peer that do not parse. The session answers 501 or 502 and closes. */
export class MalformedError extends Error {
  override readonly name = "MalformedError";
}

/** Bytes that should be text and are not UTF-8. */
export class NotTextError extends MalformedError {}

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const strictDecoder = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });
const encoder = new TextEncoder();
const byteDecoder = new TextDecoder("latin1");

/** Longest text done byte by byte; TextDecoder and TextEncoder only pay off beyond it. */
const SHORT_TEXT = 48;

/**
 * UTF-8 to text. A byte 0xNN that belongs to no valid sequence becomes the lone surrogate U+DCNN,
 * which no UTF-8 gives: what differs as bytes differs as text, and {@link encodeText} gives back
 * the bytes.
 */
export function decodeText(bytes: Uint8Array, start: number, end: number): string {
  const text = decodeBy(decoder, bytes, start, end);
  return text.includes("\ufffd") ? decodeEscaped(bytes, start, end) : text;
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

/** A character for each byte, to be compared or searched; other bytes give another text. */
export function bytesAsText(bytes: Uint8Array): string {
  return byteDecoder.decode(bytes);
}

/** How many bytes {@link encodeText} makes of a text. */
export function byteLengthOf(text: string): number {
  return encodeText(text).length;
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

/** Bytes up to which copying them one by one takes less time than a view of them, which is garbage. */
const FEW_BYTES = 192;

/** Copies bytes from `start` to `end` into another array. */
export function copyBytes(
  from: Uint8Array,
  start: number,
  end: number,
  to: Uint8Array,
  at: number,
): void {
  if (end - start > FEW_BYTES) return to.set(from.subarray(start, end), at);
  for (let index = start; index < end; index++) to[at++] = from[index]!;
}

/** Four bytes, where a {@link ByteReader} would cost more than the reading. */
export function readLong(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>>
    0;
}

/** A cursor over received bytes. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly end: number;
  position: number;

  constructor(bytes: Uint8Array, position = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.position = position;
    this.end = end;
  }

  #take(length: number): number {
    const start = this.position;
    if (length > this.end - start) {
      throw new MalformedError(`need ${length} bytes, ${this.end - start} left`);
    }
    this.position = start + length;
    return start;
  }

  octet(): number {
    return this.#view.getUint8(this.#take(1));
  }

  signedOctet(): number {
    return this.#view.getInt8(this.#take(1));
  }

  short(): number {
    return this.#view.getUint16(this.#take(2));
  }

  signedShort(): number {
    return this.#view.getInt16(this.#take(2));
  }

  long(): number {
    return this.#view.getUint32(this.#take(4));
  }

  signedLong(): number {
    return this.#view.getInt32(this.#take(4));
  }

  /** Unsigned 64 bits as a number: delivery tags beyond 2^53 do not exist here. */
  longlong(): number {
    const start = this.#take(8);
    return this.#view.getUint32(start) * 0x1_0000_0000 + this.#view.getUint32(start + 4);
  }

  signedLonglong(): bigint {
    return this.#view.getBigInt64(this.#take(8));
  }

  float(): number {
    return this.#view.getFloat32(this.#take(4));
  }

  double(): number {
    return this.#view.getFloat64(this.#take(8));
  }

  /**
   * A name. It must be UTF-8: two names that differ must stay different.
   * @throws {NotTextError}
   */
  shortstr(): string {
    const length = this.octet();
    const start = this.#take(length);
    try {
      return decodeBy(strictDecoder, this.#bytes, start, start + length);
    } catch (error) {
      throw new NotTextError("Malformed UTF-8 in shortstr", { cause: error });
    }
  }

  /** A short string that is passed on as bytes, whatever they are, and only looked at as text. */
  looseShortstr(): string {
    const length = this.octet();
    const start = this.#take(length);
    return decodeText(this.#bytes, start, start + length);
  }

  longstr(): string {
    const length = this.long();
    const start = this.#take(length);
    return decodeText(this.#bytes, start, start + length);
  }

  /** A copy: received buffers are used again. */
  bytes(length: number): Uint8Array {
    const start = this.#take(length);
    return this.#bytes.slice(start, start + length);
  }

  /** The bytes from `start` up to the cursor, copied. */
  since(start: number): Uint8Array {
    return this.#bytes.slice(start, this.position);
  }

  skip(length: number): void {
    this.#take(length);
  }
}

/** A growing array of bytes to send or store. */
export class ByteWriter {
  bytes: Uint8Array;
  length = 0;
  #view: DataView;

  constructor(capacity = 256) {
    this.bytes = new Uint8Array(capacity);
    this.#view = new DataView(this.bytes.buffer);
  }

  /** Makes room for `count` more bytes. */
  reserve(count: number): void {
    const needed = this.length + count;
    if (needed <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, this.bytes.length * 2));
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
    this.#view = new DataView(grown.buffer);
  }

  /** It is empty, and its memory is free. */
  free(): void {
    (this.bytes.buffer as ArrayBuffer).transfer(0);
    this.bytes = new Uint8Array(0);
    this.#view = new DataView(this.bytes.buffer);
    this.length = 0;
  }

  octet(value: number): void {
    this.reserve(1);
    this.bytes[this.length++] = value;
  }

  short(value: number): void {
    this.reserve(2);
    this.#view.setUint16(this.length, value);
    this.length += 2;
  }

  long(value: number): void {
    this.reserve(4);
    this.#view.setUint32(this.length, value);
    this.length += 4;
  }

  longlong(value: number): void {
    this.reserve(8);
    this.#view.setUint32(this.length, Math.floor(value / 0x1_0000_0000));
    this.#view.setUint32(this.length + 4, value >>> 0);
    this.length += 8;
  }

  signedLonglong(value: bigint): void {
    this.reserve(8);
    this.#view.setBigInt64(this.length, value);
    this.length += 8;
  }

  float(value: number): void {
    this.reserve(4);
    this.#view.setFloat32(this.length, value);
    this.length += 4;
  }

  double(value: number): void {
    this.reserve(8);
    this.#view.setFloat64(this.length, value);
    this.length += 8;
  }

  /** Text beyond 255 bytes is cut: AMQP has no way to send it. */
  shortstr(text: string): void {
    const start = this.length;
    this.reserve(256);
    if (text.length <= SHORT_TEXT && this.#writeAscii(text, start + 1)) {
      this.bytes[start] = text.length;
      this.length = start + 1 + text.length;
      return;
    }
    const written = this.#writeText(text, start + 1);
    this.bytes[start] = written;
    this.length = start + 1 + written;
  }

  /** @returns how many bytes fitted into 255 */
  #writeText(text: string, at: number): number {
    if (!ESCAPED.test(text)) {
      return encoder.encodeInto(text, this.bytes.subarray(at, at + 255)).written;
    }
    const bytes = encodeText(text).subarray(0, 255);
    this.bytes.set(bytes, at);
    return bytes.length;
  }

  #writeAscii(text: string, at: number): boolean {
    for (let index = 0; index < text.length; index++) {
      const code = text.charCodeAt(index);
      if (code > 127) return false;
      this.bytes[at + index] = code;
    }
    return true;
  }

  longstr(text: string): void {
    const bytes = encodeText(text);
    this.long(bytes.length);
    this.append(bytes);
  }

  append(bytes: Uint8Array): void {
    this.reserve(bytes.length);
    this.bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  /** The bytes of an array from `start` to `end`. */
  appendPart(bytes: Uint8Array, start: number, end: number): void {
    this.reserve(end - start);
    copyBytes(bytes, start, end, this.bytes, this.length);
    this.length += end - start;
  }

  /** Overwrites four bytes written before: a length that is only known afterwards. */
  patchLong(position: number, value: number): void {
    this.#view.setUint32(position, value);
  }

  /** What was written, copied. */
  copy(): Uint8Array {
    return this.bytes.slice(0, this.length);
  }
}

/** A text as {@link ByteWriter.shortstr} writes it. */
export function shortString(text: string): Uint8Array {
  const writer = new ByteWriter();
  writer.shortstr(text);
  return writer.copy();
}
