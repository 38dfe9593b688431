/**
 * Room on the disk for the time when it is full: acknowledgements must be written then, and what
 * they make room for.
 *
 * States: absent, until somebody asks for it > held <> released.
 */

import { createPrivately } from "./schema.ts";

const RESERVED_BYTES = 2 * 1024 * 1024;

/** Less will do: so much for the log, and so much with what the data file can use again. */
const LEAST_BYTES = 256 * 1024;
const ENOUGH_BYTES = 1024 * 1024;

/** Most bytes of random values at once. */
const PIECE_BYTES = 65_536;

export class Reserve {
  readonly #path: string | undefined;
  #state: "absent" | "held" | "released" = "absent";

  /** @param path undefined: there is no disk */
  constructor(path: string | undefined) {
    this.#path = path;
  }

  /** It was given up, and is to be taken again. */
  get isReleased(): boolean {
    return this.#state === "released";
  }

  /**
   * @param reusable tells how many bytes of the data file are
   * @returns whether it is held
   */
  take(reusable: () => number): boolean {
    if (this.#path === undefined || this.#state === "held") return true;
    const bytes = fill(this.#path);
    if (bytes < LEAST_BYTES || bytes + reusable() < ENOUGH_BYTES) {
      this.#remove();
      return false;
    }
    this.#state = "held";
    return true;
  }

  /** @returns whether that made room */
  release(): boolean {
    if (this.#state !== "held") return false;
    this.#remove();
    this.#state = "released";
    return true;
  }

  /** Leaves no file behind. */
  end(): void {
    this.#remove();
  }

  #remove(): void {
    try {
      if (this.#path !== undefined) Deno.removeSync(this.#path);
    } catch {
      // It is not there.
    }
  }
}

/** With bytes that no file system makes smaller. @returns how many there was room for */
function fill(path: string): number {
  let written = 0;
  try {
    createPrivately(path);
    using file = Deno.openSync(path, { write: true, truncate: true });
    const piece = new Uint8Array(PIECE_BYTES);
    while (written < RESERVED_BYTES) written += file.writeSync(crypto.getRandomValues(piece));
  } catch {
    // The disk is full.
  }
  return written;
}
