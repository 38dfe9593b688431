/**
 * Contents that several messages have. They are written once, in the table `shared`; a trigger
 * counts their copies down, and with the last one they go. It costs every deletion something, so it
 * is there only while contents are shared. What is in chunks has a row there, too, however many have
 * it (`bodies.ts`), which stays until its chunks are gone.
 */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import { checksumOf } from "../file/checksum.ts";
import { COUNT_COPIES } from "../file/schema.ts";
import { LargeInsert } from "./large_insert.ts";
import type { Message } from "../../message/message.ts";

/** Bytes from which on a content that several messages have is written once. */
export const SHARED_FROM = 512;

const COUNT_NO_COPIES = "DROP TRIGGER IF EXISTS message_gone";

const NO_BYTES = new Uint8Array();

export class SharedContents {
  readonly #database: DatabaseSync;
  readonly #insert: LargeInsert;
  readonly #update: StatementSync;
  readonly #any: StatementSync;
  /** Contents may be shared, and then their copies are counted. */
  #isSharing = true;
  /** This transaction has made sure of that. */
  #isCounting = false;
  /** The highest id so far. */
  #last: number;

  constructor(database: DatabaseSync) {
    this.#database = database;
    const columns = "shared(id, copies, checksum, content, body)";
    this.#insert = new LargeInsert(database, columns, "?, ?, ?, ?, ?");
    this.#update = database.prepare("UPDATE shared SET copies = copies + ? WHERE id = ?");
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
  share(messages: readonly Message[], index: number): number | null {
    const { content, size } = messages[index]!;
    if (size < SHARED_FROM || messages[index + 1]?.content !== content) return null;
    const { bytes } = content!;
    const id = this.nextId();
    this.#add(id, copiesAt(messages, index), bytes, 0);
    return id;
  }

  /** An id that none has. */
  nextId(): number {
    return ++this.#last;
  }

  /** A body in chunks that no message has yet. */
  addBody(id: number, length: number): void {
    this.#add(id, 0, NO_BYTES, length);
  }

  addCopies(id: number, copies: number): void {
    this.#count();
    this.#update.run(copies, id);
  }

  #add(id: number, copies: number, bytes: Uint8Array, body: number): void {
    this.#count();
    this.#insert.run([id, copies, checksumOf(bytes), bytes, body]);
  }

  /** Once in each transaction: a rollback may have taken it away. */
  #count(): void {
    if (!this.#isCounting) this.#database.exec(COUNT_COPIES);
    this.#isCounting = this.#isSharing = true;
  }
}

/** How many behind one another have the content of one. */
export function copiesAt(messages: readonly Message[], index: number): number {
  const { content } = messages[index]!;
  let end = index + 1;
  while (messages[end]?.content === content) end++;
  return end - index;
}
