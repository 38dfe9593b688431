/** Writes the changes among the messages of one database as a run of statements. */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Content } from "../../message/content.ts";
import { checksumOf } from "../file/checksum.ts";
import { isWanted, type MessageChanges } from "./message_changes.ts";
import type { Range } from "./discards.ts";
import { LargeInsert } from "./large_insert.ts";
import { idOf, LAYOUT_HEADER, RANGE } from "../file/message_row.ts";
import type { Attempt } from "../refusals.ts";
import { SharedContents } from "./shared_contents.ts";
import { type Message, Row } from "../../message/message.ts";

/** Rows per INSERT statement: fewer calls into SQLite. */
const INSERT_ROWS = 32;

/** Bytes from which on a message has a statement for itself. */
const ALONE_BYTES = 256 * 1024;

/** In the row of a message whose content is shared. */
const NO_BYTES = new Uint8Array();

type Value = number | Uint8Array | null;

/** Values of a row whose content is its own, the id being two. */
const COLUMNS = 7;

export class MessageWriter {
  readonly #insertMany: StatementSync;
  readonly #insertOne: StatementSync;
  /** Of a message whose content is shared. */
  readonly #insertCopy: StatementSync;
  readonly #insertLarge: LargeInsert;
  readonly #delete: StatementSync;
  readonly #update: StatementSync;
  readonly #discard: StatementSync;
  readonly #shared: SharedContents;

  constructor(database: DatabaseSync) {
    const values = `(${idOf("?", "?")}, ?, ?, ?, ?, ?)`;
    const columns = "id, expires_at, deliveries, layout, content, checksum";
    const insert = `INSERT INTO message(${columns}) VALUES `;
    this.#insertOne = database.prepare(insert + values);
    this.#insertLarge = new LargeInsert(database, `message(${columns})`, values.slice(1, -1));
    this.#insertMany = database.prepare(insert + Array(INSERT_ROWS).fill(values).join(","));
    this.#insertCopy = database.prepare(
      `INSERT INTO message(${columns}, shared) VALUES (${idOf("?", "?")}, ?, ?, ?, ?, ?, ?)`,
    );
    this.#delete = database.prepare(`DELETE FROM message WHERE ${RANGE}`);
    this.#update = database.prepare(
      `UPDATE message SET deliveries = ? WHERE id = ${idOf("?", "?")}`,
    );
    this.#discard = database.prepare("INSERT INTO discarded VALUES (?, ?, ?)");
    this.#shared = new SharedContents(database);
  }

  /** Inside the transaction of the caller. After a rollback the changes can be written again. */
  write(changes: MessageChanges): void {
    this.#shared.begin();
    this.#writeInserts(changes.inserts.filter(isWanted));
    this.#writeOthers(changes);
  }

  /**
   * The same, message by message.
   * @param attempt runs a statement
   * @param onCounted told of the messages that are left out, and of those that stay
   */
  writeSingly(
    changes: MessageChanges,
    attempt: Attempt,
    onCounted: (message: Message, change: 1 | -1) => void,
  ): void {
    const { inserts, authors } = changes;
    const indexes = [...inserts.keys()];
    for (const index of indexes) {
      const message = inserts[index]!;
      if (!isWanted(message)) continue;
      const author = authors[index];
      const undo = () => message.lane.forget(message);
      const isWritten = attempt({ author, what: "a message", undo }, () => {
        this.#writeOne(message);
      });
      if (isWritten) continue;
      message.refused();
      onCounted(message, -1);
      const source = author?.source;
      const isUnwritten = source?.message.row === Row.skipped;
      if (source === undefined || !changes.keep(source)) continue;
      onCounted(source.message, 1);
      if (isUnwritten) indexes.push(inserts.indexOf(source.message));
    }
    this.#writeOthers(changes);
  }

  /** What takes nothing from a client but its place. */
  #writeOthers(changes: MessageChanges): void {
    const { removals, updates, discards, shortDiscards } = changes;
    for (const range of discards) this.#writeDiscard(range);
    if (changes.isPostponed) {
      for (const range of changes.postponed()) this.#writeDiscard(range);
      return;
    }
    for (const [lane, positions] of removals) {
      if (!lane.dropped) this.#writeRemovals(lane.id, positions);
    }
    for (const { lane, deliveries, position } of updates) {
      if (!lane.dropped) this.#update.run(deliveries, lane.id, position);
    }
    for (const { lane, first, last } of shortDiscards) this.#delete.run(lane, first, lane, last);
  }

  #writeDiscard({ lane, first, last }: Range): void {
    this.#discard.run(lane, first, last);
  }

  #writeInserts(messages: Message[]): void {
    let values: Value[] = [];
    let shared: number | null = null;
    let before: Content | null = null;
    for (let index = 0; index < messages.length; index++) {
      const message = messages[index]!;
      const { content } = message;
      // The copies of one publish stand behind one another.
      if (content !== before) shared = this.#shared.share(messages, index);
      before = content;
      if (shared !== null) {
        this.#insertCopy.run(
          message.lane.id,
          message.position,
          message.expiresAt,
          message.deliveries,
          layoutOf(message),
          NO_BYTES,
          0,
          shared,
        );
        continue;
      }
      if (message.size >= ALONE_BYTES) {
        this.#writeOne(message);
        continue;
      }
      pushValues(values, message);
      if (values.length < INSERT_ROWS * COLUMNS) continue;
      this.#insertMany.run(...values);
      values = [];
    }
    for (let at = 0; at < values.length; at += COLUMNS) {
      this.#insertOne.run(...values.slice(at, at + COLUMNS));
    }
  }

  #writeOne(message: Message): void {
    const values: Value[] = [];
    pushValues(values, message);
    if (message.size >= ALONE_BYTES) this.#insertLarge.run(values);
    else this.#insertOne.run(...values);
  }

  /** Consecutive positions become one range. */
  #writeRemovals(lane: number, positions: number[]): void {
    positions.sort((one, other) => one - other);
    let first = positions[0]!;
    let last = first;
    for (const position of positions) {
      if (position > last + 1) {
        this.#delete.run(lane, first, lane, last);
        first = position;
      }
      last = position;
    }
    this.#delete.run(lane, first, lane, last);
  }
}

/** @param message that waits to be written, and has its content until then */
function pushValues(values: Value[], message: Message): void {
  const { bytes } = message.content!;
  values.push(
    message.lane.id,
    message.position,
    message.expiresAt,
    message.deliveries,
    layoutOf(message),
    bytes,
    // The others are not there any more when somebody looks.
    message.durable ? checksumOf(bytes) : 0,
  );
}

function layoutOf({ headerLength, addressLength }: Message): number {
  return headerLength * LAYOUT_HEADER + addressLength;
}
