/**
 * The data file: which one it is, whether it may be used, and whether it is still in its place.
 *
 * States: looked at > begun > closed, or looked at > closed: whoever finds that the data cannot be
 * used leaves them as they are.
 */

import type { DatabaseSync } from "node:sqlite";
import { Checkpoint } from "./checkpoint.ts";
import { findDamage, InUse } from "./copied_data.ts";
import { DeliveredMarks } from "./delivered_marks.ts";
import { isThere } from "./folder.ts";
import { LogSync } from "./log_sync.ts";
import {
  leaveDatabase,
  migrate,
  MOST_LOG_PAGES,
  numberOf,
  openDatabase,
  PAGE_BYTES,
  sizeOf,
  useDatabase,
} from "./schema.ts";
import { StorageError } from "./storage_error.ts";
import { Standstill } from "./standstill.ts";
import { EXIT } from "../../../errors.ts";

export const DATA_FILE = "broker.db";
export const SCRATCH_FILE = "scratch.db";
export const RESERVE_FILE = "reserve";
const MARKS_FILE = "delivered";

/** Files that take a part of the disk. */
const OURS = [DATA_FILE, `${DATA_FILE}-wal`, SCRATCH_FILE, `${SCRATCH_FILE}-wal`, RESERVE_FILE];

/** How much of the disk that is free the log may take, as a divisor; it needs as much in the file. */
const LOG_SHARE = 4;
const LEAST_LOG_PAGES = 60;

/** And what one commit writes of large bodies, of the log, as a divisor: 4 MB where there is room. */
const BODY_SHARE = 16;

/** Pages of the log where there is room: on a slow disk, where each emptying holds up commits. */
const LONG_LOG_PAGES = 4 * MOST_LOG_PAGES;

/**
 * How many times as much as usual may wait for a commit: while none can be made, for some
 * milliseconds; on a slow disk, where commits need not be large, and short ones hold nobody up.
 */
const HELD_PATIENCE = 8;
const SLOW_PATIENCE = 1 / 4;

/** Data files that this process has open: the locks on files are between processes. */
const openFiles = new Set<string>();

export class DataFile {
  readonly database: DatabaseSync;
  readonly log: LogSync;
  readonly checkpoint: Checkpoint;
  /** For those who copy it meanwhile. */
  readonly standstill: Standstill;
  readonly marks: DeliveredMarks;
  readonly #folder: string | undefined;
  /** What it was when it was opened; SQLite goes on with it even when it is deleted. */
  readonly #inode: string | undefined;
  readonly #inUse: InUse;
  /** There was a log beside it, be it empty. */
  readonly #hasLog: boolean;
  #isBegun = false;
  #logPages = LONG_LOG_PAGES;

  /**
   * @param folder undefined: everything is in memory
   * @throws {StorageError} when it cannot be used
   */
  constructor(folder: string | undefined) {
    // SQLite would take such a name for a URI, whose parameters can turn off all that is promised.
    this.#folder = folder?.replace(/^file:/, "./file:");
    const path = this.pathOf(DATA_FILE);
    // Before it is opened: closing a file ends the locks that this process has on it.
    this.#refuseOpen(path);
    this.#hasLog = this.isOnDisk && isThere(`${path}-wal`);
    this.database = openDatabase(path);
    let log: LogSync | undefined;
    let checkpoint: Checkpoint | undefined;
    try {
      const isOld = migrate(this.database);
      this.standstill = new Standstill(this.#folder, {
        stop: () => this.#stop(),
        moveOn: () => this.checkpoint.isPaused = false,
      });
      this.#inUse = new InUse(this.database, this.#folder === undefined ? undefined : path);
      if (this.isCopy) refuseDamagedCopy(path, this.database);
      this.log = log = new LogSync(this.isOnDisk ? `${path}-wal` : undefined);
      this.checkpoint = checkpoint = new Checkpoint(
        this.database,
        this.log,
        this.isOnDisk ? path : undefined,
        this.#logPages,
      );
      this.marks = new DeliveredMarks(this.isOnDisk ? this.pathOf(MARKS_FILE) : undefined);
      if (isOld) {
        // What of the rest cannot be read would end the transaction.
        this.database.exec("COMMIT");
        this.begin();
      }
    } catch (error) {
      leaveDatabase(this.database, this.#hasLog);
      checkpoint?.close();
      log?.close();
      throw error;
    }
    this.#inode = inodeOf(path);
    if (this.#inode !== undefined) openFiles.add(this.#inode);
  }

  /** The data can be used: from now on they are written. */
  begin(): void {
    if (this.#isBegun) return;
    useDatabase(this.database);
    this.#isBegun = true;
    this.log.open();
    // A former process may have been killed before its last commits were on disk.
    if (this.#hasLog && !this.emptyLog("TRUNCATE")) this.log.syncNow();
    this.standstill.removeLeft(DATA_FILE);
    this.marks.begin();
  }

  /**
   * Whether file and log stay as they are. What was copied may not be on the disk yet, or never get
   * there: SQLite, which takes it for safe, would not sync it, and write over the only good copy. After
   * a sync that failed the log is for the next start.
   */
  get isFixed(): boolean {
    return this.checkpoint.isRunning || this.log.failure !== undefined;
  }

  /** From now on only its log changes, until something empties that. */
  #stop(): boolean | undefined {
    if (this.checkpoint.isRunning) return undefined;
    this.mark();
    return this.checkpoint.isPaused = this.emptyLog("TRUNCATE");
  }

  /** Of another file beside it. */
  pathOf(file: string): string {
    return this.#folder === undefined ? ":memory:" : `${this.#folder}/${file}`;
  }

  /** Whether anything is kept over a restart. */
  get isOnDisk(): boolean {
    return this.#folder !== undefined;
  }

  /** Whether it is where the next start will look for it. */
  get isInPlace(): boolean {
    return inodeOf(this.pathOf(DATA_FILE)) === this.#inode;
  }

  /** It is a copy of one that was in use, and found to be whole. */
  get isCopy(): boolean {
    return this.#inUse.isCopy;
  }

  /** Bytes of it that are free to be written again. */
  get reusableBytes(): number {
    return numberOf(this.database, "PRAGMA freelist_count") *
      numberOf(this.database, "PRAGMA page_size");
  }

  /** Bytes of the disk that it takes, with all that is beside it. */
  get usedBytes(): number {
    if (this.#folder === undefined) return 0;
    return OURS.reduce((sum, name) => sum + sizeOf(this.pathOf(name)), 0);
  }

  get #logBytes(): number {
    return sizeOf(`${this.pathOf(DATA_FILE)}-wal`);
  }

  /** Bytes that it lacks to hold what is in the log. */
  get growth(): number {
    if (!this.isOnDisk) return 0;
    const pages = numberOf(this.database, "PRAGMA page_count");
    const size = pages * numberOf(this.database, "PRAGMA page_size");
    return Math.max(0, size - Deno.statSync(this.pathOf(DATA_FILE)).size);
  }

  /**
   * Keeps the log a small part of what is free: what it holds needs as much again in the file, and
   * its own room is used again only then.
   * @param free bytes of the disk
   */
  fitLog(free: number): void {
    // The log grows while the file stands still.
    if (this.standstill.isStanding && LOG_SHARE * this.#logBytes > free) this.standstill.end();
    let pages = LONG_LOG_PAGES;
    while (pages > LEAST_LOG_PAGES && LOG_SHARE * pages * PAGE_BYTES > free) pages >>= 1;
    if (pages === this.#logPages || !this.isOnDisk) return;
    const isLess = pages < this.#logPages;
    this.#logPages = this.checkpoint.pages = pages;
    if (isLess) this.shrinkLog(free);
  }

  /**
   * What the log holds gets its place in the file, if there is one. Where there is none,
   * acknowledgements need what is left.
   * @param free bytes of the disk
   */
  shrinkLog(free: number): void {
    if (this.growth < free) this.emptyLog("TRUNCATE");
  }

  /** Bytes of bodies that one commit writes: a part of the log. */
  get bodyBytes(): number {
    return this.#logPages * PAGE_BYTES / BODY_SHARE;
  }

  /** How many times as much as usual may wait for a commit. */
  get patience(): number {
    if (this.checkpoint.isRunning) return HELD_PATIENCE;
    return this.log.isSlow ? SLOW_PATIENCE : 1;
  }

  /** Must come before every change of it. */
  mark(): void {
    this.begin();
    this.#inUse.mark();
  }

  /**
   * What the log holds gets its place in the file.
   * @returns whether that is all of it
   */
  emptyLog(mode: "RESTART" | "TRUNCATE"): boolean {
    if (this.isFixed) return false;
    this.standstill.end();
    try {
      return numberOf(this.database, `PRAGMA wal_checkpoint(${mode})`) === 0;
    } catch {
      return false;
    }
  }

  /**
   * Memory holds so many bytes of its pages at most. With few of them those that a transaction goes
   * on changing go to the log too early, and all behind them is summed up again at the commit.
   */
  limitPages(bytes: number): void {
    this.database.exec(`PRAGMA cache_size = -${Math.floor(bytes / 1_024)}`);
  }

  /** What is read next is read from the disk. */
  forgetPages(): void {
    this.database.exec("PRAGMA shrink_memory");
  }

  close(): void {
    if (!this.#isBegun) leaveDatabase(this.database, this.#hasLog);
    else if (this.isFixed) leaveDatabase(this.database, true);
    else this.#end();
    this.marks.close();
    this.checkpoint.close();
    this.log.close();
    if (this.#inode !== undefined) openFiles.delete(this.#inode);
  }

  #end(): void {
    this.standstill.end();
    try {
      this.#inUse.clear();
    } catch {
      // The mark stays: the next start finds the same file.
    }
    this.database.close();
  }

  #refuseOpen(path: string): void {
    const inode = inodeOf(path);
    if (inode === undefined || !openFiles.has(inode)) return;
    throw new StorageError(
      `cannot use the data file ${path}: another broker of this process is using it`,
      EXIT.temporary,
    );
  }
}

/** @returns undefined when there is no such file */
function inodeOf(path: string): string | undefined {
  if (path === ":memory:") return undefined;
  try {
    const { dev, ino } = Deno.statSync(path);
    return `${dev}:${ino}`;
  } catch {
    return undefined;
  }
}

/** @throws {StorageError} when it was made while the original was written */
function refuseDamagedCopy(path: string, database: DatabaseSync): void {
  const damage = findDamage(database);
  if (damage === undefined) return;
  throw new StorageError(
    `cannot use the data file ${path}: it was copied while a broker was using it, and is not whole ` +
      `(${damage}); end the broker before its folder is copied`,
    EXIT.badData,
  );
}
