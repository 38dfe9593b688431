/**
 * Transient messages for which memory has no room, in a file that is removed at the start and at the
 * end. Not synced: nothing in it outlives the process.
 */

import { type DatabaseSync, DatabaseSync as Database } from "node:sqlite";
import { MESSAGE_COLUMNS } from "../file/message_row.ts";
import { MessageTable } from "./message_table.ts";
import type { Refusals } from "../refusals.ts";
import {
  CHUNK_TABLE,
  createPrivately,
  NO_TEMPORARY_FILES,
  PACK_TABLE,
  SHARED_TABLE,
} from "../file/schema.ts";
import { runTransaction } from "../file/transaction.ts";

export class Scratch {
  readonly #path: string;
  readonly #refusals: Refusals;
  readonly #onDamage: (error: unknown) => void;
  readonly #onGone: () => void;
  #database: DatabaseSync | undefined;
  #messages: MessageTable | undefined;

  /**
   * @param path `:memory:` for none
   * @param onDamage told why rows cannot be read
   * @param onGone told that a body in chunks may have to be deleted
   */
  constructor(
    path: string,
    refusals: Refusals,
    onDamage: (error: unknown) => void,
    onGone: () => void,
  ) {
    this.#path = path;
    this.#refusals = refusals;
    this.#onDamage = onDamage;
    this.#onGone = onGone;
  }

  /** Undefined until it is opened. */
  get messages(): MessageTable | undefined {
    return this.#messages;
  }

  /** The same, but undefined as long as it has never held anything: then nobody need look. */
  get used(): MessageTable | undefined {
    return this.#messages?.isUsed ? this.#messages : undefined;
  }

  get database(): DatabaseSync | undefined {
    return this.#database;
  }

  open(): MessageTable {
    return this.#messages ??= this.#create();
  }

  #create(): MessageTable {
    this.removeLeft();
    if (this.#path !== ":memory:") createPrivately(this.#path);
    const database = new Database(this.#path);
    try {
      // Exclusive: nobody else opens it, and reading asks the system for no locks.
      database.exec("PRAGMA locking_mode = EXCLUSIVE");
      database.exec("PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF");
      database.exec(NO_TEMPORARY_FILES);
      database.exec(
        `CREATE TABLE message(${MESSAGE_COLUMNS});
         ${SHARED_TABLE};
         ${CHUNK_TABLE};
         ${PACK_TABLE};
         CREATE TABLE discarded(lane INTEGER, first INTEGER, last INTEGER, of TEXT)`,
      );
      const messages = new MessageTable(database, {
        onDamage: this.#onDamage,
        onGone: this.#onGone,
      });
      this.#database = database;
      return messages;
    } catch (error) {
      database.close();
      throw error;
    }
  }

  write(): void {
    const messages = this.#messages;
    if (!messages?.dirty) return;
    runTransaction(this.#database!, this.#refusals, {
      all: () => messages.write(),
      singly: (attempt) => messages.writeSingly(attempt, () => {}),
    });
    messages.written();
  }

  close(): void {
    this.#database?.close();
    try {
      this.removeLeft();
    } catch {
      // The disk has become read-only: the next start removes it.
    }
  }

  /** Removes what a former process has left. The data file is locked: nobody else can be using it. */
  removeLeft(): void {
    if (this.#path === ":memory:") return;
    try {
      Deno.removeSync(this.#path);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
}
