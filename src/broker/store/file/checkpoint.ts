/**
 * Gives what the log holds its place in the data file, on a slow disk. SQLite would do that within a
 * commit, and wait for three syncs. Here the two of the log are {@link LogSync}'s, while turns go on;
 * only the one of the data file is waited for: another thread would sync a duplicate of its
 * descriptor, and closing that would end SQLite's lock on the file. The order is what a power cut
 * asks for:
 *
 * 1. The whole log is synced, and nothing more is written to it.
 * 2. Its pages are copied into the data file, which is synced. Until then the log is used again.
 * 3. One page is written, with which the log begins anew, and synced. Were there more pages, a later
 *    one could be on the disk before the log's new head, and cut off the end of the old log.
 */

import type { DatabaseSync } from "node:sqlite";
import type { LogSync } from "./log_sync.ts";
import { MOST_LOG_PAGES, SCHEMA_VERSION } from "./schema.ts";

/** How much longer the log is when SQLite does it, because we come too late. */
const TOO_LATE = 2;

/** Pages of a commit besides those that its messages fill, and removals of one page, about. */
const COMMIT_PAGES = 6;
const PAGE_ROWS = 25;
/** Bytes of messages that a page holds. */
const PAGE_CONTENT = 4_000;

export class Checkpoint {
  readonly #database: DatabaseSync;
  readonly #log: LogSync;
  readonly #file: Deno.FsFile | undefined;
  /** Pages that the log may have. */
  #pages: number;
  /** Those that it was told last. */
  #automatic: number;
  /** Pages in the log, about. */
  #written = 0;
  #isRunning = false;
  #isPaused = false;

  /**
   * @param path of the data file; undefined: it is in memory
   * @param pages that the log may have
   */
  constructor(database: DatabaseSync, log: LogSync, path: string | undefined, pages: number) {
    this.#database = database;
    this.#log = log;
    this.#pages = pages;
    this.#automatic = MOST_LOG_PAGES;
    // Closed behind the database, for the same reason.
    if (path !== undefined) this.#file = Deno.openSync(path, { read: true, write: true });
  }

  /** Nothing may be written. */
  get isRunning(): boolean {
    return this.#isRunning;
  }

  /** Whether it is time. */
  get isDue(): boolean {
    if (this.#isPaused || this.#log.failure !== undefined) return false;
    return this.#written > this.#pages && this.#log.isSlow;
  }

  /** Another size of the log. */
  set pages(pages: number) {
    this.#pages = pages;
    this.#fit();
  }

  /** The data file is left as it is, however long the log gets. */
  set isPaused(isPaused: boolean) {
    this.#isPaused = isPaused;
    this.#fit();
  }

  /** A commit was written. */
  wrote(rows: number, bytes: number): void {
    this.#written += COMMIT_PAGES + rows / PAGE_ROWS + bytes / PAGE_CONTENT;
    this.#fit();
  }

  /** It is worth it now: the data file gets shorter. */
  request(): void {
    this.#written = Infinity;
  }

  /** Leaves it to SQLite where the disk is quick. */
  #fit(): void {
    const most = this.#log.isSlow ? TOO_LATE * this.#pages : Math.min(this.#pages, MOST_LOG_PAGES);
    const pages = this.#isPaused ? 0 : most;
    if (pages === this.#automatic) return;
    this.#database.exec(`PRAGMA wal_autocheckpoint = ${pages}`);
    this.#automatic = pages;
  }

  /** Resolves when something may be written again. When no sync is under way. */
  async run(): Promise<void> {
    this.#isRunning = true;
    this.#written = 0;
    try {
      // Rows of purged messages may have been deleted after the last commit.
      this.#log.wrote();
      if (await this.#log.sync() === false) return;
      this.#copy();
      this.#log.wrote();
      await this.#log.sync();
    } finally {
      this.#isRunning = false;
    }
  }

  #copy(): void {
    const database = this.#database;
    database.exec("PRAGMA synchronous = OFF");
    try {
      database.exec("PRAGMA wal_checkpoint(PASSIVE)");
      this.#log.watch(() => this.#file!.syncDataSync());
      // What it was: a row that is updated with what it holds is not written.
      database.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
    } catch {
      // What is not done is done by SQLite, or the next time; a failed sync is noted.
    } finally {
      database.exec("PRAGMA synchronous = NORMAL");
    }
  }

  /** When the database is closed. */
  close(): void {
    this.#file?.close();
  }
}
