/**
 * Memory for contents and transactions that are not complete; shared by all connections.
 *
 * A connection takes memory as its bytes arrive. What is complete is in memory until it is written,
 * and has its part in the same. When all memory is taken, a connection that sends content has to
 * wait: the broker does not read it. Two kinds need not wait:
 *
 * - one connection at a time, the first one. It goes on until it has given back all that it took, and
 *   then, once that is written, another one is the first. So all of them get on in the end, however
 *   many have begun.
 * - those that hold next to nothing. For them there is a reserve: small messages do not wait for
 *   large ones, and tiny ones for nobody.
 *
 * A first one that makes others wait is refused when it sends too slowly, and when it takes too long;
 * others that hold something are when they send too slowly.
 */

import { now } from "../../time/clock.ts";
import type { Deadlines } from "../../time/deadlines.ts";
import type { Limits } from "../net/limits.ts";
import { Fault } from "../wire/faults.ts";

/** A connection, as the budget sees it. */
export interface Taker {
  /** Bytes that it has. Written by the budget. */
  taken: number;
  /** Bytes of contents that it has sent while memory was short, and how often it has given back all.
   * Written by the budget. */
  sent: number;
  turns: number;
  /** It waits for room of another kind. */
  readonly isCramped: boolean;
  /** It is not read, for a reason of ours: that it gets nowhere is not its fault. */
  readonly isBlocked: boolean;
  /** It may try again. */
  goOn(): void;
  /** It holds what others wait for, and does not get on. */
  refuse(fault: Fault): void;
}

/** What all together may take before there is a first one, at most. */
const SHARED_BYTES = 48 * 1024 * 1024;

/** What a connection may hold to count as small, and what small ones may have beyond the rest. */
const SMALL_BYTES = 128 * 1024;
const RESERVE_BYTES = 16 * 1024 * 1024;

/** What every connection may hold, of which there may be ten thousand. */
const TINY_BYTES = 1024;

/** Who holds something that others wait for must send so many bytes in `Limits.patienceMs`. */
const PROGRESS_BYTES = 64 * 1024;

/** Milliseconds for which a first one may make others wait, however fast it sends. */
const MOST_MS = 120_000;

/** Bytes of a frame: what a waiting connection wants at least. */
const STEP_BYTES = 131_072;

export class Budget {
  /** What one connection may take. */
  limit = 0;
  readonly #patienceMs: number;
  #shared = 0;
  #reserve = 0;
  readonly #deadlines: Deadlines;
  readonly #unwritten: () => number;
  /** Bytes that all connections have together. */
  #taken = 0;
  /** In the order of their coming. */
  readonly #waiting = new Set<Taker>();
  /** Who may go on although all is taken. */
  #first: Taker | undefined;
  /** Since when others wait for it, and when it had last sent enough; in milliseconds since the epoch,
   * by the clock of `clock.ts`. */
  #waitedSince = 0;
  #firstProgress = 0;
  /** Bytes that it has sent since then. */
  #firstBytes = 0;
  #isWatching = false;
  /** What holders had sent at an earlier look, since when they have not got on. */
  #looks = new Map<Taker, Look>();
  readonly #all: () => Iterable<Taker>;

  /**
   * @param unwritten tells how many bytes of messages wait for a commit; after it {@link written}
   * @param all connections
   */
  constructor(
    { pendingBytes, patienceMs }: Pick<Limits, "pendingBytes" | "patienceMs">,
    deadlines: Deadlines,
    unwritten: () => number,
    all: () => Iterable<Taker>,
  ) {
    this.limitTo(pendingBytes);
    this.#patienceMs = patienceMs;
    this.#unwritten = unwritten;
    this.#all = all;
    this.#deadlines = deadlines;
  }

  /** @param bytes that one connection may take */
  limitTo(bytes: number): void {
    this.limit = bytes;
    // What others have, and what small ones have, comes on top of what the first one takes.
    this.#shared = Math.min(Math.floor(bytes / 3), SHARED_BYTES);
    this.#reserve = Math.min(Math.floor(bytes / 8), RESERVE_BYTES);
  }

  /** Whether connections have to ask before they go on with content. */
  get isTight(): boolean {
    return this.#room <= 0 || this.#first !== undefined;
  }

  /** Whether others wait for it. */
  isFirst(taker: Taker): boolean {
    return this.#first === taker;
  }

  get #room(): number {
    return this.#shared - this.#taken - this.#unwritten();
  }

  /**
   * Whether a connection may go on with content. If not, it waits, and hears when to ask again.
   * @param bytes of the content that it has sent
   * @param wanted bytes that it is to take for them
   */
  askToGoOn(taker: Taker, bytes: number, wanted: number): boolean {
    if (this.#mayGoOn(taker, wanted)) {
      taker.sent += bytes;
      if (this.#first === taker) this.#progress(bytes);
      return true;
    }
    if (this.#waiting.size === 0) {
      this.#beginWaiting();
      this.#looks.clear();
    }
    this.#waiting.add(taker);
    return false;
  }

  #mayGoOn(taker: Taker, wanted: number): boolean {
    if (this.#first === taker || wanted === 0 || this.#room > 0) return true;
    if (this.#isSmall(taker, wanted)) return true;
    if (!this.#canBeFirst) return false;
    this.#first = taker;
    this.#watch();
    return true;
  }

  /** What the last one has sent must be written before. */
  get #canBeFirst(): boolean {
    return this.#first === undefined && this.#unwritten() < this.#shared;
  }

  #isSmall(taker: Taker, wanted: number): boolean {
    if (taker.taken + wanted <= TINY_BYTES) return true;
    const others = this.#first?.taken ?? 0;
    return taker.taken < SMALL_BYTES &&
      this.#taken - others < this.#shared + this.#reserve;
  }

  #progress(bytes: number): void {
    this.#firstBytes += bytes;
    if (this.#firstBytes < PROGRESS_BYTES) return;
    this.#firstBytes = 0;
    this.#firstProgress = now();
  }

  #beginWaiting(): void {
    this.#firstBytes = 0;
    this.#firstProgress = this.#waitedSince = now();
  }

  /** @throws {Fault} resource-error when one connection wants more than there is for all */
  take(taker: Taker, bytes: number): void {
    const taken = taker.taken + bytes;
    if (taken > this.limit) {
      throw new Fault(
        "resource-error",
        `contents under way take ${taken} bytes, one connection may take ${this.limit}`,
      );
    }
    taker.taken = taken;
    this.#taken += bytes;
    // It may have been told to go on before others, who do not wait for what it does next.
    if (this.#first === undefined) this.#wake();
  }

  giveBack(taker: Taker, bytes: number): void {
    taker.taken -= bytes;
    this.#taken -= bytes;
    if (taker.taken === 0) {
      taker.turns++;
      if (this.#first === taker) this.#first = undefined;
    }
    this.#wake();
  }

  /** A commit has written messages. */
  written(): void {
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
    let room = this.#room;
    if (room <= 0 && this.#canBeFirst) room = 1;
    for (const taker of this.#waiting) {
      if (room <= 0) return;
      room -= STEP_BYTES;
      this.#waiting.delete(taker);
      taker.goOn();
    }
  }

  #watch(): void {
    this.#beginWaiting();
    if (this.#isWatching) return;
    this.#isWatching = true;
    this.#deadlines.after(this.#patienceMs, () => this.#check());
  }

  #check(): void {
    this.#isWatching = false;
    const first = this.#first;
    if (first === undefined) return;
    if (this.#waiting.size > 0) this.#lookAtHolders();
    if (this.#first !== first) return;
    if (this.#waiting.size === 0 || first.isBlocked) return this.#watch();
    const isLate = now() - this.#firstProgress >= this.#patienceMs;
    if (!isLate && now() - this.#waitedSince < MOST_MS) {
      this.#isWatching = true;
      this.#deadlines.after(this.#patienceMs / 2, () => this.#check());
      return;
    }
    this.#refuse(first, isLate ? this.#tooSlow : `made others wait for ${MOST_MS} ms`);
  }

  /** The others that hold something: while it is theirs, nobody else gets it. */
  #lookAtHolders(): void {
    const at = now();
    const looks = new Map<Taker, Look>();
    for (const taker of [...this.#all()]) {
      const { taken, sent, turns } = taker;
      const mayWait = taker.isBlocked || taker.isCramped || this.#waiting.has(taker);
      if (taken <= TINY_BYTES || taker === this.#first || mayWait) continue;
      const before = this.#looks.get(taker);
      const isSlow = before?.turns === turns && sent - before.sent < PROGRESS_BYTES;
      const look = isSlow ? before! : { sent, turns, at };
      if (at - look.at < this.#patienceMs) looks.set(taker, look);
      else this.#refuse(taker, this.#tooSlow);
    }
    this.#looks = looks;
  }

  get #tooSlow(): string {
    return `sent less than ${PROGRESS_BYTES} bytes in ${this.#patienceMs} ms`;
  }

  #refuse(taker: Taker, reason: string): void {
    taker.refuse(
      new Fault(
        "resource-error",
        `contents under way take ${this.#taken} bytes, all connections together may take ` +
          `${this.#shared}, and this one has ${reason}`,
      ),
    );
  }
}

interface Look {
  readonly sent: number;
  readonly turns: number;
  /** In milliseconds since the epoch, by the clock of `clock.ts`. */
  readonly at: number;
}
