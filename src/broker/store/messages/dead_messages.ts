/**
 * Which stored messages are dead, and wait for a queue to go to: after a restart they must not be
 * ready again. Their rows stay among the others. Most messages never are in this table: they are
 * dead and gone in one commit.
 */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { ContentLengths } from "../../message/content.ts";
import type { DeathReason } from "../../message/deaths.ts";
import type { Message } from "../../message/message.ts";
import { idOf, LAST_POSITION, LAYOUT_HEADER, POSITION_BITS } from "../file/message_row.ts";

/** A dead message, as a former process left it. */
export interface StoredDead extends ContentLengths {
  readonly lane: number;
  readonly position: number;
  readonly reason: DeathReason;
  readonly expiresAt: number;
  readonly deliveries: number;
}

interface Row extends Omit<StoredDead, "addressLength" | "headerLength"> {
  /** Null when the message is not there any more. */
  readonly layout: number | null;
}

export class DeadMessages {
  readonly #database: DatabaseSync;
  readonly #onChange: () => void;
  readonly #onDamage: (error: unknown) => void;
  readonly #select: StatementSync;
  readonly #insert: StatementSync;
  readonly #delete: StatementSync;
  /** Those in the table, those included that the next commit writes. */
  readonly #all = new Set<Message>();
  readonly #inserts = new Map<Message, DeathReason>();
  readonly #deletes = new Set<Message>();
  /** Rows of messages that are not there any more are in the table. */
  #hasStrays = false;

  /**
   * @param onChange told of every change that waits for a commit
   * @param onDamage told when what is stored cannot be read
   */
  constructor(
    database: DatabaseSync,
    onChange: () => void,
    onDamage: (error: unknown) => void,
  ) {
    this.#onDamage = onDamage;
    this.#database = database;
    this.#onChange = onChange;
    this.#select = database.prepare(
      `SELECT dead.id >> ${POSITION_BITS} lane, dead.id & ${LAST_POSITION} position, reason,
         message.expires_at expiresAt, message.deliveries, layout,
         length(coalesce(shared.content, message.content)) size
       FROM dead LEFT JOIN message ON message.id = dead.id
         LEFT JOIN shared ON shared.id = message.shared
       ORDER BY dead.id`,
    );
    this.#insert = database.prepare(`INSERT OR REPLACE INTO dead VALUES (${idOf("?", "?")}, ?)`);
    this.#delete = database.prepare(`DELETE FROM dead WHERE id = ${idOf("?", "?")}`);
  }

  /** Whether a commit would write anything because of a message. */
  get dirty(): boolean {
    return this.#inserts.size > 0 || this.#deletes.size > 0;
  }

  /** Those of former processes. None if one cannot be read: then they are ready. */
  stored(): StoredDead[] {
    let rows: Row[];
    try {
      rows = this.#select.all() as unknown as Row[];
    } catch (error) {
      this.#onDamage(error);
      return [];
    }
    const found = rows.filter(({ layout }) => layout !== null);
    this.#hasStrays = found.length < rows.length;
    return found.map(({ layout, ...row }) => ({
      ...row,
      addressLength: layout! % LAYOUT_HEADER,
      headerLength: Math.floor(layout! / LAYOUT_HEADER),
    }));
  }

  /** A message of a former process is in the table. */
  restore(message: Message): void {
    this.#all.add(message);
  }

  /** A message must not be ready after a restart. */
  add(message: Message, reason: DeathReason): void {
    if (!message.durable || this.#all.has(message)) return;
    this.#all.add(message);
    this.#inserts.set(message, reason);
    this.#onChange();
  }

  /** A message is gone; it need not be one of these. */
  remove(message: Message): void {
    if (!this.#all.delete(message)) return;
    this.#inserts.delete(message);
    this.#deletes.add(message);
  }

  /** Inside the transaction of the caller. */
  write(): void {
    if (this.#hasStrays) {
      this.#database.exec("DELETE FROM dead WHERE id NOT IN (SELECT id FROM message)");
    }
    for (const { lane, position } of this.#deletes) this.#delete.run(lane.id, position);
    for (const [{ lane, position }, reason] of this.#inserts) {
      if (!lane.dropped) this.#insert.run(lane.id, position, reason);
    }
  }

  /** All of it is on disk. */
  written(): void {
    this.#hasStrays = false;
    this.#inserts.clear();
    this.#deletes.clear();
  }
}
