/**
 * Gives what the log holds its place in the data file, between commits. SQLite would do that within
 * one, and wait for three syncs, however long they take. Here the two of the log are
 * {@link LogSync}'s: on a slow disk turns go on meanwhile. Only the one of the data file is waited
 * for: another thread would sync a duplicate of its descriptor, and closing that would end SQLite's
 * lock on the file. So the log is as short as it must be for that to take its time and no more. The
 * order is what a power cut asks for:
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

/**
 * Milliseconds that the copying should take, besides what any sync takes: nobody is served meanwhile.
 */
const COPY_MS = 75;

/** Pages that the log may always have, where there is room: some are in it very often. */
const LEAST_PAGES = 2_000;

export class Checkpoint {
  readonly #database: DatabaseSync;
  readonly #log: LogSync;
  readonly #file: Deno.FsFile | undefined;
  /** Pages that the log may have. */
  #pages: number;
  /** Those that can be copied in {@link COPY_MS}. */
  #quickPages = MOST_LOG_PAGES;
  /** Those that SQLite was told last. */
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
    if (this.#isPaused || this.#file === undefined || this.#log.failure !== undefined) return false;
    return this.#written > this.#most && (this.#log.isSlow || this.#hasRoom);
  }

  /** On a small disk SQLite does it, within each commit: what is free is known behind it. */
  get #hasRoom(): boolean {
    return this.#pages >= MOST_LOG_PAGES;
  }

  get #most(): number {
    const most = this.#log.isSlow ? this.#pages : Math.min(this.#pages, MOST_LOG_PAGES);
    return Math.min(most, this.#quickPages);
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

  /** A commit was written. @param pages that it has changed, about */
  wrote(pages: number): void {
    this.#written += pages;
    this.#fit();
  }

  /** It is worth it now: the data file gets shorter. */
  request(): void {
    this.#written = Infinity;
  }

  #fit(): void {
    const times = this.#log.isSlow || this.#hasRoom ? TOO_LATE : 1;
    const pages = this.#isPaused ? 0 : Math.round(times * this.#most);
    if (pages === this.#automatic) return;
    this.#database.exec(`PRAGMA wal_autocheckpoint = ${pages}`);
    this.#automatic = pages;
  }

  /** Resolves when something may be written again. When no sync is under way. */
  async run(): Promise<void> {
    // Since it was found to be due, while syncs were under way.
    if (this.#isPaused) return;
    this.#isRunning = true;
    const pages = this.#written;
    this.#written = 0;
    try {
      // Rows of purged messages may have been deleted after the last commit.
      this.#log.wrote(0);
      if (await this.#log.sync() === false) return;
      const started = performance.now();
      this.#copy();
      this.#took(pages, performance.now() - started);
      this.#log.wrote(1);
      await this.#log.sync();
    } finally {
      this.#isRunning = false;
    }
  }

  /** @param pages of the log that were copied, about */
  #took(pages: number, ms: number): void {
    if (pages < LEAST_PAGES || pages === Infinity) return;
    const { usual } = this.#log;
    const factor = Math.max(COPY_MS, usual) / Math.max(1, ms - usual);
    this.#quickPages = Math.max(LEAST_PAGES, pages * Math.min(2, factor));
    this.#fit();
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
