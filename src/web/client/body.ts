/** A body as text, as JSON, as hex. */

export type As = "JSON" | "Text" | "Hex";

/** Bytes of a body that are shown as hex. */
const MOST_HEX = 16 * 1024;

export function bytesOf(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

export function textOf(body: Uint8Array): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(body);
}

/** Whether all of it is UTF-8. */
export function isText(body: Uint8Array): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(body);
    return true;
  } catch {
    return false;
  }
}

/** The ways to show a body, the best one first. */
export function waysOf(body: Uint8Array, contentType: unknown): As[] {
  if (!isText(body)) return ["Hex", "Text"];
  const isJson = /json/.test(String(contentType)) || /^\s*[{[]/.test(textOf(body));
  return isJson && pretty(body) !== undefined ? ["JSON", "Text", "Hex"] : ["Text", "Hex"];
}

export function bodyAs(body: Uint8Array, as: As): string {
  if (as === "Hex") return hex(body);
  return as === "JSON" ? pretty(body) ?? textOf(body) : textOf(body);
}

/** Numbers that JavaScript would change make it stay as it is. */
function pretty(body: Uint8Array): string | undefined {
  const text = textOf(body);
  try {
    const value = JSON.parse(text);
    const digits = (json: string) => json.match(/[-\d.eE+]{16,}|\d[eE][-+]?\d{3}/g)?.join() ?? "";
    const shown = JSON.stringify(value, null, 2);
    return digits(shown) === digits(text) ? shown : text;
  } catch {
    return undefined;
  }
}

function hex(body: Uint8Array): string {
  const lines: string[] = [];
  for (let at = 0; at < Math.min(body.length, MOST_HEX); at += 16) {
    const row = [...body.subarray(at, at + 16)];
    const codes = row.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const text = row.map((byte) => byte >= 32 && byte < 127 ? String.fromCharCode(byte) : ".");
    lines.push(`${at.toString(16).padStart(6, "0")}  ${codes.padEnd(47)}  ${text.join("")}`);
  }
  if (body.length > MOST_HEX) lines.push("\u2026");
  return lines.join("\n");
}
