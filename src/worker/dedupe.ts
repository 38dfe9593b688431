/** Which tasks have succeeded on this host, kept in a file over restarts. */
import { EXIT, ToolError } from "../errors.ts";
import type { Logger } from "../observe/log.ts";
import type { Task } from "../task/task.ts";

/** Pruning happens once in so many additions. */
const PRUNE_EVERY = 1_000;

/**
 * How long others may keep the file locked, in milliseconds: while it is opened, when workers that
 * start together all want to set it up, and later, when waiting holds up this worker's heartbeats.
 */
const OPEN_BUSY_MS = 5_000;
const BUSY_MS = 500;

export interface Dedupe {
  /**
   * The task has succeeded here before. False for tasks without an id, and when the file cannot be
   * read: then a task may run twice, as without it.
   */
  has(task: Task): boolean;
  /** On disk when it returns, if the file can be written. */
  add(task: Task): void;
  close(): void;
}

/**
 * Opens the file, or makes it. node:sqlite is loaded only here.
 *
 * @param ttlMs how long an id is kept
 * @param log told when the file fails later: no reason to run a task that is done once more
 * @throws {ToolError} it cannot be used: 66 not to be opened or written, 65 something else, 75
 *   locked, or the disk is full
 */
export async function openDedupe(path: string, ttlMs: number, log: Logger): Promise<Dedupe> {
  const { DatabaseSync } = await import("node:sqlite");
  try {
    const db = new DatabaseSync(asFile(path));
    db.exec(`PRAGMA busy_timeout=${OPEN_BUSY_MS}; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
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
    db.exec(`PRAGMA busy_timeout=${BUSY_MS}`);
    let added = 0;
    const attempt = <T>(id: string, otherwise: T, use: () => T): T => {
      if (id === "") return otherwise;
      try {
        return use();
      } catch (error) {
        const reason = error instanceof Error ? error.message : error;
        log.error(`the dedupe file ${JSON.stringify(path)} fails: ${reason}`, { id });
        return otherwise;
      }
    };
    return {
      has: ({ queue, id }) =>
        attempt(id, false, () => find.get(queue, id, Date.now() - ttlMs) !== undefined),
      add: ({ queue, id }) =>
        attempt(id, undefined, () => {
          insert.run(queue, id, Date.now());
          if (++added % PRUNE_EVERY === 0) prune.run(Date.now() - ttlMs);
        }),
      close: () => db.close(),
    };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ToolError(
      `the dedupe file ${JSON.stringify(path)} must be a SQLite database that can be written: ` +
        reason,
      exitCodeFor(reason),
      { cause: error },
    );
  }
}

/** SQLite takes some names for something else than files, which would forget everything. */
function asFile(path: string): string {
  return path.replace(/^(?=file:|:|$)/, "./");
}

/** By SQLite's words for its result codes (sqlite3_errstr): not every error has the code itself. */
function exitCodeFor(reason: string): number {
  if (/is locked|disk is full|disk I\/O error|out of memory/.test(reason)) return EXIT.temporary;
  if (/unable to open database file|readonly database/.test(reason)) return EXIT.noInput;
  return EXIT.badData;
}
