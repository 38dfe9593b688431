/** Which tasks have succeeded on this host, kept in a file over restarts. */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { idBytes } from "../amqp/client/received_properties.ts";
import { EXIT, reason, ToolError } from "../errors.ts";
import type { Logger } from "../observe/log.ts";
import type { Task } from "../task/task.ts";
import { pause } from "../time/timer.ts";

/** Pruning happens once in so many additions. */
const PRUNE_EVERY = 1_000;

/**
 * How long others may keep the file locked, in milliseconds: while it is opened, when workers that
 * start together all want to set it up; later at once, when waiting holds up all that this worker
 * does; and in all, with pauses in which it goes on.
 */
const OPEN_BUSY_MS = 5_000;
const BUSY_MS = 100;
const PATIENCE_MS = 30_000;
const BUSY_PAUSE_MS = 50;

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
  /**
   * On disk when it returns, or when its promise resolves, if the file can be written: while others
   * have it, it is tried again for half a minute.
   */
  add(task: Task): Promise<void> | undefined;
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
export async function openDedupe(
  path: string,
  ttlMs: number,
  log: Logger,
  clocks = CLOCKS,
  patienceMs = PATIENCE_MS,
): Promise<Dedupe> {
  const { DatabaseSync } = await import("node:sqlite");
  const options = { path, ttlMs, log, clocks, patienceMs };
  try {
    return new DedupeFile(new DatabaseSync(asFile(path)), options);
  } catch (error) {
    const why = reason(error);
    throw new ToolError(
      `the dedupe file ${JSON.stringify(path)} must be a SQLite database that can be written: ` +
        why,
      exitCodeFor(why),
      { cause: error },
    );
  }
}

/** Names are bytes: as text, two that are not UTF-8 are one, and NUL is an end. */
const SCHEMA = `BEGIN IMMEDIATE;
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
  COMMIT`;

interface DedupeOptions {
  readonly path: string;
  readonly ttlMs: number;
  readonly log: Logger;
  readonly clocks: DedupeClocks;
  readonly patienceMs: number;
}

/**
 * The age of an id is counted in the file's own time, which passes while a worker has it open, and
 * in between as far as the host's clock can be believed.
 */
class DedupeFile implements Dedupe {
  readonly #db: DatabaseSync;
  readonly #options: DedupeOptions;
  readonly #find: StatementSync;
  readonly #insert: StatementSync;
  readonly #prune: StatementSync;
  readonly #keep: StatementSync;
  /** The file's time when it was opened, and what the monotonic clock said then. */
  readonly #base: number;
  readonly #opened: number;
  #added = 0;

  constructor(db: DatabaseSync, options: DedupeOptions) {
    this.#db = db;
    this.#options = options;
    db.exec(`PRAGMA busy_timeout=${OPEN_BUSY_MS}; PRAGMA journal_mode=WAL;
      PRAGMA synchronous=FULL; ${SCHEMA}`);
    this.#find = db.prepare("SELECT 1 FROM done WHERE queue = ? AND id = ? AND at > ?");
    this.#insert = db.prepare("INSERT OR REPLACE INTO done (queue, id, at) VALUES (?, ?, ?)");
    this.#prune = db.prepare("DELETE FROM done WHERE at <= ?");
    this.#keep = db.prepare("UPDATE clock SET wall = ?, file = max(file, ?)");
    const { ttlMs, clocks } = options;
    const last = db.prepare("SELECT file, wall FROM clock").get() as
      | Record<"file" | "wall", number>
      | undefined;
    const gap = last === undefined ? 0 : clocks.wall() - last.wall;
    this.#opened = clocks.monotonic();
    this.#base = (last?.file ?? 0) + Math.max(0, Math.min(gap, ttlMs * LONGEST_GAP));
    if (last === undefined) {
      db.prepare("INSERT INTO clock (file, wall) VALUES (?, ?)").run(0, clocks.wall());
    }
    this.#tidy();
    db.exec(`PRAGMA busy_timeout=${BUSY_MS}`);
  }

  /** Milliseconds of the file's time. */
  #now(): number {
    return Math.round(this.#base + this.#options.clocks.monotonic() - this.#opened);
  }

  /** Forgets what is too old, and keeps how late it is. */
  #tidy(): void {
    this.#prune.run(this.#now() - this.#options.ttlMs);
    this.#keep.run(this.#options.clocks.wall(), this.#now());
  }

  has(task: Task): boolean {
    if (task.id === "") return false;
    try {
      const oldest = this.#now() - this.#options.ttlMs;
      return this.#find.get(bytesOf(task.queue), idBytes(task), oldest) !== undefined;
    } catch (error) {
      this.#complain(error, { id: task.id });
      return false;
    }
  }

  add(task: Task): Promise<void> | undefined {
    if (task.id === "" || this.#insertNow(task, false)) return undefined;
    return this.#insertPatiently(task);
  }

  /** @returns false: others have the file. @param isLast that is a failure, too */
  #insertNow(task: Task, isLast: boolean): boolean {
    try {
      this.#insert.run(bytesOf(task.queue), idBytes(task), this.#now());
    } catch (error) {
      if (!isLast && isLocked(error)) return false;
      this.#complain(error, { id: task.id });
    }
    if (++this.#added % PRUNE_EVERY === 0) this.#tidyUnlessLocked();
    return true;
  }

  async #insertPatiently(task: Task): Promise<void> {
    const { clocks, patienceMs } = this.#options;
    const start = clocks.monotonic();
    do await pause(BUSY_PAUSE_MS); while (
      !this.#insertNow(task, clocks.monotonic() - start >= patienceMs)
    );
  }

  /** Others do it, too. */
  #tidyUnlessLocked(): void {
    try {
      this.#tidy();
    } catch (error) {
      if (!isLocked(error)) this.#complain(error);
    }
  }

  /** No reason to run a task that is done once more. */
  #complain(error: unknown, fields: { id?: string } = {}): void {
    const { log, path } = this.#options;
    log.error(`the dedupe file ${JSON.stringify(path)} fails: ${reason(error)}`, fields);
  }

  close(): void {
    this.#tidyUnlessLocked();
    this.#db.close();
  }
}

function isLocked(error: unknown): boolean {
  return /is locked/.test(reason(error));
}

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** SQLite takes some names for something else than files, which would forget everything. */
function asFile(path: string): string {
  return path.replace(/^(?=file:|:|$)/, "./");
}

/** By SQLite's words for its result codes (sqlite3_errstr): not every error has the code itself. */
function exitCodeFor(why: string): number {
  if (/is locked|disk is full|disk I\/O error|out of memory/.test(why)) return EXIT.temporary;
  if (/unable to open database file|readonly database|closed to this program/.test(why)) {
    return EXIT.noInput;
  }
  return EXIT.badData;
}
