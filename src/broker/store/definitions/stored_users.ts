/** Reads the users of the data file. Writes nothing. */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import { storedBytes } from "./stored_text.ts";

export class StoredUsers {
  readonly #any: StatementSync;
  readonly #secret: StatementSync;

  constructor(database: DatabaseSync) {
    this.#any = database.prepare("SELECT 1 FROM user LIMIT 1");
    this.#secret = database.prepare("SELECT secret FROM user WHERE name = ?");
  }

  /** Whether there are any. */
  get any(): boolean {
    return this.#any.get() !== undefined;
  }

  /** The hash of a user's password, as `connection/secret.ts` writes it; undefined: no such user. */
  secretOf(user: string): string | undefined {
    return this.#secret.get(storedBytes(user))?.["secret"] as string | undefined;
  }
}
