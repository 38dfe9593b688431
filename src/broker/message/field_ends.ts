/** Where the fields of a table end, as they lie in a header: checked, and not read. */

import { MalformedError, readLong } from "../wire/bytes.ts";
import { MAX_DEPTH } from "../wire/fields.ts";

/** @throws {MalformedError} when it is behind the end */
export function checked(position: number, end: number): number {
  if (position > end) throw new MalformedError("a property is longer than its frame");
  return position;
}

/** The end of something that begins with its length in four bytes. @throws {MalformedError} */
export function lengthEnd(bytes: Uint8Array, position: number, end: number): number {
  return checked(checked(position + 4, end) + readLong(bytes, position), end);
}

/** Checks one field value and returns the position after it. @throws {MalformedError} */
export function skipField(bytes: Uint8Array, position: number, end: number, depth: number): number {
  checked(position + 1, end);
  switch (String.fromCharCode(bytes[position++]!)) {
    case "V":
      return position;
    case "t":
    case "b":
    case "B":
      return checked(position + 1, end);
    case "s":
    case "u":
      return checked(position + 2, end);
    case "I":
    case "i":
    case "f":
      return checked(position + 4, end);
    case "D":
      return checked(position + 5, end);
    case "l":
    case "L":
    case "d":
    case "T":
      return checked(position + 8, end);
    case "S":
    case "x":
      return lengthEnd(bytes, position, end);
    case "F":
      return skipNested(bytes, position, end, depth, true);
    case "A":
      return skipNested(bytes, position, end, depth, false);
    default:
      throw new MalformedError(`unknown field type ${bytes[position - 1]}`);
  }
}

function skipNested(
  bytes: Uint8Array,
  position: number,
  end: number,
  depth: number,
  named: boolean,
): number {
  if (depth > MAX_DEPTH) throw new MalformedError(`tables nest deeper than ${MAX_DEPTH}`);
  const nestedEnd = lengthEnd(bytes, position, end);
  position += 4;
  while (position < nestedEnd) {
    if (named) position = checked(position + 1 + bytes[position]!, nestedEnd);
    position = skipField(bytes, position, nestedEnd, depth + 1);
  }
  return nestedEnd;
}
