/**
 * The payload of a content header frame (AMQP 0-9-1 section 4.2.6.1): class, weight, body size,
 * property flags, properties.
 *
 * A message keeps these bytes as its publisher sent them, so that everything in them arrives
 * unchanged. Here they are checked, looked into, and rewritten around what stays as it is.
 */

import { BASIC_PROPERTIES, type BasicProperty } from "../../amqp/protocol.ts";
import { ByteReader, ByteWriter, MalformedError, readLong, shortString } from "../wire/bytes.ts";
import { decodeText } from "../wire/text.ts";
import type { Content } from "./content.ts";
import { checked, lengthEnd, skipField } from "./field_ends.ts";
import { type Field, readField, readTable, type Table, writeField } from "../wire/fields.ts";

const INDEX = Object.fromEntries(BASIC_PROPERTIES.map((name, index) => [name, index])) as Record<
  BasicProperty,
  number
>;

/** How a property is laid out, by its index. */
const Layout = { shortString: 0, octet: 1, timestamp: 2, table: 3 } as const;
const LAYOUTS = Uint8Array.from(BASIC_PROPERTIES, (name) => {
  if (name === "headers") return Layout.table;
  if (name === "timestamp") return Layout.timestamp;
  return name === "deliveryMode" || name === "priority" ? Layout.octet : Layout.shortString;
});

/** Flags are the lower half of 32 bits, the one of the first property above all others. */
const FLAGS_ABOVE = 16;
const FLAGS_AT = 12;
const PROPERTIES_AT = 14;

/** What is rewritten, one after the other: an array for each would cost more than the writing. */
const rewritten = new ByteWriter(1024);

function flagOf(index: number): number {
  return 0x8000 >> index;
}

/** Where the properties lie in a header payload. One object is used again for every publish. */
export class ContentHeader {
  /** The bytes last scanned. Only valid until the next {@link scan}. */
  #bytes: Uint8Array = new Uint8Array();
  #start = 0;
  #end = 0;
  /** Which properties there are, and where these lie. */
  #flags = 0;
  readonly #starts = new Int32Array(BASIC_PROPERTIES.length);
  readonly #ends = new Int32Array(BASIC_PROPERTIES.length);

  bodySize = 0;
  /** Whether the headers name further routing keys (CC, BCC). */
  hasCopies = false;

  /**
   * Checks a header payload from its first to its last byte.
   * @throws {MalformedError} when it does not parse
   */
  scan(bytes: Uint8Array, start = 0, end = bytes.length): this {
    if (end - start < PROPERTIES_AT) throw new MalformedError("a content header is too short");
    // Mostly it is the array of the one before, and V8 notes each write of what is new.
    if (bytes !== this.#bytes) this.#bytes = bytes;
    this.#start = start;
    this.#end = end;
    this.bodySize = readLong(bytes, start + 4) * 0x1_0000_0000 + readLong(bytes, start + 8);
    this.hasCopies = false;
    const flags = bytes[start + FLAGS_AT]! * 256 + bytes[start + FLAGS_AT + 1]!;
    if ((flags & 3) !== 0) throw new MalformedError("a content header has unknown properties");
    this.#flags = flags;
    let position = start + PROPERTIES_AT;
    for (let left = flags; left !== 0;) {
      const index = Math.clz32(left) - FLAGS_ABOVE;
      left &= ~flagOf(index);
      this.#starts[index] = position;
      position = this.#skip(index, position, end);
      this.#ends[index] = position;
    }
    if (position !== end) throw new MalformedError("a content header does not end where it says");
    return this;
  }

  /** The same with the header of a content. */
  scanOf({ array, start, addressLength, headerEnd }: Content): this {
    return this.scan(array, start + addressLength, start + headerEnd);
  }

  #skip(index: number, position: number, end: number): number {
    const bytes = this.#bytes;
    switch (LAYOUTS[index]) {
      case Layout.table:
        return this.#skipHeaders(position, end);
      case Layout.octet:
        return checked(position + 1, end);
      case Layout.timestamp:
        return checked(position + 8, end);
      default:
        return checked(position + 1 + (bytes[position] ?? 0), end);
    }
  }

  #skipHeaders(position: number, end: number): number {
    const bytes = this.#bytes;
    const tableEnd = lengthEnd(bytes, position, end);
    position += 4;
    while (position < tableEnd) {
      const nameEnd = checked(position + 1 + bytes[position]!, tableEnd);
      if (isCopiesName(bytes, position)) this.hasCopies = true;
      position = skipField(bytes, nameEnd, tableEnd, 1);
    }
    return tableEnd;
  }

  has(name: BasicProperty): boolean {
    return this.#has(INDEX[name]);
  }

  #has(index: number): boolean {
    return (this.#flags & flagOf(index)) !== 0;
  }

  /** A short string property, or undefined when it is absent. */
  text(name: BasicProperty): string | undefined {
    return this.#text(INDEX[name]);
  }

  #text(index: number): string | undefined {
    if (!this.#has(index)) return undefined;
    return decodeText(this.#bytes, this.#starts[index]! + 1, this.#ends[index]!);
  }

  #octet(index: number): number | undefined {
    return this.#has(index) ? this.#bytes[this.#starts[index]!] : undefined;
  }

  // Asked for in each publish: finding the place of a name would take longer than all the rest.

  get deliveryMode(): number | undefined {
    return this.#octet(INDEX.deliveryMode);
  }

  get priority(): number | undefined {
    return this.#octet(INDEX.priority);
  }

  get expiration(): string | undefined {
    return this.#text(INDEX.expiration);
  }

  get replyTo(): string | undefined {
    return this.#text(INDEX.replyTo);
  }

  get userId(): string | undefined {
    return this.#text(INDEX.userId);
  }

  /** Seconds since 1970, or undefined when it is absent. */
  timestamp(): number | undefined {
    const start = this.#starts[INDEX.timestamp]!;
    if (!this.has("timestamp")) return undefined;
    return readLong(this.#bytes, start) * 0x1_0000_0000 + readLong(this.#bytes, start + 4);
  }

  headers(): Table {
    if (!this.has("headers")) return new Map();
    return readTable(
      new ByteReader(this.#bytes, this.#starts[INDEX.headers], this.#ends[INDEX.headers]),
    );
  }

  /**
   * The scanned payload with some properties changed. What is not named in `changes` keeps its bytes.
   * @returns what is only valid until the next one is rewritten
   */
  rewrite(changes: HeaderChanges): Uint8Array {
    rewritten.length = 0;
    rewritten.append(this.#bytes.subarray(this.#start, this.#start + FLAGS_AT));
    rewritten.short(0);
    let flags = 0;
    for (let index = 0; index < BASIC_PROPERTIES.length; index++) {
      const before = rewritten.length;
      this.#rewriteProperty(index, changes);
      if (rewritten.length > before) flags |= flagOf(index);
    }
    rewritten.bytes[FLAGS_AT] = flags >> 8;
    rewritten.bytes[FLAGS_AT + 1] = flags & 255;
    return rewritten.written;
  }

  /**
   * A copy of the scanned payload without the last elements of an array among the headers: so many
   * that it is shorter by so many bytes, but never the first one. The payload itself where there is
   * nothing to leave out.
   */
  shortened(name: string, bytes: number): Uint8Array {
    const payload = this.#bytes.subarray(this.#start, this.#end);
    const array = this.#arrayNamed(name);
    if (array === undefined || bytes <= 0) return payload;
    const [start, end] = array;
    let cut = start;
    for (let next = start; next < end;) {
      next = skipField(this.#bytes, next, end, 2);
      if (cut > start && next > end - bytes) break;
      cut = next;
    }
    const writer = new ByteWriter(payload.length);
    writer.append(this.#bytes.subarray(this.#start, cut));
    writer.append(this.#bytes.subarray(end, this.#start + payload.length));
    const table = this.#starts[INDEX.headers]!;
    writer.patchLong(start - 4 - this.#start, cut - start);
    writer.patchLong(table - this.#start, readLong(this.#bytes, table) - (end - cut));
    return writer.copy();
  }

  /** Where the elements of an array among the headers lie. */
  #arrayNamed(name: string): [start: number, end: number] | undefined {
    const field = this.#fieldNamed(name);
    const isArray = field !== undefined && this.#bytes[field[0]] === ARRAY;
    return isArray ? [field[0] + 5, field[1]] : undefined;
  }

  /** Where a header's value lies, its type included. */
  #fieldNamed(name: string): [start: number, end: number] | undefined {
    if (!this.has("headers")) return undefined;
    const bytes = this.#bytes;
    const wanted = shortString(name);
    const end = this.#ends[INDEX.headers]!;
    for (let position = this.#starts[INDEX.headers]! + 4; position < end;) {
      const nameEnd = position + 1 + bytes[position]!;
      const fieldEnd = skipField(bytes, nameEnd, end, 1);
      if (isAt(bytes, position, nameEnd, wanted)) return [nameEnd, fieldEnd];
      position = fieldEnd;
    }
    return undefined;
  }

  /** One of the headers. There may be thousands of others, which are not read. */
  field(name: string): Field | undefined {
    const place = this.#fieldNamed(name);
    return place && readField(new ByteReader(this.#bytes, ...place));
  }

  /** Whether an array among the headers has a table with a field: its name and value, encoded. */
  hasInArray(name: string, field: Uint8Array): boolean {
    const bytes = this.#bytes;
    const [start, end] = this.#arrayNamed(name) ?? [0, 0];
    for (let position = start; position < end;) {
      const next = skipField(bytes, position, end, 2);
      const isTable = bytes[position] === TABLE;
      for (position += 5; isTable && position < next;) {
        const fieldEnd = skipField(bytes, position + 1 + bytes[position]!, next, 3);
        if (isAt(bytes, position, fieldEnd, field)) return true;
        position = fieldEnd;
      }
      position = next;
    }
    return false;
  }

  #rewriteProperty(index: number, changes: HeaderChanges): void {
    const name = BASIC_PROPERTIES[index]!;
    if (name === "expiration" && changes.dropExpiration) return;
    if (name === "replyTo" && changes.replyTo !== undefined) {
      return rewritten.shortstr(changes.replyTo);
    }
    if (name === "headers" && (changes.drop || changes.set)) {
      return this.#rewriteHeaders(changes.drop ?? [], changes.set ?? new Map());
    }
    if (this.#has(index)) {
      rewritten.append(this.#bytes.subarray(this.#starts[index], this.#ends[index]));
    }
  }

  #rewriteHeaders(drop: string[], set: Table): void {
    const lengthAt = rewritten.length;
    rewritten.long(0);
    const end = this.has("headers") ? this.#ends[INDEX.headers]! : 0;
    for (let position = this.#starts[INDEX.headers]! + 4; position < end;) {
      const nameEnd = position + 1 + this.#bytes[position]!;
      const name = decodeText(this.#bytes, position + 1, nameEnd);
      const fieldEnd = skipField(this.#bytes, nameEnd, end, 1);
      if (!drop.includes(name) && !set.has(name)) {
        rewritten.append(this.#bytes.subarray(position, fieldEnd));
      }
      position = fieldEnd;
    }
    for (const [name, field] of set) {
      rewritten.shortstr(name);
      writeField(rewritten, field);
    }
    rewritten.patchLong(lengthAt, rewritten.length - lengthAt - 4);
    const empty = rewritten.length === lengthAt + 4;
    if (empty && !this.has("headers")) rewritten.length = lengthAt;
  }
}

export interface HeaderChanges {
  replyTo?: string;
  dropExpiration?: boolean;
  /** Names of headers to leave out. */
  drop?: string[];
  /** Headers to add or to replace. */
  set?: Table;
}

const ARRAY = "A".charCodeAt(0);
const TABLE = "F".charCodeAt(0);

/** Whether bytes from `start` to `end` are these. */
function isAt(bytes: Uint8Array, start: number, end: number, wanted: Uint8Array): boolean {
  if (end - start !== wanted.length) return false;
  return wanted.every((byte, index) => bytes[start + index] === byte);
}

const C = 67;
const B = 66;

/** Whether the header at `position` is called CC or BCC. */
function isCopiesName(bytes: Uint8Array, position: number): boolean {
  const length = bytes[position];
  if (length === 2) return bytes[position + 1] === C && bytes[position + 2] === C;
  return length === 3 && bytes[position + 1] === B && bytes[position + 2] === C &&
    bytes[position + 3] === C;
}
