/** Headers in which a publisher names further routing keys: receivers see CC, and not BCC. */

import { COPY_HEADERS } from "../../task/headers.ts";
import { SHORT_STRING_BYTES } from "../../task/short_string.ts";
import { preconditionFailed } from "../wire/faults.ts";
import { type Table, textOf } from "../wire/fields.ts";
import { byteLengthOf } from "../wire/text.ts";

/** @throws {Fault} precondition-failed when one of them is no list, or has what can be no key */
export function copiesOf(headers: Table): string[] {
  return COPY_HEADERS.flatMap((name) => {
    const field = headers.get(name);
    if (field === undefined || field.type === "array") return keysOf(headers, name);
    throw preconditionFailed(
      `invalid message: {unacceptable_type_in_header,"${name}",${field.type}}`,
    );
  });
}

/** A key without end would be looked for among patterns without end. */
function keysOf(headers: Table, name: string): string[] {
  const keys = shownCopies(headers, name);
  if (!keys.some(isTooLong)) return keys;
  throw preconditionFailed(
    `invalid message: a routing key in header ${name} is longer than ${SHORT_STRING_BYTES} bytes`,
  );
}

function isTooLong(key: string): boolean {
  // Most are far from it, and there may be thousands.
  return key.length > SHORT_STRING_BYTES / 3 && byteLengthOf(key) > SHORT_STRING_BYTES;
}

/** Those that receivers see; a header that is no list names none. */
export function shownCopies(headers: Table, name = "CC"): string[] {
  const field = headers.get(name);
  if (field?.type !== "array") return [];
  return field.value.map(textOf).filter((key) => key !== undefined);
}
