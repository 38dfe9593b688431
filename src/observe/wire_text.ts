/** Text in a header, of which node:http makes a character for each byte. */

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** What is meant where the bytes are UTF-8, as curl and many libraries write it; else undefined. */
export function textOnWire(text: string): string | undefined {
  // deno-lint-ignore no-control-regex
  if (!/[\x80-\xff]/.test(text) || /[^\x00-\xff]/.test(text)) return text;
  try {
    return decoder.decode(Uint8Array.from(text, (char) => char.charCodeAt(0)));
  } catch {
    return undefined;
  }
}
