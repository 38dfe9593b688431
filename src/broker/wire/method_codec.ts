/** The payload of a method frame: ids, and the fields that its row has. */

import { type ByteReader, type ByteWriter, MalformedError } from "./bytes.ts";
import { readTable, type Table, writeTable } from "./fields.ts";
import {
  type Arguments,
  type Fields,
  type FieldTypes,
  type Method,
  METHOD_NAMES,
  type MethodName,
  METHODS,
  type Row,
} from "./methods.ts";

const NAMES = new Map<number, MethodName>();
for (const name of METHOD_NAMES) {
  const { classId, methodId } = METHODS[name];
  NAMES.set(classId * 0x10000 + methodId, name);
}

/**
 * Reads the ids at the start of a method frame's payload.
 * @returns undefined when no method has them
 */
export function readMethodName(reader: ByteReader): MethodName | undefined {
  return NAMES.get(reader.short() * 0x10000 + reader.short());
}

/**
 * Decodes what follows the ids in a method frame's payload.
 * @throws {MalformedError} when the arguments do not parse
 */
export function decodeArguments(name: MethodName, reader: ByteReader): Method {
  const args: Record<string, unknown> = {};
  let bits = 0;
  let bitsUsed = 8;
  const fields: Fields = METHODS[name].fields;
  for (const field in fields) {
    const type = fields[field]!;
    if (type !== "bit") {
      bitsUsed = 8;
      args[field] = readArgument(reader, type);
      continue;
    }
    if (bitsUsed === 8) {
      bits = reader.octet();
      bitsUsed = 0;
    }
    args[field] = (bits & (1 << bitsUsed++)) !== 0;
  }
  if (reader.position !== reader.end) {
    throw new MalformedError(`${reader.end - reader.position} bytes left after ${name}`);
  }
  return { name, args } as Method;
}

function readArgument(reader: ByteReader, type: keyof FieldTypes): unknown {
  switch (type) {
    case "octet":
      return reader.octet();
    case "short":
      return reader.short();
    case "long":
      return reader.long();
    case "longlong":
      return reader.longlong();
    case "shortstr":
      return reader.shortstr();
    case "longstr":
      return reader.longstr();
    case "bytes":
      return reader.bytes(reader.long());
    case "table":
      return readTable(reader);
    case "bit":
      throw new TypeError("bits are read by the octet");
  }
}

/** Writes a method frame's payload, ids included. */
export function encodeMethod<N extends MethodName>(
  writer: ByteWriter,
  name: N,
  args: Arguments<N>,
): void {
  const { classId, methodId, fields } = METHODS[name] as Row;
  writer.short(classId);
  writer.short(methodId);
  let bits = 0;
  let bitsUsed = 0;
  for (const field in fields) {
    const value = (args as Record<string, unknown>)[field];
    if (fields[field] === "bit") {
      if (value) bits |= 1 << bitsUsed;
      bitsUsed++;
      continue;
    }
    if (bitsUsed > 0) writer.octet(bits);
    bits = bitsUsed = 0;
    writeArgument(writer, fields[field]!, value);
  }
  if (bitsUsed > 0) writer.octet(bits);
}

function writeArgument(writer: ByteWriter, type: keyof FieldTypes, value: unknown): void {
  switch (type) {
    case "octet":
      return writer.octet(value as number);
    case "short":
      return writer.short(value as number);
    case "long":
      return writer.long(value as number);
    case "longlong":
      return writer.longlong(value as number);
    case "shortstr":
      return writer.shortstr(value as string);
    case "longstr":
      return writer.longstr(value as string);
    case "bytes":
      writer.long((value as Uint8Array).length);
      return writer.append(value as Uint8Array);
    case "table":
      return writeTable(writer, value as Table);
    case "bit":
      throw new TypeError("bits are written by the octet");
  }
}
