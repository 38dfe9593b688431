/** The headers of a record as AMQP holds them. */
import { RecordError, requireObject, shown, wellFormed } from "./record_error.ts";
import { membersOf } from "./record_text.ts";
import { SHORT_STRING_BYTES, utf8Length } from "./short_string.ts";
import type { Field } from "./task.ts";

/** Of tables and lists in headers; brokers and clients read them by recursion. */
const MAX_HEADER_DEPTH = 32;

/**
 * @param written the headers as JSON, where the record was text: numbers keep all their digits
 * @throws {RecordError} a name or a value that AMQP cannot hold, or a name that is there twice
 */
export function readHeaders(value: unknown, written?: string): Record<string, Field> {
  requireObject("headers", value);
  if (written === undefined) return toTable("headers", value, 1);
  membersOf("headers", written);
  return toTable("headers", /\d{16}/.test(written) ? parseExactly(written) : value, 1);
}

function toTable(path: string, table: object, depth: number): Record<string, Field> {
  if (depth > MAX_HEADER_DEPTH) throw tooDeep(path);
  // A field named __proto__ is a field like any other.
  return Object.fromEntries(
    Object.entries(table).filter(([, value]) => value !== undefined).map(([name, value]) => {
      const bytes = name.isWellFormed() ? utf8Length(name) : 0;
      if (bytes >= 1 && bytes <= SHORT_STRING_BYTES) {
        return [name, toField(`${path}.${name}`, value, depth)];
      }
      throw new RecordError(path, "have names of 1 to 255 bytes in UTF-8", `has ${shown(name)}`);
    }),
  );
}

function toField(path: string, value: unknown, depth: number): Field {
  switch (typeof value) {
    case "string":
      return wellFormed(path, value);
    case "boolean":
      return value;
    case "bigint":
      if (BigInt.asIntN(64, value) === value) return value;
      break;
    case "number":
      if (Number.isInteger(value)) {
        if (Number.isSafeInteger(value) || fitsInt64(value)) return value;
      } else if (Number.isFinite(value)) return value;
      break;
    case "object":
      if (value === null || value instanceof Uint8Array) return value;
      if (value instanceof Date) {
        if (!Number.isNaN(value.getTime())) return value;
      } else if (Array.isArray(value)) {
        if (depth >= MAX_HEADER_DEPTH) throw tooDeep(path);
        return value.map((item, i) => toField(`${path}.${i}`, item ?? null, depth + 1));
      } else return toTable(path, value, depth + 1);
  }
  const requirement =
    "be text, true, false, null, a list, an object, or a number that AMQP can hold " +
    "(whole ones of 64 bits)";
  throw new RecordError(path, requirement, `is ${shown(value)}`);
}

function fitsInt64(value: number): boolean {
  return value >= -(2 ** 63) && value < 2 ** 63;
}

function tooDeep(path: string): RecordError {
  // The whole path would be as deep.
  const [header] = path.slice("headers.".length).split(".", 1);
  return new RecordError(`headers.${header}`, `be at most ${MAX_HEADER_DEPTH} deep`, "is deeper");
}

/** The same with whole numbers beyond 2^53 as bigints. */
function parseExactly(text: string): object {
  // The types of the standard library lack the third argument.
  const exact = (_name: string, value: unknown, { source = "" }: { source?: string } = {}) =>
    typeof value === "number" && !Number.isSafeInteger(value) && /^-?\d+$/.test(source)
      ? BigInt(source)
      : value;
  try {
    return JSON.parse(text, exact);
  } catch {
    // Revivers work by recursion, the parser does not.
    throw new RecordError("headers", `be at most ${MAX_HEADER_DEPTH} deep`, "are deeper");
  }
}
