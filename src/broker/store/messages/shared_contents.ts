/**
 * Contents that several messages have. They are written once, in the table `shared`; a trigger
 * counts their copies down, and with the last one they go. It costs every deletion something, so it
 * is there only while contents are shared.
 */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import { checksumOf } from "../file/checksum.ts";
import { LargeInsert } from "./large_insert.ts";
import type { Message } from "../../message/message.ts";

/** Bytes from which on a content that several messages have is written once. */
export const SHARED_FROM = 512;

const COUNT_COPIES = `CREATE TRIGGER IF NOT EXISTS message_gone
  AFTER DELETE ON message WHEN OLD.shared IS NOT NULL BEGIN
    UPDATE shared SET copies = copies - 1 WHERE id = OLD.shared;
    DELETE FROM shared WHERE id = OLD.shared AND copies <= 0;
  END`;
const COUNT_NO_COPIES = "DROP TRIGGER IF EXISTS message_gone";

export class SharedContents {
  readonly #database: DatabaseSync;
  readonly #insert: LargeInsert;
  readonly #any: StatementSync;
  /** Contents may be shared, and then their copies are counted. */
  #isSharing = true;
  /** This transaction has made sure of that. */
  #isCounting = false;
  /** The highest id so far. */
  #last: number;

  constructor(database: DatabaseSync) {
    this.#database = database;
    const columns = "shared(id, copies, checksum, content)";
    this.#insert = new LargeInsert(database, columns, "?, ?, ?, ?");
    this.#any = database.prepare("SELECT 1 FROM shared LIMIT 1");
    this.#last = Number(database.prepare("SELECT max(id) last FROM shared").get()!["last"] ?? 0);
  }

  /** A transaction has begun. */
  begin(): void {
    this.#isCounting = false;
    if (!this.#isSharing || this.#any.get() !== undefined) return;
    this.#database.exec(COUNT_NO_COPIES);
    this.#isSharing = false;
  }

  /**
   * Writes the content of a message if it is not small and others right behind it have the same, as
   * the copies of one publish do.
   * @returns its id, or null
   */
  share(messages: Message[], index: number): number | null {
    const { content, size } = messages[index]!;
    if (size < SHARED_FROM || messages[index + 1]?.content !== content) return null;
    // Once in each transaction: a rollback may have taken it away.
    if (!this.#isCounting) this.#database.exec(COUNT_COPIES);
    this.#isCounting = this.#isSharing = true;
    let end = index + 1;
    while (messages[end]?.content === content) end++;
    const { bytes } = content!;
    this.#insert.run([++this.#last, end - index, checksumOf(bytes), bytes]);
    return this.#last;
  }
}
