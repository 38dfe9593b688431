/**
 * Who has borrowed memory for a frame that has come in part, and who waits for some.
 *
 * A connection asks for all of a frame when it has its header, and gives that back when the frame was
 * taken. When all is lent, it waits in line: the broker does not read it. Next is whose user has
 * borrowed least, and of those of one user who comes from where least was borrowed: however many
 * connections one has, another one's waits for one of them. One at a time need not wait, the first
 * one, so that they get on in the end, however many have begun.
 *
 * While others wait, whoever has borrowed and sends too slowly is refused, and the sooner the more
 * wait.
 */

import { now } from "../../time/clock.ts";
import type { Deadline, Deadlines } from "../../time/deadlines.ts";
import { isBefore, type Owner, type Part, Shares } from "./shares.ts";
import { Fault } from "../wire/faults.ts";

/** A connection, as the room sees it. */
export interface Borrower extends Owner {
  /** Bytes that it has sent. */
  readonly received: number;
  /** It is not read because of an alarm, which may last. */
  readonly isBlocked: boolean;
  /** It is not read at the moment, and not for its own fault. */
  readonly isHeldBack: boolean;
  /** Others wait for what it does, and it for nobody. */
  readonly goesFirst: boolean;
  /** It has what it asked for. */
  goOn(): void;
  /** It holds what others wait for, and does not get on. */
  refuse(fault: Fault): void;
}

interface Loan {
  readonly part: Part;
  /** What it had sent when it was last looked at, and when that was: in milliseconds since the epoch,
   * by the clock of `clock.ts`. */
  received: number;
  since: number;
}

/** Who has borrowed while others wait must send as much in `Limits.patienceMs`. */
const PROGRESS_BYTES = 64 * 1024;

/** The part of the patience that there is however many wait. */
const LEAST_PATIENCE = 1 / 10;

export class FrameLine {
  /** Bytes of all frames together. */
  most = 0;
  readonly #patienceMs: number;
  readonly #deadlines: Deadlines;
  #lent = 0;
  readonly #shares = new Shares();
  readonly #loans = new Map<Borrower, Loan>();
  /** What they want, in the order of their coming. */
  readonly #waiting = new Map<Borrower, Part>();
  /** Who has borrowed although all was lent. */
  #first: Borrower | undefined;
  #nextLook: Deadline | undefined;

  constructor(patienceMs: number, deadlines: Deadlines) {
    this.#patienceMs = patienceMs;
    this.#deadlines = deadlines;
  }

  /**
   * Asks for room for a frame, unless it has been given.
   * @param bytes of all of it
   * @returns whether there is; if not, the connection waits, and hears of it when there is
   */
  ask(borrower: Borrower, bytes: number): boolean {
    if (this.#loans.has(borrower)) return true;
    const isNext = this.#waiting.size === 0 && this.#canLend(bytes);
    const part = this.#waiting.get(borrower) ?? this.#shares.part(borrower, bytes);
    if (isNext || borrower.goesFirst) {
      this.#waiting.delete(borrower);
      this.#lend(borrower, part);
      return true;
    }
    this.#waiting.set(borrower, part);
    if (this.#nextLook === undefined) {
      for (const [each, loan] of this.#loans) renew(each, loan);
      this.#lookLater();
    }
    return false;
  }

  /** The frame was taken, or never will be. */
  leave(borrower: Borrower): void {
    const lent = this.#loans.get(borrower)?.part;
    const part = lent ?? this.#waiting.get(borrower);
    if (part === undefined) return;
    this.#loans.delete(borrower);
    this.#waiting.delete(borrower);
    this.#lent -= lent?.bytes ?? 0;
    this.#shares.drop(part, lent !== undefined);
    if (this.#first === borrower) this.#first = undefined;
    this.#wake();
  }

  #canLend(bytes: number): boolean {
    return this.#lent + bytes <= this.most || this.#needsFirst;
  }

  get #needsFirst(): boolean {
    return this.#first === undefined || this.#first.isBlocked;
  }

  #lend(borrower: Borrower, part: Part): void {
    this.#lent += part.bytes;
    this.#shares.give(part);
    if (this.#lent > this.most && this.#needsFirst) this.#first = borrower;
    this.#loans.set(borrower, { part, received: borrower.received, since: now() });
  }

  /** Who is next of those who wait: there are some. */
  #next(): [Borrower, Part] {
    let next: [Borrower, Part] | undefined;
    for (const one of this.#waiting) {
      if (next === undefined || isBefore(one[1], next[1])) next = one;
    }
    return next!;
  }

  #wake(): void {
    while (this.#waiting.size > 0) {
      // With room for nobody very many would be looked through for each of them that goes.
      if (!this.#canLend(0)) return;
      const [borrower, part] = this.#next();
      if (!this.#canLend(part.bytes)) return;
      this.#waiting.delete(borrower);
      this.#lend(borrower, part);
      borrower.goOn();
    }
    this.#deadlines.cancel(this.#nextLook);
    this.#nextLook = undefined;
  }

  /** Milliseconds for which one must not get on to be refused. */
  get #patience(): number {
    const part = this.#loans.size / (this.#loans.size + this.#waiting.size);
    return this.#patienceMs * Math.max(LEAST_PATIENCE, part);
  }

  #lookLater(): void {
    this.#nextLook = this.#deadlines.after(this.#patience, () => {
      this.#nextLook = undefined;
      this.#look();
      this.#wake(); // an alarm may have begun for the first one
      if (this.#waiting.size > 0 && this.#nextLook === undefined) this.#lookLater();
    });
  }

  #look(): void {
    const patience = this.#patience;
    const lent = this.#lent;
    for (const [borrower, loan] of [...this.#loans]) {
      if (borrower.isHeldBack) {
        renew(borrower, loan);
        continue;
      }
      const elapsed = now() - loan.since;
      if (elapsed < patience) continue;
      const sent = borrower.received - loan.received;
      if (sent * this.#patienceMs < PROGRESS_BYTES * elapsed) {
        borrower.refuse(
          new Fault(
            "resource-error",
            `frames that have come in part take ${lent} bytes, all connections together may take ` +
              `${this.most}, and this one has sent ${sent} bytes in ${Math.round(elapsed)} ms`,
          ),
        );
      } else renew(borrower, loan);
    }
  }
}

function renew(borrower: Borrower, loan: Loan): void {
  loan.received = borrower.received;
  loan.since = now();
}
