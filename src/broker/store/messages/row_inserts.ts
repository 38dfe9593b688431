/** INSERTs into one table, many rows with one statement: fewer calls into SQLite. */

import type { DatabaseSync, StatementSync } from "node:sqlite";

/** Rows of a statement, the most first: what is left of many is soon written, too. */
const SIZES = [64, 16, 4, 1];

export type Value = number | Uint8Array;

export class RowInserts {
  readonly #database: DatabaseSync;
  readonly #into: string;
  readonly #row: string;
  /** Values of a row. */
  readonly #width: number;
  /** By their sizes. Made when they are needed, which takes as long as some rows. */
  readonly #statements = new Map<number, StatementSync>();

  /**
   * @param into a table with its columns
   * @param row SQL for the values of a row, in which each "?" is one that {@link insert} gets
   */
  constructor(database: DatabaseSync, into: string, row: string) {
    this.#database = database;
    this.#into = into;
    this.#row = row;
    this.#width = row.split("?").length - 1;
  }

  /** @param values of all rows, behind one another */
  insert(values: readonly Value[]): void {
    let at = 0;
    for (const size of SIZES) {
      const count = size * this.#width;
      for (; at + count <= values.length; at += count) {
        this.#statementOf(size).run(...values.slice(at, at + count));
      }
    }
  }

  #statementOf(size: number): StatementSync {
    let statement = this.#statements.get(size);
    if (statement === undefined) {
      const rows = Array(size).fill(this.#row).join(",");
      statement = this.#database.prepare(`INSERT INTO ${this.#into} VALUES ${rows}`);
      this.#statements.set(size, statement);
    }
    return statement;
  }
}
