/**
 * When messages of a lane expire by the clock of this process, whatever the machine's clock was set
 * to since they were stored.
 */

import { clockShift } from "../../time/clock.ts";
import type { Message } from "../message/message.ts";

interface Shift {
  readonly from: number;
  readonly shift: number;
}

/** Of nearly all lanes. */
const NO_SHIFTS: readonly Shift[] = [];

export class ClockShifts {
  /** Messages up to here come from a former process; they follow the machine's clock. */
  #former = 0;
  /** From which position on messages were stored with which shift of the clock; before that: 0. */
  #shifts = NO_SHIFTS;

  /** Nothing was stored by this process so far. @param former the last position of former ones */
  restart(former: number): void {
    this.#former = former;
    this.#shifts = NO_SHIFTS;
  }

  /** A message that expires is about to be stored at a position behind all others. */
  note(position: number): void {
    const shift = clockShift();
    if (shift === (this.#shifts.at(-1)?.shift ?? 0)) return;
    this.#shifts = [...this.#shifts, { from: position, shift }];
  }

  /** When a message expires, by `now`; 0 for never. */
  expiryOf({ expiresAt, position }: Message): number {
    if (expiresAt === 0) return 0;
    if (position <= this.#former) return expiresAt - clockShift();
    return expiresAt - (this.#shifts.findLast(({ from }) => from <= position)?.shift ?? 0);
  }
}
