/**
 * Memory for frames that have come in part, of all connections together, once nobody's buffer grows
 * by itself any more. Small frames have a part of it for themselves: they do not wait for large ones.
 */

import type { Deadlines } from "../../time/deadlines.ts";
import { type Borrower, FrameLine } from "./frame_line.ts";
import type { Limits } from "./limits.ts";

/** Bytes of the largest small frame, and the part of the memory that is for them. */
const SMALL_BYTES = 16 * 1024;
const SMALL_PART = 1 / 4;

export class FrameRoom {
  readonly #small: FrameLine;
  readonly #large: FrameLine;

  constructor({ frameBytes, patienceMs }: Limits, deadlines: Deadlines) {
    this.#small = new FrameLine(patienceMs, deadlines);
    this.#large = new FrameLine(patienceMs, deadlines);
    this.limitTo(frameBytes);
  }

  /** @param bytes of all frames together */
  limitTo(bytes: number): void {
    this.#small.most = Math.floor(bytes * SMALL_PART);
    this.#large.most = bytes - this.#small.most;
  }

  /** {@link FrameLine.ask} */
  ask(borrower: Borrower, bytes: number): boolean {
    return (bytes <= SMALL_BYTES ? this.#small : this.#large).ask(borrower, bytes);
  }

  /** {@link FrameLine.leave} */
  leave(borrower: Borrower): void {
    this.#small.leave(borrower);
    this.#large.leave(borrower);
  }
}
