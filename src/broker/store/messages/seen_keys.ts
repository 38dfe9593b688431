/**
 * The keys of messages that queues without duplicates have had, in the data file: written in the
 * same commit as the message, so that neither is there without the other.
 */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import { clockShift } from "../../../time/clock.ts";

/** Rows that are deleted at once of a queue that is gone. */
const PIECE = 1_000;

/** Rows that do not wait for company any more. */
const ENOUGH_ROWS = 1_000;

/** A key that a queue has seen. */
export interface SeenKey {
  /** Orders those of a queue. */
  readonly id: number;
  readonly key: Uint8Array;
  /** Milliseconds by the clock of `clock.ts`, or 0 for never. */
  readonly expiresAt: number;
}

export class SeenKeys {
  readonly #select: StatementSync;
  readonly #insert: StatementSync;
  readonly #delete: StatementSync;
  readonly #deleteSome: StatementSync;
  readonly #database: DatabaseSync;
  readonly #onChange: () => void;
  readonly #onDamage: (error: unknown) => void;
  /** By queue and id, as the next commit writes them; undefined: it deletes. */
  readonly #changes = new Map<number, Map<number, SeenKey | undefined>>();
  /** Changes since the last commit, of queues that have gone since included. */
  #rows = 0;
  /** Queues that go with the next commit. */
  readonly #going = new Set<number>();
  /** Queues that are gone, and whose rows are deleted piece by piece. */
  readonly #gone = new Set<number>();

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
    this.#onChange = onChange;
    this.#database = database;
    this.#select = database.prepare(
      "SELECT id, key, expires_at expiresAt FROM seen WHERE queue = ? ORDER BY id",
    );
    this.#insert = database.prepare("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?)");
    this.#delete = database.prepare("DELETE FROM seen WHERE queue = ? AND id = ?");
    this.#deleteSome = database.prepare(
      `DELETE FROM seen WHERE queue = ? AND id <=
         (SELECT max(id) FROM (SELECT id FROM seen WHERE queue = ? ORDER BY id LIMIT ${PIECE}))`,
    );
  }

  /** Whether a commit would write anything. */
  get dirty(): boolean {
    return this.#changes.size > 0 || this.#going.size > 0;
  }

  /** Whether so much waits for the commit that it should not wait longer. */
  get isFull(): boolean {
    return this.#rows >= ENOUGH_ROWS;
  }

  /**
   * Finds queues of a former process that are gone and have left rows.
   * @returns the highest id of a queue that has rows: no other may be given it
   */
  findGone(): number {
    try {
      const rows = this.#database.prepare(
        `WITH RECURSIVE owner(id) AS (
           SELECT min(queue) FROM seen
           UNION ALL SELECT (SELECT min(queue) FROM seen WHERE queue > owner.id) FROM owner
             WHERE owner.id IS NOT NULL)
         SELECT owner.id, queue.id IS NULL isGone FROM owner LEFT JOIN queue ON queue.id = owner.id
         WHERE owner.id IS NOT NULL ORDER BY owner.id`,
      ).all() as unknown as { id: number; isGone: number }[];
      for (const { id, isGone } of rows) if (isGone) this.#gone.add(id);
      return rows.at(-1)?.id ?? 0;
    } catch (error) {
      this.#onDamage(error);
      return 0;
    }
  }

  /** Those of a queue of a former process, oldest first. None if they cannot be read. */
  stored(queue: number): SeenKey[] {
    let rows: SeenKey[];
    try {
      rows = this.#select.all(queue) as unknown as SeenKey[];
    } catch (error) {
      this.#onDamage(error);
      return [];
    }
    const shift = clockShift();
    return rows.map(({ expiresAt, ...row }) => ({
      ...row,
      expiresAt: expiresAt === 0 ? 0 : expiresAt - shift,
    }));
  }

  add(queue: number, key: SeenKey): void {
    this.#changesOf(queue).set(key.id, key);
    this.#rows++;
    this.#onChange();
  }

  remove(queue: number, id: number): void {
    this.#changesOf(queue).set(id, undefined);
    this.#rows++;
    this.#onChange();
  }

  removeQueue(queue: number): void {
    this.#changes.delete(queue);
    this.#going.add(queue);
    this.#onChange();
  }

  #changesOf(queue: number): Map<number, SeenKey | undefined> {
    let changes = this.#changes.get(queue);
    if (changes === undefined) this.#changes.set(queue, changes = new Map());
    return changes;
  }

  /** Inside the transaction of the caller. */
  write(): void {
    for (const queue of this.#going) this.#deleteSome.run(queue, queue);
    const shift = clockShift();
    for (const [queue, changes] of this.#changes) {
      for (const [id, seen] of changes) {
        if (seen === undefined) this.#delete.run(queue, id);
        else {
          const { key, expiresAt } = seen;
          this.#insert.run(queue, id, key, expiresAt === 0 ? 0 : expiresAt + shift);
        }
      }
    }
  }

  /** All of it is on disk. */
  written(): void {
    this.#changes.clear();
    this.#rows = 0;
    for (const queue of this.#going) this.#gone.add(queue);
    this.#going.clear();
  }

  /** Whether rows of queues that are gone may be left. */
  get hasGone(): boolean {
    return this.#gone.size > 0;
  }

  /** Deletes some of them, in a transaction of its own. */
  sweep(): void {
    let left = PIECE;
    for (const queue of this.#gone) {
      const { changes } = this.#deleteSome.run(queue, queue);
      if (changes === PIECE) return;
      this.#gone.delete(queue);
      // A queue without rows is work too.
      left -= Number(changes) + 10;
      if (left <= 0) return;
    }
  }
}
