/** Which tasks have succeeded on this host, kept in a file over restarts. */
import { EXIT, InputError } from "../errors.ts";
import type { Task } from "../task/task.ts";

/** Pruning happens once in so many additions. */
const PRUNE_EVERY = 1_000;

export interface Dedupe {
  /** The task has succeeded here before. Always false for tasks without an id. */
  has(task: Task): boolean;
  /** Resolved on disk when it returns: only then may the task be acknowledged. */
  add(task: Task): void;
  close(): void;
}

/**
 * Opens the file, or makes it. node:sqlite is loaded only here.
 *
 * @param ttlMs how long an id is kept
 * @throws {InputError} it cannot be used
 */
export async function openDedupe(path: string, ttlMs: number): Promise<Dedupe> {
  const { DatabaseSync } = await import("node:sqlite");
  try {
    const db = new DatabaseSync(path);
    db.exec(`PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=5000;
      CREATE TABLE IF NOT EXISTS done (
        queue TEXT NOT NULL,
        id TEXT NOT NULL,
        at INTEGER NOT NULL, -- milliseconds since 1970
        PRIMARY KEY (queue, id)
      ) WITHOUT ROWID`);
    const find = db.prepare("SELECT 1 FROM done WHERE queue = ? AND id = ? AND at > ?");
    const insert = db.prepare("INSERT OR REPLACE INTO done (queue, id, at) VALUES (?, ?, ?)");
    const prune = db.prepare("DELETE FROM done WHERE at <= ?");
    prune.run(Date.now() - ttlMs);
    let added = 0;
    return {
      has: (task) =>
        task.id !== "" && find.get(task.queue, task.id, Date.now() - ttlMs) !== undefined,
      add: (task) => {
        if (task.id === "") return;
        insert.run(task.queue, task.id, Date.now());
        if (++added % PRUNE_EVERY === 0) prune.run(Date.now() - ttlMs);
      },
      close: () => db.close(),
    };
  } catch (error) {
    throw new InputError(
      `the dedupe file ${JSON.stringify(path)} must be a SQLite database that can be written: ${
        error instanceof Error ? error.message : error
      }`,
      EXIT.badData,
    );
  }
}
