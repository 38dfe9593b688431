/**
 * The messages of one database, written in groups: what changes between two commits is remembered
 * here and becomes one run of statements. A message that comes and goes between two commits is
 * never written at all.
 */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import { type LaneRecord, Message, Row } from "./message.ts";

/** Rows per INSERT statement: fewer calls into SQLite. */
const INSERT_ROWS = 32;

const COLUMNS = "lane, position, expires_at, deliveries, layout, content";

interface MessageRow {
  position: number;
  expires_at: number;
  deliveries: number;
  layout: number;
  content: Uint8Array;
}

export class MessageTable {
  readonly #database: DatabaseSync;
  readonly #insertMany: StatementSync;
  readonly #insertOne: StatementSync;
  readonly #delete: StatementSync;
  readonly #update: StatementSync;
  readonly #select: StatementSync;
  readonly #load: StatementSync;
  #inserts: Message[] = [];
  /** Positions of stored rows to delete, by lane. */
  #removals = new Map<LaneRecord, number[]>();
  #updates = new Set<Message>();

  constructor(database: DatabaseSync) {
    this.#database = database;
    const values = "(?, ?, ?, ?, ?, ?)";
    const insert = `INSERT INTO message(${COLUMNS}) VALUES `;
    this.#insertOne = database.prepare(insert + values);
    this.#insertMany = database.prepare(insert + Array(INSERT_ROWS).fill(values).join(","));
    this.#delete = database.prepare(
      "DELETE FROM message WHERE lane = ? AND position BETWEEN ? AND ?",
    );
    this.#update = database.prepare(
      "UPDATE message SET deliveries = ? WHERE lane = ? AND position = ?",
    );
    this.#select = database.prepare(
      `SELECT ${COLUMNS} FROM message WHERE lane = ? AND position > ? ORDER BY position LIMIT ?`,
    );
    this.#load = database.prepare("SELECT content FROM message WHERE lane = ? AND position = ?");
  }

  /** Whether a commit would write anything. */
  get dirty(): boolean {
    return this.#inserts.length > 0 || this.#removals.size > 0 || this.#updates.size > 0;
  }

  /** Whether reading now would miss messages that still wait to be written. */
  get hasInserts(): boolean {
    return this.#inserts.length > 0;
  }

  insert(message: Message): void {
    message.row = Row.pending;
    this.#inserts.push(message);
  }

  remove(message: Message): void {
    if (message.row === Row.pending) {
      message.row = Row.skipped;
      return;
    }
    message.row = Row.none;
    const positions = this.#removals.get(message.lane);
    if (positions === undefined) this.#removals.set(message.lane, [message.position]);
    else positions.push(message.position);
  }

  /** Remembers that `message.deliveries` changed. */
  update(message: Message): void {
    if (message.row === Row.stored) this.#updates.add(message);
  }

  /**
   * Runs the statements of this group, inside the transaction of the caller. What was remembered
   * stays so until {@link settled}, and can be written again after a rollback.
   */
  write(): void {
    this.#writeInserts();
    for (const [lane, positions] of this.#removals) {
      if (!lane.dropped) this.#writeRemovals(lane.id, positions);
    }
    for (const { lane, deliveries, position } of this.#updates) {
      if (!lane.dropped) this.#update.run(deliveries, lane.id, position);
    }
  }

  #writeInserts(): void {
    const messages = this.#inserts.filter(isWanted);
    let index = 0;
    for (; index + INSERT_ROWS <= messages.length; index += INSERT_ROWS) {
      const values: (number | Uint8Array)[] = [];
      for (let offset = 0; offset < INSERT_ROWS; offset++) {
        pushValues(values, messages[index + offset]!);
      }
      this.#insertMany.run(...values);
    }
    for (; index < messages.length; index++) {
      const values: (number | Uint8Array)[] = [];
      pushValues(values, messages[index]!);
      this.#insertOne.run(...values);
    }
  }

  /** Consecutive positions become one range. */
  #writeRemovals(lane: number, positions: number[]): void {
    positions.sort((one, other) => one - other);
    let first = positions[0]!;
    let last = first;
    for (const position of positions) {
      if (position > last + 1) {
        this.#delete.run(lane, first, last);
        first = position;
      }
      last = position;
    }
    this.#delete.run(lane, first, last);
  }

  /** The group is on disk: forget it. */
  settled(): void {
    for (const message of this.#inserts) {
      if (message.row === Row.pending) message.row = Row.stored;
    }
    this.#inserts = [];
    this.#removals.clear();
    this.#updates.clear();
  }

  /** Up to `limit` stored messages behind a position, in order. */
  read(lane: LaneRecord, after: number, limit: number, durable: boolean): Message[] {
    const rows = this.#select.all(lane.id, after, limit) as unknown as MessageRow[];
    return rows.map((row) => {
      const addressLength = row.layout % 0x10000;
      const headerLength = Math.floor(row.layout / 0x10000);
      const { content, expires_at: expiresAt } = row;
      const message = new Message(
        lane,
        row.position,
        content,
        addressLength,
        headerLength,
        expiresAt,
        durable,
      );
      message.deliveries = row.deliveries;
      message.redelivered = row.deliveries > 0;
      message.row = Row.stored;
      return message;
    });
  }

  /** The bytes of a stored message. */
  load(message: Message): Uint8Array {
    const row = this.#load.get(message.lane.id, message.position);
    if (row === undefined) throw new Error(`message ${message.position} has no row`);
    return row["content"] as Uint8Array;
  }

  /** Deletes rows of a lane between two positions; returns how many. */
  deleteRange(lane: number, first: number, last: number): number {
    return Number(this.#delete.run(lane, first, last).changes);
  }

  /** The highest position in use, or 0. */
  lastPosition(lane: number): number {
    const row = this.#database
      .prepare("SELECT position FROM message WHERE lane = ? ORDER BY position DESC LIMIT 1")
      .get(lane);
    return row === undefined ? 0 : Number(row["position"]);
  }
}

function isWanted(message: Message): boolean {
  return message.row === Row.pending && !message.lane.dropped;
}

function pushValues(values: (number | Uint8Array)[], message: Message): void {
  values.push(
    message.lane.id,
    message.position,
    message.expiresAt,
    message.deliveries,
    message.headerLength * 0x10000 + message.addressLength,
    message.bytes!,
  );
}
