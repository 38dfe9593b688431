/**
 * Gives the room of messages that are gone back to the system, in slices among other work, once it
 * was not needed for a while. As much as is written in such a while stays: a queue that fills and
 * empties would only have to ask for it again.
 */

import type { DataFile } from "./data_file.ts";
import { numberOf } from "./schema.ts";

/** Free pages that are kept beside those, and how many begin it. */
const SPARE_PAGES = 256;
const MOST_PAGES = 1_024;

/** How many looks, a second apart, must have seen so many. */
const LOOKS = 5;

/** Milliseconds that a slice may take, and between two, for others. */
const SLICE_MS = 3;
const PAUSE_MS = 20;

export class Shrinker {
  readonly #file: DataFile;
  readonly #mayWrite: () => boolean;
  readonly #onDone: () => void;
  /** Whether SQLite keeps what it needs to move pages. */
  readonly #canShrink: boolean;
  #looks = 0;
  /** Pages that had been written before the first of them, about; its own not counted. */
  #before = 0;
  /** It goes on until few are left. */
  #isBegun = false;
  /** Pages of a slice: as many as take its time. */
  #pages = 16;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param mayWrite whether the file can be written, and nobody waits for it
   * @param onDone told when a checkpoint is asked for
   */
  constructor(file: DataFile, mayWrite: () => boolean, onDone: () => void) {
    this.#file = file;
    this.#mayWrite = mayWrite;
    this.#onDone = onDone;
    this.#canShrink = file.isOnDisk && numberOf(file.database, "PRAGMA auto_vacuum") === 2;
  }

  /** To be called once a second. */
  look(): void {
    if (!this.#canShrink || this.#timer !== undefined) return;
    if (this.#free - this.#needed > MOST_PAGES) this.#looks++;
    else this.#startOver();
    this.#isBegun ||= this.#looks >= LOOKS;
    if (this.#isBegun) this.#goOn();
  }

  #startOver(): void {
    this.#looks = 0;
    this.#before = this.#file.log.pages;
  }

  /** Pages that were written meanwhile, and so may be wanted again. */
  get #needed(): number {
    return this.#file.log.pages - this.#before;
  }

  get #free(): number {
    return numberOf(this.#file.database, "PRAGMA freelist_count");
  }

  #goOn(): void {
    this.#timer = setTimeout(() => this.#work(), PAUSE_MS);
  }

  #work(): void {
    this.#timer = undefined;
    const { database, checkpoint, standstill, log, isFixed } = this.#file;
    // The next look goes on. While the file stands still the log would grow with what is moved.
    if (standstill.isStanding || isFixed || !this.#mayWrite()) return;
    const spare = this.#free - this.#needed - SPARE_PAGES;
    if (spare <= 0) return this.#end();
    try {
      const started = performance.now();
      const pages = Math.min(this.#pages, Math.ceil(spare));
      // Each row is a page.
      database.prepare(`PRAGMA incremental_vacuum(${pages})`).all();
      checkpoint.wrote(2 * pages);
      log.wrote(2 * pages);
      this.#before += 2 * pages;
      const factor = SLICE_MS / Math.max(0.1, performance.now() - started);
      this.#pages = Math.max(1, Math.min(256, 2 * this.#pages, Math.round(pages * factor)));
    } catch {
      // A commit will say what is wrong.
      return this.#end();
    }
    this.#goOn();
  }

  /** The file gets shorter when the log is emptied. */
  #end(): void {
    this.#startOver();
    this.#isBegun = false;
    const { log, checkpoint } = this.#file;
    if (!log.isSlow) return void this.#file.emptyLog("TRUNCATE");
    checkpoint.request();
    this.#onDone();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}
