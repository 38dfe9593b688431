/** The ids of lanes: no lane has that of another one, nor of one that messages may be left of. */

import { LAST_LANE } from "../file/message_row.ts";

export class LaneIds {
  /** Transient ones count downwards: they only meet durable ones in the scratch file. */
  readonly #taken = new Set<number>();
  /** Those of dropped lanes whose rows are not all deleted. */
  readonly #dropped: Set<number>;
  #lastDurable: number;
  #lastTransient = 0;

  /**
   * @param last the highest one of a stored lane
   * @param left those that rows are left of; which of them are lanes, {@link restore} tells
   */
  constructor(last: number, left: readonly number[]) {
    this.#lastDurable = Math.max(last, ...left);
    this.#dropped = new Set(left);
    for (const id of left) this.#taken.add(id);
  }

  /** A stored lane has it. */
  restore(id: number): void {
    this.#taken.add(id);
    this.#dropped.delete(id);
  }

  take(durable: boolean): number {
    let id: number;
    do {
      if (durable) id = this.#lastDurable = this.#lastDurable % LAST_LANE + 1;
      else id = -(this.#lastTransient = this.#lastTransient % LAST_LANE + 1);
    } while (this.#taken.has(id));
    this.#taken.add(id);
    return id;
  }

  /** @param isLeft rows of the lane are still to be deleted */
  drop(id: number, isLeft: boolean): void {
    if (isLeft) this.#dropped.add(id);
    else this.#taken.delete(id);
  }

  /** Nothing of a lane is left to delete; it may still be in use. */
  swept(id: number): void {
    if (this.#dropped.delete(id)) this.#taken.delete(id);
  }
}
