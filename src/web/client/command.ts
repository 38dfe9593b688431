/** Command lines that are shown to be copied. */

/**
 * The option that names a queue. Whatever a stranger has put into the name, for a shell it is a part
 * of this one word.
 */
export function queueOption(name: string): string {
  const escaped = name.replace(/[\\,=]/g, "\\$&");
  return `--queue${escaped.startsWith("-") ? "=" : " "}${quoted(escaped)}`;
}

/** What a terminal would obey or not show. */
const CONTROLS =
  // deno-lint-ignore no-control-regex
  /[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff]/g;

/** A word of bash, zsh or fish. */
function quoted(text: string): string {
  if (/^[\w.:@%+/-]+$/.test(text)) return text;
  const plain = `'${text.replaceAll("'", `'\\''`)}'`;
  if (text.search(CONTROLS) === -1) return plain;
  const escapes = text.replace(/['\\]/g, "\\$&").replace(
    CONTROLS,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  return `$'${escapes}'`;
}
