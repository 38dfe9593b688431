/**
 * What publishers have found of a virtual host, until any of it changes. Channels keep where in here
 * it is, and not the thing itself: of what was deleted a channel that publishes no more would keep all,
 * and there may be very many channels.
 */

import type { Exchange } from "./exchange.ts";
import type { Queue } from "../queue/queue.ts";

/** What is found for a publish. */
export interface FoundRoute {
  readonly exchange: Exchange;
  /** Undefined: it was not looked for yet, or it is not that of all messages with this key. */
  readonly route: readonly Queue[] | undefined;
}

/** Places, and queues in all routes: beyond them it is looked for again. */
const MOST_PLACES = 4_096;
const MOST_QUEUES = 65_536;

interface Known extends FoundRoute {
  route: readonly Queue[] | undefined;
}

export class FoundRoutes {
  /** Counts changes: a place of before one means nothing. Written here only. */
  version = 0;
  #places: Known[] = [];
  #queues = 0;

  /** An exchange, a queue or a binding is new, or gone. */
  forget(): void {
    this.version++;
    if (this.#places.length > 0) this.#places = [];
    this.#queues = 0;
  }

  at(place: number): FoundRoute {
    return this.#places[place]!;
  }

  /**
   * @param place of what is not needed any more; undefined: none
   * @returns its place, in the {@link version} behind this
   */
  add(exchange: Exchange, place: number | undefined): number {
    if (place === undefined && this.#places.length === MOST_PLACES) this.forget();
    const at = place ?? this.#places.length;
    this.#queues -= this.#places[at]?.route?.length ?? 0;
    this.#places[at] = { exchange, route: undefined };
    return at;
  }

  /** It is the way of all messages with the same key. */
  complete(place: number, route: readonly Queue[]): void {
    const known = this.#places[place]!;
    this.#queues += route.length - (known.route?.length ?? 0);
    known.route = route;
    if (this.#queues > MOST_QUEUES) this.forget();
  }
}
