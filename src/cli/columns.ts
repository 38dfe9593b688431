/** Rows of text in columns. */
import { widthOf } from "./text_width.ts";

/**
 * The rows as lines, their cells aligned: texts to the left, numbers to the right.
 *
 * @param rows of equal length, the head first; safe to be shown
 * @param texts how many columns hold texts; the others hold numbers
 */
export function inColumns(rows: readonly (readonly string[])[], texts: number): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => widthOf(row[column]!))));
  return rows.map((row) =>
    row.map((cell, column) => {
      const room = " ".repeat(widths[column]! - widthOf(cell));
      return column < texts ? cell + room : room + cell;
    }).join("  ") + "\n"
  ).join("");
}
