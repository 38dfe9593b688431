/**
 * Room for deliveries that wait for an acknowledgement, of all connections together: each takes
 * memory. When there is none, channels that have few already get more, and the others wait.
 */

import type { Scheduler, Slice, Work } from "../../time/scheduler.ts";

/**
 * Deliveries that a channel may have when all room is taken: who settles them gets on. And when channels
 * with so few have taken a further part of it: there may be very many.
 */
const FEW = 250;
const FEWEST = 4;
const FURTHER_PART = 1 / 8;

/** Part of the room that must be free before those who wait are asked again. */
const FREE_PART = 1 / 16;

/** A channel that found no room. */
export interface Waiting {
  /** There may be room again. */
  wake(): void;
}

export class DeliveryRoom implements Work {
  readonly #most: number;
  readonly #scheduler: Scheduler;
  #taken = 0;
  readonly #waiting = new Set<Waiting>();

  /** @param most deliveries */
  constructor(most: number, scheduler: Scheduler) {
    this.#most = most;
    this.#scheduler = scheduler;
  }

  take(): void {
    this.#taken++;
  }

  giveBack(count: number): void {
    this.#taken -= count;
    if (this.#waiting.size > 0 && this.#isFree) this.#scheduler.add(this);
  }

  get #isFree(): boolean {
    return this.#taken <= this.#most * (1 - FREE_PART);
  }

  get #few(): number {
    return this.#taken < this.#most * (1 + FURTHER_PART) ? FEW : FEWEST;
  }

  /** @param own how many the channel that asks has. If there is no room it is woken later */
  isFullFor(channel: Waiting, own: number): boolean {
    if (this.#taken < this.#most || own < this.#few) return false;
    this.#waiting.add(channel);
    return true;
  }

  /** A channel is over. */
  leave(channel: Waiting): void {
    this.#waiting.delete(channel);
  }

  /** Wakes those who wait, in turn. */
  work(slice: Slice): boolean {
    for (const channel of this.#waiting) {
      if (!this.#isFree) break;
      this.#waiting.delete(channel);
      channel.wake();
      if (slice.isOver) return this.#waiting.size > 0;
    }
    return false;
  }
}
