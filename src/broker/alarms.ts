/** Reasons to block publishers: the store cannot write, or the disk is almost full. */

import { statfs } from "node:fs";
import type { Logger } from "../observe/log.ts";

/** Milliseconds between two looks at the disk. */
const CHECK_MS = 5_000;

export interface AlarmOptions {
  /** Folder of the data, or undefined when nothing is on disk. */
  folder: string | undefined;
  diskFreeBytes: number;
  log: Logger;
  /** All alarms are over. */
  onClear: () => void;
}

export class Alarms {
  readonly #options: AlarmOptions;
  #store: string | undefined;
  #disk: string | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(options: AlarmOptions) {
    this.#options = options;
    if (options.folder === undefined || options.diskFreeBytes === 0) return;
    this.#checkDisk();
    this.#timer = setInterval(() => this.#checkDisk(), CHECK_MS);
    Deno.unrefTimer(this.#timer);
  }

  /** Why publishers are blocked, in words for connection.blocked, or undefined. */
  get reason(): string | undefined {
    return this.#store ?? this.#disk;
  }

  /** The store cannot write, or can again. */
  setStore(reason: string | undefined): void {
    if (reason !== undefined) {
      this.#options.log.error("publishers are blocked: the data file cannot be written", {
        reason,
      });
    }
    this.#change(() => this.#store = reason === undefined ? undefined : `cannot store: ${reason}`);
  }

  #checkDisk(): void {
    const { folder, diskFreeBytes, log } = this.#options;
    statfs(folder!, (error, disk) => {
      if (error !== null) {
        return log.warn("cannot see how full the disk is", { error: error.message });
      }
      const free = disk.bavail * disk.bsize;
      const low = free < diskFreeBytes;
      if (low && this.#disk === undefined) {
        log.warn("publishers are blocked: the disk is almost full", {
          free,
          needed: diskFreeBytes,
        });
      }
      this.#change(() => this.#disk = low ? "low on disk" : undefined);
    });
  }

  #change(set: () => void): void {
    const before = this.reason;
    set();
    if (before === undefined || this.reason !== undefined) return;
    this.#options.log.info("publishers are unblocked");
    this.#options.onClear();
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
