/** Names and keys are stored as bytes: any character may be in them, NUL included. */

import { decodeText } from "../../wire/text.ts";

export { encodeText as storedBytes } from "../../wire/text.ts";

/** @param bytes a column as SQLite gives it */
export function storedText(bytes: unknown): string {
  const { length } = bytes as Uint8Array;
  return decodeText(bytes as Uint8Array, 0, length);
}
