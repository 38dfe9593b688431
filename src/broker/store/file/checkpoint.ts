/**
 * Gives what the log holds its place in the data file, between commits. SQLite would do that within
 * one, and wait for three syncs, however long they take. Here turns go on meanwhile on a slow disk:
 * those of the log are {@link LogSync}'s, that of the data file is a {@link SyncThread}'s. What the
 * main thread has to do itself is to copy, and so the log of a slow disk is as short as it must be for
 * that to take little time, and no shorter: commits wait for the three syncs each time. The order is
 * what a power cut asks for:
 *
 * 1. The whole log is synced, and nothing more is written to it.
 * 2. Its pages are copied into the data file, which is synced.
 * 3. One page is written, with which the log begins anew, and synced. Were there more pages, a later
 *    one could be on the disk before the log's new head, and cut off the end of the old log.
 */

import type { DatabaseSync } from "node:sqlite";
import type { LogSync } from "./log_sync.ts";
import { MOST_LOG_PAGES, numberOf, SCHEMA_VERSION } from "./schema.ts";
import { SyncThread } from "./sync_thread.ts";

/** How much longer the log is when SQLite does it, because we come too late. */
const TOO_LATE = 2;

/** Milliseconds that the copying should take at most: nobody is served meanwhile. */
const COPY_MS = 75;

/**
 * The same on a slow disk, unless the log is so soon full that commits, which wait for the syncs each
 * time, would wait for more than one part in so many of the time.
 */
const SLOW_COPY_MS = 15;
const HELD_SHARE = 30;

/** Pages that the log may always have, where there is room: some are in it very often. */
const LEAST_PAGES = 2_000;

/** Milliseconds that syncs usually take, and pages in the log, from which on it is worth a thread. */
const THREAD_MS = 5;
const THREAD_PAGES = 250;

export class Checkpoint {
  readonly #database: DatabaseSync;
  readonly #log: LogSync;
  readonly #path: string | undefined;
  readonly #file: Deno.FsFile | undefined;
  /** Syncs the file; undefined: nobody needed it yet, or there is none to be had. */
  #thread: SyncThread | undefined;
  /** For this log. */
  #isThreadTried = false;
  /** Pages that the log may have. */
  #pages: number;
  /** Those that can be copied in that time. */
  #quickPages = MOST_LOG_PAGES;
  /** When the log began. */
  #begun = performance.now();
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
    this.#path = path;
    // Closed behind the database, whose locks end with that.
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
    if (this.#log.usual >= THREAD_MS && this.#written > THREAD_PAGES) this.#startThread();
  }

  /** Long before it is needed, and not for a disk that was slow once. */
  #startThread(): void {
    if (this.#isThreadTried || this.#file === undefined) return;
    this.#isThreadTried = true;
    try {
      this.#thread = new SyncThread(this.#path!, this.#file);
    } catch {
      // The main thread does it, this time.
    }
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
    const started = performance.now();
    const pages = this.#written;
    this.#written = 0;
    this.#isThreadTried = this.#thread !== undefined;
    try {
      if (await this.#log.sync() === false) return;
      const copying = this.#copy();
      if (copying === undefined) return;
      await this.#log.watch(() => this.#syncFile());
      this.#begin();
      this.#log.wrote(1);
      await this.#log.sync();
      this.#took(pages, {
        copying,
        filling: started - this.#begun,
        held: performance.now() - started,
      });
      this.#begun = performance.now();
    } catch {
      // What is not done is done by SQLite, or the next time; a failed sync is noted.
    } finally {
      this.#isRunning = false;
    }
  }

  /** @returns milliseconds that it took; undefined: not all is in the file */
  #copy(): number | undefined {
    const started = performance.now();
    const isDone = this.#unsynced(() =>
      numberOf(this.#database, "PRAGMA wal_checkpoint(PASSIVE)") === 0
    );
    return isDone ? performance.now() - started : undefined;
  }

  /** @param pages that the log had, about @param ms that it took to fill it, and that commits waited */
  #took(pages: number, ms: { copying: number; filling: number; held: number }): void {
    if (pages < LEAST_PAGES || pages === Infinity) return;
    const perMs = pages / Math.max(1, ms.copying);
    const seldom = pages * HELD_SHARE * ms.held / Math.max(1, ms.filling);
    let most = COPY_MS * perMs;
    if (this.#log.isSlow) most = Math.min(most, Math.max(SLOW_COPY_MS * perMs, seldom));
    this.#quickPages = Math.max(LEAST_PAGES, Math.min(2 * pages, most));
    this.#fit();
  }

  async #syncFile(): Promise<void> {
    const isDone = this.#log.isSlow && await this.#thread?.sync();
    if (!isDone) this.#file!.syncDataSync();
  }

  /** What it was: a row that is updated with what it holds is not written. */
  #begin(): void {
    this.#unsynced(() => this.#database.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`));
  }

  /** Without any sync of SQLite's. */
  #unsynced<T>(run: () => T): T {
    this.#database.exec("PRAGMA synchronous = OFF");
    try {
      return run();
    } finally {
      this.#database.exec("PRAGMA synchronous = NORMAL");
    }
  }

  /** When the database is closed. */
  close(): void {
    this.#thread?.close();
    this.#file?.close();
  }
}
