/** Text in columns. */

/** What it is written for. */
export interface Paper {
  /** Characters in a line. */
  readonly columns: number;
  readonly bold: (text: string) => string;
}

/** A paragraph, or rows of a term and what it means. */
export type Block =
  | { readonly text: string }
  | { readonly rows: readonly Row[] };

export type Row = readonly [term: string, meaning: string];

/** Where meanings begin beside terms that are not longer. */
const TERM_COLUMNS = 26;

/**
 * Reads the text of a section, which is written as it looks: paragraphs are indented by two blanks
 * and have an empty line between them, rows are indented by four, with two blanks or more between
 * term and meaning, and what goes on with a meaning is indented more.
 */
export function blocksOf(section: string): Block[] {
  const blocks: Block[] = [];
  let rows: [string, string][] | undefined;
  let lines: string[] = [];
  function endParagraph(): void {
    if (lines.length > 0) blocks.push({ text: lines.join(" ") });
    lines = [];
  }
  for (const line of section.split("\n")) {
    const row = /^ {4}(\S.*?)(?: {2,}(.*))?$/.exec(line);
    if (row !== null) {
      endParagraph();
      if (rows === undefined) blocks.push({ rows: rows = [] });
      rows.push([row[1]!, row[2] ?? ""]);
    } else if (rows !== undefined && line.startsWith("     ")) {
      const last = rows.at(-1)!;
      last[1] = `${last[1]} ${line.trim()}`.trim();
    } else {
      rows = undefined;
      if (line.trim() === "") endParagraph();
      else lines.push(line.trim());
    }
  }
  endParagraph();
  return blocks;
}

/** Lines of a paragraph. */
export function paragraph(text: string, columns: number, indent = 0): string[] {
  return wrap(text, columns - indent).map((line) => " ".repeat(indent) + line);
}

/** Lines of rows, the terms in bold. */
export function table(rows: readonly Row[], paper: Paper, indent = 2): string[] {
  const longest = Math.max(...rows.map(([term]) => term.length));
  const left = Math.min(longest, TERM_COLUMNS) + indent + 2;
  return rows.flatMap(([term, meaning]) => {
    const lines = wrap(meaning, Math.max(20, paper.columns - left));
    const head = " ".repeat(indent) + paper.bold(term);
    const fits = term.length <= left - indent - 2;
    const first = meaning === ""
      ? head
      : fits
      ? head + " ".repeat(left - indent - term.length) + lines.shift()
      : head;
    if (meaning === "") return [first];
    return [first, ...lines.map((line) => " ".repeat(left) + line)];
  });
}

/** Breaks at blanks; a word that is longer than a line stands on its own. */
function wrap(text: string, columns: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(/\s+/)) {
    if (line !== "" && line.length + 1 + word.length > columns) {
      lines.push(line);
      line = word;
    } else {
      line = line === "" ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}
