/** Reasons to block publishers: the store cannot write, the disk is almost full, the data are gone. */

import type { Logger } from "../../observe/log.ts";

/** Milliseconds between two looks at the disk: the more often, the sooner it could be full. */
const MOST_MS = 10_000;
const LEAST_MS = 100;
const LOW_MS = 1_000;

/** Bytes that a fast disk may take in a millisecond. */
const FASTEST = 250_000;

/** Bytes of the disk that a byte of a message takes at most: in the log, and then in the file. */
const COPIES = 2;

const GONE = "cannot store: the data file was moved or deleted";

export interface AlarmOptions {
  /** Folder of the data, or undefined when nothing is on disk. */
  folder: string | undefined;
  diskFreeBytes: number;
  /** Bytes of the data file that hold nothing any more: it never shrinks, but is filled again. */
  reusableBytes: () => number;
  /** Whether the data file is still where it was: otherwise what is written is lost at the end. */
  isInPlace: () => boolean;
  log: Logger;
  /** The store cannot write: publishers wait for confirms that cannot come. */
  onFailure: () => void;
  /** Told at each look how many bytes of the disk are free. */
  onLook: (bytes: number) => void;
  /** The disk is almost full: so many bytes of it are free. */
  onLow: (bytes: number) => void;
  /** All alarms are over. */
  onClear: () => void;
}

export class Alarms {
  readonly #options: AlarmOptions;
  /** The alarms, in words: the store's, and the one that looking at the disk found. Both are
   * set through {@link #change}. */
  #store: string | undefined;
  #disk: string | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Bytes above the limit at the last look, and bytes of messages written since. */
  #spare = Infinity;
  #written = 0;
  /** Bytes of the disk that were free at the last look, those of the file that are free included. */
  free: number | undefined;
  #firstLook: Promise<void> | undefined;
  #statfs: StatFs | undefined;
  #stopped = false;

  constructor(options: AlarmOptions) {
    this.#options = options;
  }

  /** Resolves when the disk was looked at for the first time: nobody may publish before. */
  look(): Promise<void> {
    if (this.#options.folder === undefined || this.#stopped) return Promise.resolve();
    return this.#firstLook ??= loadStatfs().then((statfs) => {
      this.#statfs = statfs;
      if (!this.#stopped) this.#checkDisk();
    });
  }

  #checkAfter(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#checkDisk(), ms);
    Deno.unrefTimer(this.#timer);
  }

  /** The store has written messages: so many that the disk may be almost full before the next look? */
  written(bytes: number): void {
    this.#written += bytes;
    if (this.#written * COPIES > this.#spare && !this.#stopped) this.#checkDisk();
  }

  /** Why publishers are blocked, in words for connection.blocked, or undefined. */
  get reason(): string | undefined {
    return this.#store ?? this.#disk;
  }

  /** The store cannot write, or can again. */
  setStore(reason: string | undefined): void {
    if (reason !== undefined) {
      this.#options.log.error("publishers are blocked: the data file cannot be used", { reason });
    }
    this.#change(() => this.#store = reason === undefined ? undefined : `cannot store: ${reason}`);
    if (reason !== undefined) this.#options.onFailure();
  }

  #checkDisk(): void {
    const { folder, isInPlace, log } = this.#options;
    // Until it is known, and while publishers wait, only the clock asks for a look.
    this.#spare = Infinity;
    this.#written = 0;
    if (!isInPlace()) return this.#setGone();
    try {
      const { bavail, bsize } = this.#statfs!(folder!);
      this.#options.onLook(bavail * bsize);
      this.#setFree(bavail * bsize);
    } catch (error) {
      log.warn("cannot see how full the disk is", { error: (error as Error).message });
      if (this.#disk === GONE) this.#change(() => this.#disk = undefined);
      this.#checkAfter(MOST_MS);
    }
  }

  /** @param bytes free on the disk */
  #setFree(bytes: number): void {
    const { diskFreeBytes, reusableBytes, log } = this.#options;
    const free = this.free = bytes + reusableBytes();
    const low = free < diskFreeBytes;
    if (!low) this.#spare = free - diskFreeBytes;
    if (low && this.#disk === undefined) {
      log.warn("publishers are blocked: the disk is almost full", {
        free,
        needed: diskFreeBytes,
      });
      this.#options.onLow(bytes);
    }
    this.#change(() => this.#disk = low ? "low on disk" : undefined);
    const soonest = (free - diskFreeBytes) / FASTEST;
    this.#checkAfter(low ? LOW_MS : Math.min(Math.max(soonest, LEAST_MS), MOST_MS));
  }

  #setGone(): void {
    if (this.#disk !== GONE) {
      this.#options.log.error("publishers are blocked: the data file is not where it was", {
        folder: this.#options.folder,
      });
    }
    this.#change(() => this.#disk = GONE);
    this.#checkAfter(LOW_MS);
  }

  #change(set: () => void): void {
    const before = this.reason;
    set();
    if (before === undefined || this.reason !== undefined) return;
    this.#options.log.info("publishers are unblocked");
    this.#options.onClear();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }
}

/** What a disk has left for this user, in blocks, and the bytes of a block. */
type StatFs = (folder: string) => { bavail: number; bsize: number };

/** Loading it costs as much as all the rest of the start. */
async function loadStatfs(): Promise<StatFs> {
  return (await import("node:fs")).statfsSync;
}
