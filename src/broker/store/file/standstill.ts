/**
 * Lets another process copy or read the data of a running broker: for a while the data file is left
 * as it is, and changes go to the log only. Who wants that makes a file in the folder; who can do
 * that could do anything with the data. The broker looks for it once a second, and answers by giving
 * it another name; it stands still until that file is gone, or was not touched for a while.
 *
 * States: moving > standing > moving.
 */

/** Names in the folder of the data. */
export const REQUEST_FILE = "standstill-wanted";
export const ANSWER_FILE = "standstill";

/** Behind the name of a data file: the copy that a check reads while a broker uses it. */
export const CHECKED = ".check";

/** Seconds after which a file that is not touched belongs to nobody. */
const MOST_S = 15;

/** What stands still. */
export interface Standing {
  /** @returns whether it will change no more; undefined: to be asked again */
  stop(): boolean | undefined;
  moveOn(): void;
}

export class Standstill {
  readonly #folder: string | undefined;
  readonly #standing: Standing;
  #isStanding = false;
  /** When the file was touched last, and how many looks ago that was seen. */
  #touched: number | undefined;
  #looks = 0;

  /** @param folder undefined: everything is in memory */
  constructor(folder: string | undefined, standing: Standing) {
    this.#folder = folder;
    this.#standing = standing;
  }

  /**
   * Removes what is left of when another broker was using the data: nobody waits for it any more.
   * Whoever reads the copy of a check now goes on reading it.
   */
  removeLeft(dataFile: string): void {
    this.#remove(REQUEST_FILE);
    this.#remove(ANSWER_FILE);
    for (const end of ["", "-wal", "-shm"]) this.#remove(dataFile + CHECKED + end);
  }

  get isStanding(): boolean {
    return this.#isStanding;
  }

  /** To be called once a second. */
  look(): void {
    if (this.#isStanding) this.#lookOn();
    else if (this.#touchedAt(REQUEST_FILE) !== undefined) this.#begin();
  }

  #begin(): void {
    try {
      const isStill = this.#standing.stop();
      if (isStill === false) this.#remove(REQUEST_FILE);
      if (!isStill) return;
      this.#isStanding = true;
      Deno.renameSync(this.#pathOf(REQUEST_FILE), this.#pathOf(ANSWER_FILE));
    } catch {
      // It is not wanted any more, or the data are gone.
      this.end();
    }
    this.#touched = undefined;
  }

  #lookOn(): void {
    const touched = this.#touchedAt(ANSWER_FILE);
    this.#looks = touched === this.#touched ? this.#looks + 1 : 0;
    this.#touched = touched;
    if (touched === undefined || this.#looks > MOST_S) this.end();
  }

  /** Whoever wanted it finds its file gone, before anything changes. */
  end(): void {
    if (!this.#isStanding) return;
    this.#isStanding = false;
    this.#remove(ANSWER_FILE);
    this.#standing.moveOn();
  }

  #touchedAt(name: string): number | undefined {
    if (this.#folder === undefined) return undefined;
    try {
      const { isFile, mtime } = Deno.lstatSync(this.#pathOf(name));
      return isFile ? mtime?.getTime() ?? 0 : undefined;
    } catch {
      return undefined;
    }
  }

  #remove(name: string): void {
    if (this.#folder === undefined) return;
    try {
      Deno.removeSync(this.#pathOf(name));
    } catch {
      // It is not there.
    }
  }

  #pathOf(name: string): string {
    return `${this.#folder}/${name}`;
  }
}
