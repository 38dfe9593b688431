/** Rows of text in columns. */

/**
 * The rows as lines, their cells aligned: texts to the left, numbers to the right.
 *
 * @param rows of equal length, the head first; safe to be shown
 * @param texts how many columns hold texts; the others hold numbers
 */
export function inColumns(rows: readonly (readonly string[])[], texts: number): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row.map((cell, column) =>
      column < texts ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)
    ).join("  ") + "\n"
  ).join("");
}
