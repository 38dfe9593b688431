/** Headers in which a publisher names further routing keys: receivers see CC, and not BCC. */

import { COPY_HEADERS } from "../../task/headers.ts";
import { preconditionFailed } from "../wire/faults.ts";
import { type Table, textOf } from "../wire/fields.ts";

/** @throws {Fault} precondition-failed when one of them is no list */
export function copiesOf(headers: Table): string[] {
  return COPY_HEADERS.flatMap((name) => {
    const field = headers.get(name);
    if (field === undefined || field.type === "array") return shownCopies(headers, name);
    throw preconditionFailed(
      `invalid message: {unacceptable_type_in_header,"${name}",${field.type}}`,
    );
  });
}

/** Those that receivers see; a header that is no list names none. */
export function shownCopies(headers: Table, name = "CC"): string[] {
  const field = headers.get(name);
  if (field?.type !== "array") return [];
  return field.value.map(textOf).filter((key) => key !== undefined);
}
