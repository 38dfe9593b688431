/**
 * An INSERT whose values may be large. A statement keeps a copy of its last values: of these none
 * stays behind.
 */

import type { DatabaseSync, StatementSync } from "node:sqlite";

export class LargeInsert {
  readonly #statement: StatementSync;

  /** @param into a table with its columns @param values SQL for them */
  constructor(database: DatabaseSync, into: string, values: string) {
    this.#statement = database.prepare(`INSERT INTO ${into} SELECT ${values} WHERE ?`);
  }

  run(values: readonly (number | Uint8Array | null)[]): void {
    this.#statement.run(...values, 1);
    this.#statement.run(...values.map(() => null), 0);
  }
}
