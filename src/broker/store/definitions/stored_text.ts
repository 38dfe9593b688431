/** Names and keys are stored as bytes: any character may be in them, NUL included. */

import { decodeText, encodeText as storedBytes } from "../../wire/text.ts";

export { storedBytes };

/** Of each byte. */
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/** The bytes for SQLite's unhex(). */
export function storedHex(text: string): string {
  let hex = "";
  for (const byte of storedBytes(text)) hex += HEX[byte];
  return hex;
}

/** @param bytes a column as SQLite gives it */
export function storedText(bytes: unknown): string {
  const { length } = bytes as Uint8Array;
  return decodeText(bytes as Uint8Array, 0, length);
}
