/**
 * Memory for contents and transactions that are not complete; shared by all connections.
 *
 * A connection takes as its bytes arrive. When all is taken, connections are not read any more as
 * soon as they send content, but for one at a time, the first, which may go on until it holds
 * nothing: so the others get on in the end, however many have begun. A first one that stops sending
 * while others wait for it is refused.
 */

import { now } from "./clock.ts";
import type { Deadlines } from "./deadlines.ts";
import { Fault } from "./faults.ts";

/** A connection, as the budget sees it. */
export interface Taker {
  /** It is not read, for a reason of ours: that it gets nowhere is not its fault. */
  readonly isBlocked: boolean;
  /** It may try again. */
  goOn(): void;
  /** It holds what others wait for, and does not get on. */
  refuse(fault: Fault): void;
}

/** Milliseconds that others wait for a connection that sends nothing. */
const PATIENCE_MS = 10_000;

/** Bytes of a frame: what a waiting connection wants at least. */
const STEP_BYTES = 131_072;

export class Budget {
  readonly limit: number;
  readonly #deadlines: Deadlines;
  /** Bytes, and those of them that each connection has; nobody has 0. */
  #taken = 0;
  readonly #takenBy = new Map<Taker, number>();
  /** In the order of their coming. */
  readonly #waiting = new Set<Taker>();
  /** Who may go on although all is taken. */
  #first: Taker | undefined;
  /** When it last asked to go on, in milliseconds since the epoch, by the clock of `clock.ts`. */
  #firstProgress = 0;
  #isWatching = false;

  constructor(limit: number, deadlines: Deadlines) {
    this.limit = limit;
    this.#deadlines = deadlines;
  }

  /** Whether connections have to ask before they go on with content. */
  get isTight(): boolean {
    return this.#taken >= this.limit || this.#first !== undefined;
  }

  /** Whether a connection may go on with content. If not, it waits, and hears when to ask again. */
  admits(taker: Taker): boolean {
    if (this.#taken >= this.limit && this.#first !== taker) {
      if (this.#first !== undefined) {
        this.#waiting.add(taker);
        return false;
      }
      this.#first = taker;
      this.#watch();
    }
    if (this.#first === taker) this.#firstProgress = now();
    return true;
  }

  /** @throws {Fault} resource-error when one connection wants more than there is for all */
  take(taker: Taker, bytes: number): void {
    const taken = (this.#takenBy.get(taker) ?? 0) + bytes;
    if (taken > this.limit) {
      throw new Fault(
        "resource-error",
        `contents under way take ${taken} bytes, all connections together may take ${this.limit}`,
      );
    }
    this.#takenBy.set(taker, taken);
    this.#taken += bytes;
  }

  giveBack(taker: Taker, bytes: number): void {
    const left = (this.#takenBy.get(taker) ?? 0) - bytes;
    this.#taken -= bytes;
    if (left > 0) this.#takenBy.set(taker, left);
    else {
      this.#takenBy.delete(taker);
      if (this.#first === taker) this.#first = undefined;
    }
    this.#wake();
  }

  /** The connection is over; it has given back everything. */
  leave(taker: Taker): void {
    this.#waiting.delete(taker);
    if (this.#first === taker) this.#first = undefined;
    // It may have been told to go on and not come to it.
    this.#wake();
  }

  #wake(): void {
    if (this.#waiting.size === 0) return;
    let room = this.limit - this.#taken;
    if (room <= 0 && this.#first === undefined) room = 1;
    for (const taker of this.#waiting) {
      if (room <= 0) return;
      room -= STEP_BYTES;
      this.#waiting.delete(taker);
      taker.goOn();
    }
  }

  #watch(): void {
    if (this.#isWatching) return;
    this.#isWatching = true;
    this.#deadlines.after(PATIENCE_MS, () => this.#check());
  }

  #check(): void {
    this.#isWatching = false;
    const first = this.#first;
    if (first === undefined) return;
    const isLate = now() - this.#firstProgress >= PATIENCE_MS;
    if (this.#waiting.size === 0 || !isLate || first.isBlocked) return this.#watch();
    first.refuse(
      new Fault(
        "resource-error",
        `contents under way take ${this.#taken} bytes, all connections together may take ` +
          `${this.limit}, and this one has sent nothing for ${PATIENCE_MS} ms`,
      ),
    );
  }
}
