/** How wide texts are on a terminal. */

const MARK = /\p{M}|\u200d|\ufe0f/u;
const WIDE =
  /\p{Emoji_Presentation}|[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]/u;

/** Columns that a terminal gives a text. */
export function widthOf(text: string): number {
  let width = 0;
  for (const char of text) width += MARK.test(char) ? 0 : WIDE.test(char) ? 2 : 1;
  return width;
}

/** At most so many columns of it; a text that is cut ends with "..". */
export function cut(text: string, columns: number): string {
  if (widthOf(text) <= columns) return text;
  const mark = columns > 4 ? ".." : "";
  let short = "";
  let width = mark.length;
  for (const char of text) {
    width += widthOf(char);
    if (width > columns) break;
    short += char;
  }
  return short + mark;
}

/** Names of queues differ at their ends. */
const TAIL = 14;
/** A shorter one says nothing. */
const LEAST_TAIL = 6;

/** The same of the name of a queue, of which the end is kept, too. */
export function shortened(name: string, columns: number): string {
  const tail = Math.min(TAIL, Math.floor(columns / 2));
  if (widthOf(name) <= columns || tail < LEAST_TAIL) return cut(name, columns);
  const chars = [...name];
  const end = chars.slice(-tail).join("");
  return cut(chars.slice(0, -tail).join(""), columns - widthOf(end)) + end;
}
