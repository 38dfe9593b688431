/** Bytes as base64. */

/** Bytes that become text at once: a call takes only so many arguments. */
const CHUNK = 24_573;

export function encodeBase64(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += CHUNK) {
    text += btoa(String.fromCharCode(...bytes.subarray(at, at + CHUNK)));
  }
  return text;
}
