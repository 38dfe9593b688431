/**
 * The keys of messages that queues without duplicates have had, in the data file: written in the
 * same commit as the message, so that neither is there without the other.
 */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import { clockShift } from "../../../time/clock.ts";

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
  readonly #deleteAll: StatementSync;
  readonly #onChange: () => void;
  readonly #onDamage: (error: unknown) => void;
  /** By queue and id, as the next commit writes them; undefined: it deletes. */
  readonly #changes = new Map<number, Map<number, SeenKey | undefined>>();
  /** Queues that are gone. */
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
    this.#select = database.prepare(
      "SELECT id, key, expires_at expiresAt FROM seen WHERE queue = ? ORDER BY id",
    );
    this.#insert = database.prepare("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?)");
    this.#delete = database.prepare("DELETE FROM seen WHERE queue = ? AND id = ?");
    this.#deleteAll = database.prepare("DELETE FROM seen WHERE queue = ?");
  }

  /** Whether a commit would write anything. */
  get dirty(): boolean {
    return this.#changes.size > 0 || this.#gone.size > 0;
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
    this.#onChange();
  }

  remove(queue: number, id: number): void {
    this.#changesOf(queue).set(id, undefined);
    this.#onChange();
  }

  removeQueue(queue: number): void {
    this.#changes.delete(queue);
    this.#gone.add(queue);
    this.#onChange();
  }

  #changesOf(queue: number): Map<number, SeenKey | undefined> {
    let changes = this.#changes.get(queue);
    if (changes === undefined) this.#changes.set(queue, changes = new Map());
    return changes;
  }

  /** Inside the transaction of the caller. */
  write(): void {
    for (const queue of this.#gone) this.#deleteAll.run(queue);
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
    this.#gone.clear();
  }
}
