/**
 * Reading and writing AMQP's basic types (AMQP 0-9-1 section 4.2) on byte arrays. Every read is
 * checked against the end of what was received; a short input throws {@link MalformedError}.
 */

import { SHORT_STRING_BYTES } from "../../task/short_string.ts";
import { decodeStrictly, decodeText, encodeInto, encodeText, SHORT_TEXT } from "./text.ts";

/** Bytes from a peer that do not parse. The session answers 501 or 502 and closes. */
export class MalformedError extends Error {
  override readonly name = "MalformedError";
}

/** Bytes that should be text and are not UTF-8. */
export class NotTextError extends MalformedError {}

/**
 * Bytes up to which copying them takes less time than a view of them, which is garbage, too: as words,
 * and one by one.
 */
const SOME_BYTES = 256;
const FEW_BYTES = 40;

const WORD_BYTES = 8;

/** Bytes of arrays that are worth a view: those of connections that say little are not. */
const LARGE_ARRAY = 4 * 1024;

/** Arrays that words were copied from or to last, and their views: a view takes longer than the copy. */
const VIEWS = 4;
const viewed: Uint8Array[] = [];
const views: DataView[] = [];
let nextView = 0;

/** Copies bytes from `start` to `end` into another array. */
export function copyBytes(
  from: Uint8Array,
  start: number,
  end: number,
  to: Uint8Array,
  at: number,
): void {
  const length = end - start;
  if (length >= WORD_BYTES && length <= SOME_BYTES) {
    const isWorthViews = from.length >= LARGE_ARRAY && to.length >= LARGE_ARRAY;
    if (isWorthViews) return copyWords(from, start, end, to, at);
  }
  if (length > FEW_BYTES) return to.set(from.subarray(start, end), at);
  for (let index = start; index < end; index++) to[at++] = from[index]!;
}

/** In a fourth of the time. The last word may have bytes of the one before. */
function copyWords(
  from: Uint8Array,
  start: number,
  end: number,
  to: Uint8Array,
  at: number,
): void {
  const words = viewOf(from);
  const copied = viewOf(to);
  const last = end - WORD_BYTES;
  const shift = at - start;
  for (let index = start; index < last; index += WORD_BYTES) {
    copied.setBigInt64(index + shift, words.getBigInt64(index));
  }
  copied.setBigInt64(last + shift, words.getBigInt64(last));
}

/** What is received goes into a block and out of that to its receiver: three arrays in turn. */
function viewOf(bytes: Uint8Array): DataView {
  for (let index = 0; index < viewed.length; index++) {
    if (viewed[index] === bytes) return views[index]!;
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  viewed[nextView] = bytes;
  views[nextView] = view;
  nextView = (nextView + 1) % VIEWS;
  return view;
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
      return decodeStrictly(this.#bytes, start, start + length);
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
    if (this.#appendAscii(text, start + 1)) {
      this.bytes[start] = text.length;
      return;
    }
    this.reserve(1 + SHORT_STRING_BYTES);
    const end = start + 1 + SHORT_STRING_BYTES;
    const written = encodeInto(text, this.bytes.subarray(start + 1, end));
    this.bytes[start] = written;
    this.length = start + 1 + written;
  }

  longstr(text: string): void {
    const start = this.length;
    if (this.#appendAscii(text, start + 4)) return this.patchLong(start, text.length);
    const bytes = encodeText(text);
    this.long(bytes.length);
    this.append(bytes);
  }

  /** @returns false when it is not short, or not ASCII: then it is not written */
  #appendAscii(text: string, at: number): boolean {
    if (text.length > SHORT_TEXT) return false;
    this.reserve(at - this.length + text.length);
    for (let index = 0; index < text.length; index++) {
      const code = text.charCodeAt(index);
      if (code > 127) return false;
      this.bytes[at + index] = code;
    }
    this.length = at + text.length;
    return true;
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

  /** What was written, until more is. */
  get written(): Uint8Array {
    return this.bytes.subarray(0, this.length);
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
