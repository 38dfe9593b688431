/**
 * Field tables (AMQP 0-9-1 section 4.2.5) with RabbitMQ's field types.
 *
 * Not the client package's AMQPView: that one forgets whether an integer was 8, 16, 32 or 64 bits
 * wide and turns decimals into floats. Here argument errors name the field type, and tables are
 * written back with fields that we never touched.
 */

import { type ByteReader, ByteWriter, MalformedError } from "./bytes.ts";

/** Deepest nesting of tables and arrays that is read. */
export const MAX_DEPTH = 64;

export type Field =
  | { type: "bool"; value: boolean }
  | { type: IntegerType; value: number }
  | { type: "long" | "timestamp"; value: bigint }
  | { type: "float" | "double"; value: number }
  | { type: "decimal"; scale: number; value: number }
  | { type: "longstr"; value: string }
  | { type: "binary"; value: Uint8Array }
  | { type: "table"; value: Table }
  | { type: "array"; value: Field[] }
  | { type: "void"; value: null };

type IntegerType =
  | "byte"
  | "unsignedbyte"
  | "short"
  | "unsignedshort"
  | "signedint"
  | "unsignedint";

/** Field names in the order in which they were sent. The first of two equal names counts. */
export type Table = Map<string, Field>;

/** RabbitMQ's names of the types, by their octet on the wire. */
const TYPES: Record<string, Field["type"]> = {
  t: "bool",
  b: "byte",
  B: "unsignedbyte",
  s: "short",
  u: "unsignedshort",
  I: "signedint",
  i: "unsignedint",
  // RabbitMQ writes back what it reads of either as "l".
  L: "long",
  l: "long",
  f: "float",
  d: "double",
  D: "decimal",
  S: "longstr",
  x: "binary",
  T: "timestamp",
  F: "table",
  A: "array",
  V: "void",
};

const TYPE_OCTETS = new Map(
  Object.entries(TYPES).map(([letter, type]) => [type, letter.charCodeAt(0)]),
);

/** @throws {MalformedError} when the bytes end early, nest too deeply or hold an unknown type */
export function readTable(reader: ByteReader, depth = 0): Table {
  const end = enter(reader, depth);
  const table: Table = new Map();
  while (reader.position < end) {
    const name = reader.looseShortstr();
    const field = readField(reader, depth);
    if (!table.has(name)) table.set(name, field);
  }
  if (reader.position !== end) throw new MalformedError("a table does not end where it says");
  return table;
}

function readArray(reader: ByteReader, depth: number): Field[] {
  const end = enter(reader, depth);
  const fields: Field[] = [];
  while (reader.position < end) fields.push(readField(reader, depth));
  if (reader.position !== end) throw new MalformedError("an array does not end where it says");
  return fields;
}

/** Reads a length and returns the position at which the table or array must end. */
function enter(reader: ByteReader, depth: number): number {
  if (depth > MAX_DEPTH) throw new MalformedError(`tables nest deeper than ${MAX_DEPTH}`);
  const length = reader.long();
  const end = reader.position + length;
  if (end > reader.end) throw new MalformedError("a table is longer than its frame");
  return end;
}

export function readField(reader: ByteReader, depth = 0): Field {
  const octet = reader.octet();
  const type = TYPES[String.fromCharCode(octet)];
  switch (type) {
    case "bool":
      return { type, value: reader.octet() !== 0 };
    case "byte":
      return { type, value: reader.signedOctet() };
    case "unsignedbyte":
      return { type, value: reader.octet() };
    case "short":
      return { type, value: reader.signedShort() };
    case "unsignedshort":
      return { type, value: reader.short() };
    case "signedint":
      return { type, value: reader.signedLong() };
    case "unsignedint":
      return { type, value: reader.long() };
    case "long":
    case "timestamp":
      return { type, value: reader.signedLonglong() };
    case "float":
      return { type, value: reader.float() };
    case "double":
      return { type, value: reader.double() };
    case "decimal":
      return { type, scale: reader.octet(), value: reader.long() };
    case "longstr":
      return { type, value: reader.longstr() };
    case "binary":
      return { type, value: reader.bytes(reader.long()) };
    case "table":
      return { type, value: readTable(reader, depth + 1) };
    case "array":
      return { type, value: readArray(reader, depth + 1) };
    case "void":
      return { type, value: null };
    default:
      throw new MalformedError(`unknown field type ${octet}`);
  }
}

export function writeTable(writer: ByteWriter, table: Table): void {
  const start = writer.length;
  writer.long(0);
  for (const [name, field] of table) {
    writer.shortstr(name);
    writeField(writer, field);
  }
  writer.patchLong(start, writer.length - start - 4);
}

export function writeField(writer: ByteWriter, field: Field): void {
  writer.octet(TYPE_OCTETS.get(field.type)!);
  switch (field.type) {
    case "bool":
      return writer.octet(field.value ? 1 : 0);
    case "byte":
    case "unsignedbyte":
      return writer.octet(field.value);
    case "short":
    case "unsignedshort":
      return writer.short(field.value);
    case "signedint":
    case "unsignedint":
      return writer.long(field.value);
    case "long":
    case "timestamp":
      return writer.signedLonglong(field.value);
    case "float":
      return writer.float(field.value);
    case "double":
      return writer.double(field.value);
    case "decimal":
      writer.octet(field.scale);
      return writer.long(field.value);
    case "longstr":
      return writer.longstr(field.value);
    case "binary":
      writer.long(field.value.length);
      return writer.append(field.value);
    case "table":
      return writeTable(writer, field.value);
    case "array": {
      const start = writer.length;
      writer.long(0);
      for (const item of field.value) writeField(writer, item);
      return writer.patchLong(start, writer.length - start - 4);
    }
    case "void":
  }
}

export function encodeTable(table: Table): Uint8Array {
  const writer = new ByteWriter();
  writeTable(writer, table);
  return writer.copy();
}

/** The value of an integer field of any width, or undefined for every other type. */
export function integerOf(field: Field | undefined): number | undefined {
  switch (field?.type) {
    case "byte":
    case "unsignedbyte":
    case "short":
    case "unsignedshort":
    case "signedint":
    case "unsignedint":
      return field.value;
    case "long":
      return Number(field.value);
    default:
      return undefined;
  }
}

export function textOf(field: Field | undefined): string | undefined {
  return field?.type === "longstr" ? field.value : undefined;
}

export function tableOf(field: Field | undefined): Table | undefined {
  return field?.type === "table" ? field.value : undefined;
}

/** Equality as RabbitMQ compares arguments: integers of any width are one class, so are floats. */
export function equalFields(one: Field | undefined, other: Field | undefined): boolean {
  if (one === undefined || other === undefined) return one === other;
  const [integer, otherInteger] = [exactIntegerOf(one), exactIntegerOf(other)];
  if (integer !== undefined && otherInteger !== undefined) {
    return isSameNumber(integer, otherInteger);
  }
  if (isFloat(one) && isFloat(other)) return one.value === other.value;
  return isSame(one, other);
}

/**
 * Whether two fields are written with the same bytes. What differs is found out by the first
 * difference: a large one may be compared with very many small ones.
 */
function isSame(one: Field, other: Field): boolean {
  if (one.type === "table") return other.type === "table" && isSameTable(one.value, other.value);
  if (one.type === "array") return other.type === "array" && isSameArray(one.value, other.value);
  if (one.type === "binary") return other.type === "binary" && equalBytes(one.value, other.value);
  if (one.type !== other.type || !Object.is(one.value, other.value)) return false;
  return one.type !== "decimal" || other.type !== "decimal" || one.scale === other.scale;
}

function isSameTable(one: Table, other: Table): boolean {
  if (one.size !== other.size) return false;
  const others = other.entries();
  for (const [name, field] of one) {
    const [otherName, otherField] = others.next().value!;
    if (name !== otherName || !isSame(field, otherField)) return false;
  }
  return true;
}

function isSameArray(one: readonly Field[], other: readonly Field[]): boolean {
  return one.length === other.length && one.every((field, index) => isSame(field, other[index]!));
}

/** A number of any type, a time among them. */
export function numberOf(field: Field): number | bigint | undefined {
  if (isFloat(field)) return field.value as number;
  return field.type === "timestamp" ? field.value : exactIntegerOf(field);
}

/** As {@link integerOf}, which rounds large ones. */
function exactIntegerOf(field: Field): number | bigint | undefined {
  return field.type === "long" ? field.value : integerOf(field);
}

/** Of any two types: order is by value, and exact. */
function isSameNumber(one: number | bigint, other: number | bigint): boolean {
  return one <= other && one >= other;
}

function isFloat(field: Field): boolean {
  return field.type === "float" || field.type === "double";
}

function equalBytes(one: Uint8Array, other: Uint8Array): boolean {
  if (one.length !== other.length) return false;
  for (let index = 0; index < one.length; index++) if (one[index] !== other[index]) return false;
  return true;
}

/** A field's value in an error text, as RabbitMQ prints it. */
export function describeField(field: Field): string {
  switch (field.type) {
    case "table":
      return `{table of ${field.value.size} fields}`;
    case "array":
      return `[${field.value.map(describeField).join(",")}]`;
    case "binary":
      return `{${field.value.length} bytes}`;
    case "decimal":
      return `{${field.scale},${field.value}}`;
    case "void":
      return "undefined";
    default:
      return String(field.value);
  }
}
