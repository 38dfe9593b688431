/**
 * Brings SQLite's log to the disk. A commit only writes the log, into the memory of the kernel; it
 * is on disk once a sync that began after it is done. The log keeps the order: what survives a power
 * cut is a beginning of it, because every frame of it has a checksum over all before it.
 *
 * A quick disk is waited for: that takes less time than another thread. With a slow one the main
 * thread goes on meanwhile, and a few syncs are under way at the same time, each a while after the
 * one before: so what waits for the next one waits a part of its time only.
 */

/** Milliseconds that a sync may usually take to be waited for. */
const QUICK_MS = 2;

/** Syncs at the same time. */
const MOST = 4;

/**
 * Pages of the log that may be on their way to the disk when more are written: whoever waits for a
 * sync waits for all of them.
 */
const MOST_UNSYNCED = 1_000;

/** How many syncs the usual time is the mean of, about. */
const MEMORY = 8;

export class LogSync {
  /**
   * Those of the log that no sync is using. Each has been opened by itself: of a failure to write
   * each is told once, so that no sync that began before it is taken for a good one.
   */
  readonly #free: Deno.FsFile[] = [];
  /** Commits so far, and how many of them are on disk. */
  #written = 0;
  #synced = 0;
  /** Pages that they have written, and how many of these are on disk; about. */
  #pages = 0;
  #syncedPages = 0;
  #underWay = 0;
  /** When the last one began; how long one usually takes. In milliseconds. */
  #begun = -Infinity;
  #usual = 0;
  #failure: Error | undefined;

  readonly #path: string | undefined;

  /** @param path of the log; undefined: everything is in memory */
  constructor(path: string | undefined) {
    this.#path = path;
  }

  /** Before anything is committed, when the log is there. */
  open(): void {
    if (this.#path === undefined) return;
    // SQLite has no locks on this file, which closing it would end.
    for (let i = 0; i < MOST; i++) {
      this.#free.push(Deno.openSync(this.#path, { read: true, write: true }));
    }
  }

  /** Commits so far. */
  get written(): number {
    return this.#written;
  }

  /** Pages that they have written, about. */
  get pages(): number {
    return this.#pages;
  }

  /** How many of them are on disk. */
  get synced(): number {
    return this.#synced;
  }

  /**
   * Why a sync has failed. The kernel forgets what it could not write, and another sync, which would
   * succeed, would say nothing about it: nothing more is safe.
   */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /** Milliseconds that one usually takes. */
  get usual(): number {
    return this.#usual;
  }

  /** Whether the main thread goes on meanwhile. */
  get isSlow(): boolean {
    return this.#usual >= QUICK_MS;
  }

  /** Milliseconds until the next one should begin; Infinity: when one of those under way has ended. */
  get pause(): number {
    if (this.#underWay === 0) return 0;
    if (this.#underWay === MOST) return Infinity;
    return Math.max(0, this.#begun + this.#usual / MOST - performance.now());
  }

  /** Whether syncs that are under way have enough to do. */
  get isBehind(): boolean {
    return this.#underWay > 0 && this.#pages - this.#syncedPages >= MOST_UNSYNCED;
  }

  /** Something was committed. @param pages that it has written, about */
  wrote(pages: number): void {
    this.#written++;
    this.#pages += pages;
    if (this.#path === undefined) this.#synced = this.#written;
  }

  /**
   * Brings all commits so far to the disk. Not while there is a {@link pause} without end.
   * @returns whether they are there; undefined: they are
   */
  sync(): Promise<boolean> | undefined {
    if (this.#failure !== undefined) return Promise.resolve(false);
    if (this.#synced === this.#written) return undefined;
    if (this.isSlow || this.#underWay > 0) return this.#sync();
    try {
      this.syncNow();
      return undefined;
    } catch {
      return Promise.resolve(false);
    }
  }

  /** The same, and waits for it. @throws why they are not */
  syncNow(): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#underWay === MOST) throw new Error("all that can sync the log are under way");
    const begun = performance.now();
    try {
      // None: everything is in memory.
      this.#free[0]?.syncDataSync();
    } catch (error) {
      throw this.#fail(error);
    }
    this.#synced = this.#written;
    this.#syncedPages = this.#pages;
    this.#took(performance.now() - begun);
  }

  async #sync(): Promise<boolean> {
    const written = this.#written;
    const pages = this.#pages;
    const log = this.#free.pop()!;
    const begun = this.#begun = performance.now();
    this.#underWay++;
    try {
      await log.syncData();
      if (this.#failure !== undefined) return false;
      this.#synced = Math.max(this.#synced, written);
      this.#syncedPages = Math.max(this.#syncedPages, pages);
      this.#took(performance.now() - begun);
      return true;
    } catch (error) {
      this.#fail(error);
      return false;
    } finally {
      this.#underWay--;
      this.#free.push(log);
    }
  }

  /** Runs a sync of another file that all depends on. @throws why it has failed; then this has, too */
  async watch(sync: () => Promise<void>): Promise<void> {
    try {
      await sync();
    } catch (error) {
      throw this.#fail(error);
    }
  }

  #fail(error: unknown): Error {
    const { message } = error as Error;
    return this.#failure ??= new Error(
      `what was written did not get to the disk (${message}): the broker has to be started again`,
    );
  }

  #took(ms: number): void {
    this.#usual += (ms - this.#usual) / MEMORY;
  }

  /** When none is under way. */
  close(): void {
    for (const log of this.#free) log.close();
  }
}
