/** stdout and stderr without waiting: whoever reads them may stop reading and must not stop us. */

import { after } from "../time/timer.ts";
import { type Target, writeSome } from "../observe/write.ts";

/** Text that may wait before its writers are asked to pause, in bytes. */
const ENOUGH_BYTES = 64 * 1024;

/** Text that may wait at all where writers do not pause, in bytes: lines of one turn are many. */
const MOST_BYTES = 4 * 1024 * 1024;

/**
 * Milliseconds between the beginnings of two writes: lines in a row leave together. Each write is the
 * work of another thread, which takes as much time as a line itself.
 */
const TOGETHER_MS = 5;

/**
 * Milliseconds of a wait for a reader that are counted at a time: on a machine that is so busy that
 * they last longer, the thread that writes gets no turn either.
 */
const TURN_MS = 50;

/** A stream of text to a file, pipe or terminal, written in order. */
export class Output {
  readonly #target: Target;
  readonly #onFailure: (error: Error) => void;
  readonly #encoder = new TextEncoder();
  /** What waits behind the write that is under way. */
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #writing: Promise<void> | undefined;
  /** performance.now() of the beginning of the last write. */
  #lastWrite = -Infinity;
  /** Ends the wait for company. */
  #hurry: (() => void) | undefined;
  #failed = false;

  /** @param onFailure told once when the target cannot be written any more */
  constructor(target: Target, onFailure: (error: Error) => void) {
    this.#target = target;
    this.#onFailure = onFailure;
  }

  /** It cannot be written any more. */
  get failed(): boolean {
    return this.#failed;
  }

  /** So much waits that its writers should pause. */
  get stalled(): boolean {
    return this.#waitingBytes > ENOUGH_BYTES;
  }

  /** So much waits that nothing more must be added. */
  get full(): boolean {
    return this.#waitingBytes > MOST_BYTES;
  }

  /**
   * Writes a text behind all others.
   *
   * @returns what to wait for before writing more, when too much waits already
   */
  write(text: string | Uint8Array): Promise<void> | undefined {
    if (this.#failed) return undefined;
    const bytes = typeof text === "string" ? this.#encoder.encode(text) : text;
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    this.#writing ??= this.#writeAll();
    if (!this.stalled) return undefined;
    this.#hurry?.();
    return this.#writing;
  }

  /**
   * Resolves when everything is written, or cannot be.
   *
   * @param ms after so many milliseconds, or somewhat more, what is left is given up; default never
   */
  async flushed(ms?: number): Promise<void> {
    if (this.#failed || this.#writing === undefined) return;
    this.#hurry?.();
    if (ms === undefined) return await this.#writing;
    let isWritten = false;
    const written = this.#writing.then(() => {
      isWritten = true;
    });
    for (let left = ms; left > 0 && !isWritten; left -= TURN_MS) {
      const turn = Promise.withResolvers<void>();
      const timer = after(Math.min(left, TURN_MS), turn.resolve);
      await Promise.race([written, turn.promise]);
      timer.cancel();
    }
    if (!isWritten) this.#fail();
  }

  async #writeAll(): Promise<void> {
    try {
      while (this.#waiting.length > 0) {
        await this.#waitForCompany();
        const bytes = joined(this.#waiting, this.#waitingBytes);
        this.#waiting = [];
        this.#waitingBytes = 0;
        for (let sent = 0; sent < bytes.length && !this.#failed;) {
          sent += await writeSome(this.#target, bytes.subarray(sent));
        }
      }
    } catch (error) {
      this.#fail();
      this.#onFailure(error as Error);
    } finally {
      this.#writing = undefined;
    }
  }

  async #waitForCompany(): Promise<void> {
    const ms = this.#lastWrite + TOGETHER_MS - performance.now();
    if (ms > 0 && !this.stalled) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#hurry = resolve;
      const timer = after(ms, resolve);
      await promise;
      timer.cancel();
      this.#hurry = undefined;
    }
    this.#lastWrite = performance.now();
  }

  #fail(): void {
    this.#failed = true;
    this.#waiting = [];
    this.#waitingBytes = 0;
  }
}

function joined(pieces: readonly Uint8Array[], length: number): Uint8Array {
  if (pieces.length === 1) return pieces[0]!;
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}
