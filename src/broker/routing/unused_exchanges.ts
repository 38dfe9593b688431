/**
 * Auto-delete exchanges that have lost a binding: without any they go, and with them the bindings
 * that lead to them, so that others may have none left. They may form a chain of any length; a very
 * long one goes in pieces, and whoever has caused it waits for his answer.
 */

import type { Exchange } from "./exchange.ts";
import type { Scheduler, Slice, Work } from "../../time/scheduler.ts";

/** Exchanges that go in one go. */
const PIECE = 128;

export class UnusedExchanges implements Work {
  readonly #scheduler: Pick<Scheduler, "add">;
  readonly #drop: (exchange: Exchange) => Iterable<Exchange>;
  /** Those to be looked at. */
  #left: Exchange[] = [];

  /** @param drop deletes one that is not used; it returns those that have lost a binding by that */
  constructor(
    scheduler: Pick<Scheduler, "add">,
    drop: (exchange: Exchange) => Iterable<Exchange>,
  ) {
    this.#scheduler = scheduler;
    this.#drop = drop;
  }

  get isEmpty(): boolean {
    return this.#left.length === 0;
  }

  /** These have lost a binding. */
  add(sources: Iterable<Exchange>): void {
    const isFirst = this.isEmpty;
    for (const source of sources) this.#left.push(source);
    if (isFirst && this.#step()) this.#scheduler.add(this);
  }

  /** @returns whether there is more */
  #step(): boolean {
    for (let index = 0; index < PIECE; index++) {
      const source = this.#left[index];
      if (source === undefined) {
        this.#left = [];
        return false;
      }
      if (!source.identity.autoDelete || source.isUsed || source.deleted) continue;
      for (const next of this.#drop(source)) this.#left.push(next);
    }
    this.#left.splice(0, PIECE);
    return true;
  }

  work(slice: Slice): boolean {
    while (this.#step()) if (slice.isOver) return true;
    return false;
  }
}
