/** Reads the users of the data file. Writes nothing. */

import type { DatabaseSync } from "node:sqlite";
import { storedBytes } from "./stored_text.ts";

export class StoredUsers {
  readonly #database: DatabaseSync;

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  /** Whether there are any. */
  get any(): boolean {
    return this.#database.prepare("SELECT 1 FROM user LIMIT 1").get() !== undefined;
  }

  /** The hash of a user's password, as `connection/secret.ts` writes it; undefined: no such user. */
  secretOf(user: string): string | undefined {
    const row = this.#database.prepare("SELECT secret FROM user WHERE name = ?").get(
      storedBytes(user),
    );
    return row?.["secret"] as string | undefined;
  }
}
