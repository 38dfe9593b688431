/** Reasons to block publishers: the store cannot write, the disk is almost full, the data are gone. */

import type { DataFile } from "./file/data_file.ts";
import type { Logger } from "../../observe/log.ts";

/** Milliseconds between two looks at the disk: the more often, the sooner it could be full. */
const MOST_MS = 10_000;
const LEAST_MS = 100;
const LOW_MS = 1_000;

/** Bytes that a fast disk may take in a millisecond. */
const FASTEST = 250_000;

/** Bytes of the disk that a byte of a message takes at most: in the log, and then in the file. */
const COPIES = 2;

/** Of its share of the disk that publishers must leave, as a divisor, and at most: the log needs it. */
const MARGIN_SHARE = 10;
const MOST_MARGIN = 16 * 1024 * 1024;

/** What has to be free again, as a divisor of the limit and of that margin: no alarm comes and goes. */
const LIMIT_AGAIN = 16;
const MOST_AGAIN = 4 * 1024 * 1024;
const MARGIN_AGAIN = 4;

const LOW = "low on disk";
const FULL_SHARE = "the data take their share of the disk";
const GONE = "cannot store: the data file was moved or deleted";

export interface AlarmOptions {
  /** Folder of the data, or undefined when nothing is on disk. */
  folder: string | undefined;
  diskFreeBytes: number;
  /** Bytes of the disk that the data may take; Infinity for all. */
  shareBytes: number;
  file: Pick<DataFile, "usedBytes" | "reusableBytes" | "isInPlace" | "fitLog" | "shrinkLog">;
  /** Bytes of the disk that are taken beside the file. */
  besideBytes: () => number;
  /** What becomes of a publish while the disk, or the share of it, is almost full. */
  whenFull: "block" | "reject";
  log: Logger;
  /** The store cannot write: publishers wait for confirms that cannot come. */
  onFailure: () => void;
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
  /** Bytes that the data took at the last look. */
  used: number | undefined;
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

  /** Looks whether the data file is still in its place, which is soon done. */
  noticeGone(): void {
    if (this.#statfs === undefined || this.#stopped || this.#disk === GONE) return;
    if (!this.#options.file.isInPlace) this.#checkDisk();
  }

  /** The store has written messages: so many that the disk may be almost full before the next look? */
  written(bytes: number): void {
    this.#written += bytes;
    if (this.#written * COPIES > this.#spare && !this.#stopped) this.#checkDisk();
  }

  /** Whether publishes are refused meanwhile: of those who are told so. */
  get isRefusing(): boolean {
    return this.#options.whenFull === "reject" && this.#store === undefined && this.#isFull;
  }

  get #isFull(): boolean {
    return this.#disk === LOW || this.#disk === FULL_SHARE;
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
    const { folder, file, log } = this.#options;
    // Until it is known, and while publishers wait, only the clock asks for a look.
    this.#spare = Infinity;
    this.#written = 0;
    // Otherwise what is written is lost at the end.
    if (!file.isInPlace) return this.#setGone();
    try {
      const { bavail, bsize } = this.#statfs!(folder!);
      this.#setFree(bavail * bsize);
    } catch (error) {
      log.warn("cannot see how full the disk is", { error: (error as Error).message });
      if (this.#disk === GONE) this.#change(() => this.#disk = undefined);
      this.#checkAfter(MOST_MS);
    }
  }

  /** @param bytes free on the disk */
  #setFree(bytes: number): void {
    const { diskFreeBytes, shareBytes, file, besideBytes } = this.#options;
    const used = this.used = file.usedBytes + besideBytes();
    const left = shareBytes - used;
    file.fitLog(Math.min(bytes, left));
    // It seldom shrinks, but is filled again.
    const reusable = file.reusableBytes;
    this.free = bytes + reusable;
    const spare = this.free - diskFreeBytes;
    const margin = Math.min(shareBytes / MARGIN_SHARE, MOST_MARGIN);
    const spareShare = left + reusable - margin;
    const soonest = Math.min(spare, spareShare) / FASTEST;
    const low = soonest < 0 || this.#isFull &&
        (spare < Math.min(diskFreeBytes / LIMIT_AGAIN, MOST_AGAIN) ||
          spareShare < margin / MARGIN_AGAIN);
    if (!low) this.#spare = Math.min(spare, spareShare);
    const reason = spareShare < spare ? FULL_SHARE : LOW;
    if (low && this.#disk === undefined) {
      this.#warn(reason);
      file.shrinkLog(Math.min(bytes, left));
    }
    this.#change(() => this.#disk = low ? reason : undefined);
    this.#checkAfter(low ? LOW_MS : Math.min(Math.max(soonest, LEAST_MS), MOST_MS));
  }

  #warn(reason: string): void {
    const { log, whenFull, diskFreeBytes, shareBytes } = this.#options;
    const what = whenFull === "reject" ? "publishes are refused" : "publishers are blocked";
    if (reason === LOW) {
      const facts = { free: this.free, needed: diskFreeBytes };
      return log.warn(`${what}: the disk is almost full`, facts);
    }
    log.warn(`${what}: ${reason}`, { used: this.used, share: shareBytes });
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
