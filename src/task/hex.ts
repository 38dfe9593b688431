/** Bytes in hexadecimal, two digits each. @param between them, default nothing */
export function toHex(bytes: Uint8Array, between = ""): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(between);
}
