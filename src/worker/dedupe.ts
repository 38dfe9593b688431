/** Which tasks have succeeded on this host, kept in a file over restarts. */
import { idBytes } from "../amqp/client/received_properties.ts";
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

/**
 * The part of the time to live that may pass at most while no worker has the file. A clock that is
 * set between two of them looks the same, and must not make all ids old.
 */
const LONGEST_GAP = 1 / 10;

/** Both in milliseconds. */
export interface DedupeClocks {
  /** Since 1970, as far as this host knows; it may be set. */
  wall(): number;
  /** Since any time; it is never set. */
  monotonic(): number;
}

const CLOCKS: DedupeClocks = { wall: () => Date.now(), monotonic: () => performance.now() };

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
 * The age of an id is counted in the file's own time, which passes while a worker has it open, and
 * in between as far as the host's clock can be believed.
 *
 * @param ttlMs how long an id is kept
 * @param log told when the file fails later: no reason to run a task that is done once more
 * @throws {ToolError} it cannot be used: 66 not to be opened or written, 65 something else, 75
 *   locked, or the disk is full
 */
export async function openDedupe(
  path: string,
  ttlMs: number,
  log: Logger,
  clocks = CLOCKS,
): Promise<Dedupe> {
  const { DatabaseSync } = await import("node:sqlite");
  try {
    const db = new DatabaseSync(asFile(path));
    // Names are bytes: as text, two that are not UTF-8 are one, and NUL is an end.
    db.exec(`PRAGMA busy_timeout=${OPEN_BUSY_MS}; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
      BEGIN IMMEDIATE;
      CREATE TABLE IF NOT EXISTS done (
        queue BLOB NOT NULL,
        id BLOB NOT NULL,
        at INTEGER NOT NULL, -- milliseconds of the file's time
        PRIMARY KEY (queue, id)
      ) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS clock (
        file INTEGER NOT NULL, -- milliseconds that have passed
        wall INTEGER NOT NULL -- milliseconds since 1970, by the host's clock, at that time
      );
      COMMIT`);
    const find = db.prepare("SELECT 1 FROM done WHERE queue = ? AND id = ? AND at > ?");
    const insert = db.prepare("INSERT OR REPLACE INTO done (queue, id, at) VALUES (?, ?, ?)");
    const last = db.prepare("SELECT file, wall FROM clock").get() as Record<string, number>;
    const gap = last === undefined ? 0 : clocks.wall() - last["wall"]!;
    const opened = clocks.monotonic();
    const base = (last?.["file"] ?? 0) + Math.max(0, Math.min(gap, ttlMs * LONGEST_GAP));
    const now = () => Math.round(base + clocks.monotonic() - opened);
    const prune = db.prepare("DELETE FROM done WHERE at <= ?");
    const begin = db.prepare("INSERT INTO clock (file, wall) VALUES (?, ?)");
    const keep = db.prepare("UPDATE clock SET wall = ?, file = max(file, ?)");
    const tidy = (): void => {
      prune.run(now() - ttlMs);
      keep.run(clocks.wall(), now());
    };
    if (last === undefined) begin.run(0, clocks.wall());
    tidy();
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
    const bytes = (text: string) => new TextEncoder().encode(text);
    return {
      has: (task) =>
        attempt(
          task.id,
          false,
          () => find.get(bytes(task.queue), idBytes(task), now() - ttlMs) !== undefined,
        ),
      add: (task) =>
        attempt(task.id, undefined, () => {
          insert.run(bytes(task.queue), idBytes(task), now());
          if (++added % PRUNE_EVERY === 0) tidy();
        }),
      close: () => {
        attempt("the end", undefined, tidy);
        db.close();
      },
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
