/** How much a JSON text holds, found without reading it: values take far more memory than their text. */
import { Problem } from "../observe/problem.ts";

/** Values of one body, about: lists, objects, and what is in them. */
const MOST_VALUES = 12_000;

const [QUOTE, BACKSLASH, COMMA, OPEN_LIST, OPEN_OBJECT] = [...'"\\,[{'].map((letter) =>
  letter.charCodeAt(0)
);

/** @throws {Problem} 413: reading it would hold up everybody else */
export function requireFewValues(json: Uint8Array): void {
  let count = 0;
  let inText = false;
  for (let at = 0; at < json.length; at++) {
    const byte = json[at];
    if (byte === QUOTE) inText = !inText;
    else if (inText) at += byte === BACKSLASH ? 1 : 0;
    else if (byte === COMMA || byte === OPEN_LIST || byte === OPEN_OBJECT) count++;
    if (count > MOST_VALUES) {
      throw new Problem(413, `a body must have at most ${MOST_VALUES} values, and has more`);
    }
  }
}
