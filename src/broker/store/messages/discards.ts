/**
 * Ranges of messages that were given up with one row in the table `discarded`, whatever their
 * length. Their rows are deleted piece by piece, between other work; until then reading leaves them
 * out.
 */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import { LIMIT, RANGE } from "../file/message_row.ts";
import type { PackChanges } from "./pack_changes.ts";

/** Milliseconds, and rows at most, to delete in one transaction. */
const SWEEP_MS = 10;
const SWEEP_ROWS = 5_000;

/** Tables that have messages. */
export type MessageSource = "message" | "pack";

export interface Range {
  lane: number;
  /** Positions, both included. */
  first: number;
  last: number;
  /** The only table whose messages are meant; none: both. */
  of?: MessageSource | null;
}

/** Whether a position of a table is in one of some ranges of its lane. */
export function isIn(ranges: readonly Range[], table: MessageSource, position: number): boolean {
  return ranges.some(({ first, last, of }) =>
    first <= position && position <= last && (of ?? table) === table
  );
}

/** What a sweep has done. */
export interface Swept {
  /** Deleted ones, and ranges. */
  readonly rows: number;
  /** Lanes of which nothing is left to delete. */
  readonly lanes: readonly number[];
}

export class Discards {
  readonly #database: DatabaseSync;
  /** What else is kept of a message, and last the message. */
  readonly #deletes: readonly StatementSync[];
  readonly #packs: PackChanges;
  /** Ranges whose rows are not all deleted, in order. */
  readonly #ranges = new Set<Range>();
  /** Those of them that could not be deleted. */
  readonly #failed = new WeakSet<Range>();
  readonly #rangesOf = new Map<number, Set<Range>>();
  /** Rows to delete in {@link SWEEP_MS}: those of large messages take longer. */
  #sweepRows = 500;

  /** @param others tables of the database that have rows with the ids of messages */
  constructor(database: DatabaseSync, packs: PackChanges, others: readonly string[] = []) {
    this.#database = database;
    this.#packs = packs;
    this.#deletes = [...others, "message"].map((table) =>
      database.prepare(
        `DELETE FROM ${table}
         WHERE id IN (SELECT id FROM ${table} WHERE ${RANGE} ORDER BY id ${LIMIT})`,
      )
    );
    const stored = database.prepare("SELECT lane, first, last, of FROM discarded ORDER BY rowid");
    for (const range of stored.all() as unknown as Range[]) this.add(range);
  }

  get isEmpty(): boolean {
    return this.#ranges.size === 0;
  }

  /** Lanes that have some. */
  lanes(): number[] {
    return [...this.#rangesOf.keys()];
  }

  has(lane: number): boolean {
    return this.#rangesOf.has(lane);
  }

  of(lane: number): Range[] {
    return [...this.#rangesOf.get(lane) ?? []];
  }

  /** The next commit writes it. */
  add(range: Range): void {
    this.#ranges.add(range);
    const others = this.#rangesOf.get(range.lane);
    if (others === undefined) this.#rangesOf.set(range.lane, new Set([range]));
    else others.add(range);
  }

  /** @returns whether it was the last one of its lane */
  #forget(range: Range): boolean {
    this.#ranges.delete(range);
    const others = this.#rangesOf.get(range.lane)!;
    others.delete(range);
    return others.size === 0 && this.#rangesOf.delete(range.lane);
  }

  /** @returns how many rows were deleted, `most` at most */
  #delete(range: Range, most: number): number {
    const { lane, first, last, of } = range;
    try {
      let changes = 0;
      for (const some of of === "pack" ? [] : this.#deletes) {
        changes += Number(some.run(lane, first, lane, last, most - changes).changes);
        if (changes === most) return changes;
      }
      if (of === "message") return changes;
      return changes + this.#packs.sweep(lane, first, last, most - changes);
    } catch (error) {
      // The others come before it the next time.
      this.#failed.add(range);
      this.#ranges.delete(range);
      this.#ranges.add(range);
      throw error;
    }
  }

  /**
   * Deletes some of the rows, in a transaction of its own.
   * @param unwritten ranges that no commit has written
   * @returns how many rows, and the ids of lanes of which nothing is left to delete
   */
  sweep(unwritten: ReadonlySet<Range>): Swept {
    const started = performance.now();
    const done: Range[] = [];
    let left = this.#sweepRows;
    this.#database.exec("BEGIN IMMEDIATE");
    for (const range of this.#ranges) {
      if (left <= 0 || unwritten.has(range)) break;
      // It may undo what is done.
      if (left < this.#sweepRows && this.#failed.has(range)) break;
      const { lane, first, last, of = null } = range;
      const changes = this.#delete(range, left);
      const isLast = changes < left;
      // A range without rows is work too.
      left -= changes + 1;
      if (!isLast) break;
      this.#database.prepare(
        "DELETE FROM discarded WHERE lane = ? AND first = ? AND last = ? AND of IS ?",
      ).run(lane, first, last, of);
      done.push(range);
    }
    this.#database.exec("COMMIT");
    const rows = this.#sweepRows - left;
    const factor = SWEEP_MS / (performance.now() - started);
    this.#sweepRows = Math.round(Math.max(1, Math.min(SWEEP_ROWS, this.#sweepRows * factor)));
    return { rows, lanes: done.filter((range) => this.#forget(range)).map(({ lane }) => lane) };
  }
}
