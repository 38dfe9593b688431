/**
 * Signed requests as Standard Webhooks has them (https://www.standardwebhooks.com): HMAC-SHA256 over
 * id, time and body. Libraries for most languages check them.
 */
import type { createHmac } from "node:crypto";

const PREFIX = "whsec_";
/** What the specification asks for. */
const KEY_BYTES = { least: 24, most: 64 };

/**
 * Reads keys, one a line; the first is for signing, and so are the others, while they are being
 * replaced.
 *
 * @throws {Error} the end of a sentence
 */
export function parseKeys(lines: readonly string[]): readonly Uint8Array[] {
  const keys = lines.map((line) => {
    const key = line.startsWith(PREFIX) ? fromBase64(line.slice(PREFIX.length)) : undefined;
    if (key !== undefined && key.length >= KEY_BYTES.least && key.length <= KEY_BYTES.most) {
      return key;
    }
    throw new Error(
      `must hold keys of ${KEY_BYTES.least} to ${KEY_BYTES.most} bytes as ${PREFIX} and base64, ` +
        "one a line, and has a line that is none",
    );
  });
  if (keys.length > 0) return keys;
  throw new Error("must hold a key, and is empty");
}

/** @param seconds since 1970 */
export function signatureHeaders(
  hmac: typeof createHmac,
  keys: readonly Uint8Array[],
  id: string,
  seconds: number,
  body: Uint8Array,
): Record<string, string> {
  const signatures = keys.map((key) =>
    `v1,${hmac("sha256", key).update(`${id}.${seconds}.`).update(body).digest("base64")}`
  );
  return {
    "webhook-id": id,
    "webhook-timestamp": String(seconds),
    "webhook-signature": signatures.join(" "),
  };
}

function fromBase64(text: string): Uint8Array | undefined {
  try {
    return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  } catch {
    return undefined;
  }
}
