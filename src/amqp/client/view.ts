/**
 * The package's AMQPView, as this project reads and writes AMQP fields: everything here that does
 * imports it from this file.
 *
 * Works around @cloudamqp/amqp-client 4.1.1:
 * - It uses node's Buffer for strings where there is one. Under Deno there always is, and touching
 *   it for the first time loads node's compatibility layer: 10 ms of a process that lives for 40
 *   otherwise. Here TextEncoder and TextDecoder do it.
 * - It trusts the length that a string or a byte array claims. Here both end where the view ends:
 *   behind it lie other frames of the read buffer.
 * - It rounds fractions to 32 bits and whole numbers of 64 bits to 53, and sets the prototype of a
 *   table with a field named `__proto__`.
 *
 * The package creates views by itself, too. So the methods are replaced for all views, and not in a
 * subclass.
 */
import { AMQPView } from "@cloudamqp/amqp-client/amqp-view";
import { SHORT_STRING_BYTES } from "../../task/short_string.ts";

const encoder = new TextEncoder();
/** A byte order mark is part of the string, as in every other AMQP client. */
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
/** UTF-16 code units of a text that is written one by one; bytes of one that is looked up. */
const SHORT_LENGTH = 64;

function readString(view: AMQPView, start: number, length: number): string {
  if (start + length > view.byteLength) throw beyondEnd(length);
  if (length === 0) return "";
  const bytes = new Uint8Array(view.buffer, view.byteOffset + start, length);
  return length > SHORT_LENGTH ? decoder.decode(bytes) : readName(bytes, 0, length);
}

function beyondEnd(length: number): RangeError {
  return new RangeError(`a string of ${length} bytes goes beyond the end of its frame`);
}

/**
 * A short string that most messages have in common: of their queue, their type.
 *
 * @param at its length
 * @param end of the frame
 * @throws {RangeError} it is not whole
 */
export function nameAt(bytes: Uint8Array, at: number, end: number): string {
  const length = lengthAt(bytes, at, end);
  if (length === 0) return "";
  if (length > SHORT_LENGTH) return decoder.decode(bytes.subarray(at + 1, at + 1 + length));
  return readName(bytes, at + 1, length);
}

/** A short string of this message alone. */
export function textAt(bytes: Uint8Array, at: number, end: number): string {
  const length = lengthAt(bytes, at, end);
  return length === 0 ? "" : decoder.decode(bytes.subarray(at + 1, at + 1 + length));
}

function lengthAt(bytes: Uint8Array, at: number, end: number): number {
  const length = at < end ? bytes[at]! : 0;
  if (at + 1 + length > end) throw beyondEnd(length);
  return length;
}

/**
 * The last names that were read. Most come with each message: of its queue, its type, its headers.
 * To compare one costs less than to decode it, and leaves nothing behind.
 */
const names: ({ readonly bytes: Uint8Array; readonly text: string } | undefined)[] = [];
const NAMES_KEPT = 256;

function readName(bytes: Uint8Array, start: number, length: number): string {
  let hash = length;
  let bits = 0;
  for (let i = 0; i < length; i++) {
    const byte = bytes[start + i]!;
    hash = Math.imul(hash, 31) + byte | 0;
    bits |= byte;
  }
  const place = (hash ^ hash >>> 8) & (NAMES_KEPT - 1);
  const known = names[place];
  if (known !== undefined && isAt(bytes, start, length, known.bytes)) return known.text;
  const name = bytes.slice(start, start + length);
  // A decoder takes 0.1 ms of a process's start, and longer for a short text in any case.
  const text = bits < 0x80
    ? String.fromCharCode.apply(null, name as unknown as number[])
    : decoder.decode(name);
  names[place] = { bytes: name, text };
  return text;
}

function isAt(bytes: Uint8Array, start: number, length: number, name: Uint8Array): boolean {
  if (length !== name.length) return false;
  for (let i = 0; i < length; i++) if (bytes[start + i] !== name[i]) return false;
  return true;
}

/** Returns the bytes written. @throws {RangeError} the view is too small */
function writeString(view: AMQPView, start: number, text: string): number {
  return writeAscii(view, start, text) ?? writeUtf8(view, start, text);
}

/** Names and ids are short and plain, and done before an encoder is called. undefined: not it. */
function writeAscii(view: AMQPView, start: number, text: string): number | undefined {
  const { length } = text;
  if (length > SHORT_LENGTH || start + length > view.byteLength) return undefined;
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i);
    if (code >= 0x80) return undefined;
    view.setUint8(start + i, code);
  }
  return length;
}

function writeUtf8(view: AMQPView, start: number, text: string): number {
  const room = new Uint8Array(view.buffer, view.byteOffset, view.byteLength).subarray(start);
  const { read, written } = encoder.encodeInto(text, room);
  if (read < text.length) throw new RangeError("a string goes beyond the end of its frame");
  return written;
}

AMQPView.prototype.getShortString = function (byteOffset) {
  const length = this.getUint8(byteOffset);
  return [readString(this, byteOffset + 1, length), length + 1];
};

AMQPView.prototype.setShortString = function (byteOffset, text) {
  // Written first and measured after: a longer one is cut off by the error, never sent.
  const written = writeString(this, byteOffset + 1, text);
  if (written > SHORT_STRING_BYTES) {
    throw new TypeError(
      `a short string must be at most ${SHORT_STRING_BYTES} bytes, and has ${written}`,
    );
  }
  this.setUint8(byteOffset, written);
  return written + 1;
};

AMQPView.prototype.getLongString = function (byteOffset, littleEndian) {
  const length = this.getUint32(byteOffset, littleEndian);
  return [readString(this, byteOffset + 4, length), length + 4];
};

AMQPView.prototype.setLongString = function (byteOffset, text, littleEndian) {
  const written = writeString(this, byteOffset + 4, text);
  this.setUint32(byteOffset, written, littleEndian);
  return written + 4;
};

/** A copy: the read buffer is overwritten by the next read. */
AMQPView.prototype.getByteArray = function (byteOffset, littleEndian) {
  const length = this.getUint32(byteOffset, littleEndian);
  const start = byteOffset + 4;
  if (start + length > this.byteLength) {
    throw new RangeError(`${length} bytes go beyond the end of their frame`);
  }
  return [new Uint8Array(this.buffer, this.byteOffset + start, length).slice(), length + 4];
};

/** As the package's, but a field named `__proto__` is a field and not the table's prototype. */
AMQPView.prototype.getTable = function (byteOffset, littleEndian) {
  const length = this.getUint32(byteOffset, littleEndian) + 4;
  const table: ReturnType<typeof this.getTable>[0] = {};
  for (let at = byteOffset + 4; at < byteOffset + length;) {
    const [name, nameLength] = this.getShortString(at);
    const [value, valueLength] = this.getField(at + nameLength, littleEndian);
    at += nameLength + valueLength;
    if (name === "__proto__") {
      Object.defineProperty(table, name, {
        value,
        writable: true,
        enumerable: true,
        configurable: true,
      });
    } else {
      table[name] = value;
    }
  }
  return [table, length];
};

/** A field's type bytes (section 4.2.5.5, and RabbitMQ's errata of it). */
const TYPE = { double: 0x64, long: 0x6c, unsignedLong: 0x4c } as const;

const { getField, setField } = AMQPView.prototype;

/** As the package's, but whole numbers of 64 bits keep all their digits, as a bigint if need be. */
AMQPView.prototype.getField = function (byteOffset, littleEndian) {
  const type = this.getUint8(byteOffset);
  if (type !== TYPE.long && type !== TYPE.unsignedLong) {
    return getField.call(this, byteOffset, littleEndian);
  }
  const whole = type === TYPE.long
    ? this.getBigInt64(byteOffset + 1, littleEndian)
    : this.getBigUint64(byteOffset + 1, littleEndian);
  const number = Number(whole);
  return [Number.isSafeInteger(number) ? number : whole, 9];
};

/** As the package's, but fractions are doubles: it rounds most of them to 32 bits. */
AMQPView.prototype.setField = function (byteOffset, field, littleEndian) {
  if (typeof field !== "number" || Number.isInteger(field)) {
    return setField.call(this, byteOffset, field, littleEndian);
  }
  this.setUint8(byteOffset, TYPE.double);
  this.setFloat64(byteOffset + 1, field, littleEndian);
  return 9;
};

export { AMQPView };
