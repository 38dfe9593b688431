/**
 * AMQP 0-9-1 on the wire, for tests: written from the specification and independent of both the
 * client package and the broker's codec, so that a fault in one of those cannot hide in here.
 * Encoding checks nothing: tests send wrong things on purpose.
 */

/** A table value with its wire type, where the JavaScript type does not say which one is meant. */
export class Typed {
  /** @param type the type letter, RabbitMQ's reading of it (`l` and `L` both signed 64 bits) */
  constructor(readonly type: string, readonly value: unknown) {}
}

export type Table = Record<string, unknown>;

/** A growing buffer. */
export class WireWriter {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  take(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#length);
  }

  octet(value: number): void {
    const at = this.#grow(1);
    this.#view.setUint8(at, value);
  }

  short(value: number): void {
    const at = this.#grow(2);
    this.#view.setUint16(at, value);
  }

  long(value: number): void {
    const at = this.#grow(4);
    this.#view.setUint32(at, value);
  }

  longlong(value: number | bigint): void {
    const at = this.#grow(8);
    this.#view.setBigInt64(at, BigInt(value));
  }

  float(value: number): void {
    const at = this.#grow(4);
    this.#view.setFloat32(at, value);
  }

  double(value: number): void {
    const at = this.#grow(8);
    this.#view.setFloat64(at, value);
  }

  raw(bytes: Uint8Array): void {
    const at = this.#grow(bytes.length);
    this.#bytes.set(bytes, at);
  }

  shortstr(value: string): void {
    const bytes = new TextEncoder().encode(value);
    this.octet(bytes.length);
    this.raw(bytes);
  }

  longstr(value: string | Uint8Array): void {
    const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value;
    this.long(bytes.length);
    this.raw(bytes);
  }

  table(table: Table): void {
    const inner = new WireWriter();
    for (const [name, value] of Object.entries(table)) {
      inner.shortstr(name);
      inner.value(value);
    }
    this.longstr(inner.take());
  }

  /** A table value with its type letter. */
  value(value: unknown): void {
    const { type, value: plain } = value instanceof Typed ? value : typed(value);
    this.octet(type.charCodeAt(0));
    switch (type) {
      case "t":
        return this.octet(plain ? 1 : 0);
      case "b":
      case "B":
        return this.octet(plain as number);
      case "s":
      case "u":
        return this.short(plain as number);
      case "I":
      case "i":
        return this.long(plain as number);
      case "l":
      case "L":
      case "T":
        return this.longlong(plain as number | bigint);
      case "f":
        return this.float(plain as number);
      case "d":
        return this.double(plain as number);
      case "D": {
        const [scale, unscaled] = plain as [number, number];
        this.octet(scale);
        return this.long(unscaled);
      }
      case "S":
      case "x":
        return this.longstr(plain as string | Uint8Array);
      case "A": {
        const inner = new WireWriter();
        for (const element of plain as unknown[]) inner.value(element);
        return this.longstr(inner.take());
      }
      case "F":
        return this.table(plain as Table);
      case "V":
        return;
      default: // a type that does not exist: nothing but the letter
        return;
    }
  }

  /** Makes room and gives its offset; may replace the buffer and the view. */
  #grow(count: number): number {
    const at = this.#length;
    this.#length += count;
    if (this.#length > this.#bytes.length) {
      const bigger = new Uint8Array(Math.max(this.#length, 2 * this.#bytes.length));
      bigger.set(this.#bytes);
      this.#bytes = bigger;
      this.#view = new DataView(bigger.buffer);
    }
    return at;
  }
}

function typed(value: unknown): Typed {
  switch (typeof value) {
    case "string":
      return new Typed("S", value);
    case "boolean":
      return new Typed("t", value);
    case "bigint":
      return new Typed("l", value);
    case "number":
      if (!Number.isInteger(value)) return new Typed("d", value);
      return new Typed(Math.abs(value) < 2 ** 31 ? "I" : "l", value);
    case "object":
      if (value === null) return new Typed("V", null);
      if (value instanceof Uint8Array) return new Typed("x", value);
      if (Array.isArray(value)) return new Typed("A", value);
      return new Typed("F", value);
    default:
      throw new TypeError(`No AMQP type for ${typeof value}`);
  }
}

const text = new TextDecoder("utf-8", { ignoreBOM: true });

/** Reads a payload; numbers of 64 bits come as numbers where they are safe, else as bigint. */
export class WireReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  /** @param types give table values as Typed instead of plain JavaScript values */
  constructor(bytes: Uint8Array, readonly types = false) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get ended(): boolean {
    return this.#at >= this.#bytes.length;
  }

  octet(): number {
    return this.#view.getUint8(this.#skip(1));
  }

  short(): number {
    return this.#view.getUint16(this.#skip(2));
  }

  long(): number {
    return this.#view.getUint32(this.#skip(4));
  }

  longlong(): number | bigint {
    const value = this.#view.getBigInt64(this.#skip(8));
    return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  }

  shortstr(): string {
    return text.decode(this.#take(this.octet()));
  }

  longstr(): string {
    return text.decode(this.#take(this.long()));
  }

  table(): Table {
    const inner = new WireReader(this.#take(this.long()), this.types);
    const table: Table = {};
    while (!inner.ended) table[inner.shortstr()] = inner.value();
    return table;
  }

  value(): unknown {
    const type = String.fromCharCode(this.octet());
    const value = this.#plainValue(type);
    return this.types ? new Typed(type, value) : value;
  }

  #plainValue(type: string): unknown {
    switch (type) {
      case "t":
        return this.octet() !== 0;
      case "b":
        return this.#view.getInt8(this.#skip(1));
      case "B":
        return this.octet();
      case "s":
        return this.#view.getInt16(this.#skip(2));
      case "u":
        return this.short();
      case "I":
        return this.#view.getInt32(this.#skip(4));
      case "i":
        return this.long();
      case "l":
      case "L":
      case "T":
        return this.longlong();
      case "f":
        return this.#view.getFloat32(this.#skip(4));
      case "d":
        return this.#view.getFloat64(this.#skip(8));
      case "D":
        return [this.octet(), this.long()];
      case "S":
        return this.longstr();
      case "x":
        return this.#take(this.long()).slice();
      case "A": {
        const inner = new WireReader(this.#take(this.long()), this.types);
        const values: unknown[] = [];
        while (!inner.ended) values.push(inner.value());
        return values;
      }
      case "F":
        return this.table();
      case "V":
        return null;
      default:
        throw new Error(`Unknown type '${type}' in a table`);
    }
  }

  #skip(count: number): number {
    const at = this.#at;
    this.#at += count;
    return at;
  }

  #take(count: number): Uint8Array {
    const at = this.#skip(count);
    if (this.#at > this.#bytes.length) throw new RangeError("A field is longer than its frame");
    return this.#bytes.subarray(at, this.#at);
  }
}
