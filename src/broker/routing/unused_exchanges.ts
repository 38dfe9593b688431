/**
 * Auto-delete exchanges that have lost a binding: without any they go, and with them the bindings
 * that lead to them, so that others may have none left. They may form a chain of any length; a very
 * long one goes in pieces, and whoever has caused it waits for his answer. What is left at the end of a
 * piece is noted in the store, with the changes of the piece: a crash does not end it.
 */

import type { Exchange } from "./exchange.ts";
import type { Scheduler, Slice, Work } from "../../time/scheduler.ts";

/** Exchanges that go in one go. */
const PIECE = 128;

export interface UnusedExchangesHooks {
  /** Deletes one that is not used. @returns those that have lost a binding by that */
  drop: (exchange: Exchange) => Iterable<Exchange>;
  /** Stores of durable ones that they will be looked at, or were and stay. */
  note: (exchanges: readonly Exchange[], isLeaving: boolean) => void;
}

export class UnusedExchanges implements Work {
  readonly #scheduler: Pick<Scheduler, "add">;
  readonly #hooks: UnusedExchangesHooks;
  /** Those to be looked at, and how many of them, from the first one on, are noted. */
  #left: Exchange[] = [];
  #noted = 0;

  constructor(scheduler: Pick<Scheduler, "add">, hooks: UnusedExchangesHooks) {
    this.#scheduler = scheduler;
    this.#hooks = hooks;
  }

  get isEmpty(): boolean {
    return this.#left.length === 0;
  }

  /** These have lost a binding. */
  add(sources: Iterable<Exchange>): void {
    const isFirst = this.isEmpty;
    for (const source of sources) if (source.identity.autoDelete) this.#left.push(source);
    if (!isFirst) this.#note();
    else if (this.#step()) this.#scheduler.add(this);
  }

  /** The same, of a former process that has noted them. */
  resume(sources: readonly Exchange[]): void {
    for (const source of sources) this.#left.push(source);
    this.#noted = sources.length;
    this.#scheduler.add(this);
  }

  /** @returns whether there is more */
  #step(): boolean {
    const left = this.#left;
    const stay: Exchange[] = [];
    for (let index = 0; index < PIECE && index < left.length; index++) {
      const source = left[index]!;
      if (source.deleted) continue;
      if (!source.isUsed) { for (const next of this.#drop(source)) left.push(next); }
      else if (index < this.#noted && source.identity.durable) stay.push(source);
    }
    if (stay.length > 0) this.#hooks.note(stay, false);
    this.#noted = Math.max(0, this.#noted - PIECE);
    left.splice(0, PIECE);
    this.#note();
    return !this.isEmpty;
  }

  #drop(source: Exchange): Exchange[] {
    return [...this.#hooks.drop(source)].filter(({ identity }) => identity.autoDelete);
  }

  #note(): void {
    const leaving = this.#left.slice(this.#noted).filter((source) => {
      return source.identity.durable && !source.isUsed && !source.deleted;
    });
    this.#noted = this.#left.length;
    if (leaving.length > 0) this.#hooks.note(leaving, true);
  }

  work(slice: Slice): boolean {
    while (this.#step()) if (slice.isOver) return true;
    return false;
  }
}
