/**
 * Finds the queues of a message that may have very many routing keys (CC and BCC): some keys at a
 * time, so that one publish holds nobody up.
 */

import type { Exchange, Routable } from "./exchange.ts";
import type { VirtualHost } from "./virtual_host.ts";
import type { Queue } from "../queue/queue.ts";
import type { Slice, Work } from "../../time/scheduler.ts";

/** What is looked at between two looks at the clock, about: each key may lead to a thousand queues. */
const PIECE = 4_000;

export class Way implements Work {
  /** The queues so far. */
  readonly queues = new Set<Queue>();
  /** It is not the way of all messages with the same keys. */
  isParticular = false;
  readonly #vhost: VirtualHost;
  readonly #exchange: Exchange;
  readonly #keys: readonly string[];
  readonly #headers: Routable["headers"];
  /** Index of the first key that was not looked at. */
  #next = 0;

  /** @param keys at least one */
  constructor(
    vhost: VirtualHost,
    exchange: Exchange,
    keys: Iterable<string>,
    headers: Routable["headers"],
  ) {
    this.#vhost = vhost;
    this.#exchange = exchange;
    this.#keys = [...new Set(keys)];
    this.#headers = () => {
      this.isParticular = true;
      return headers();
    };
  }

  /** Whether all queues are known. */
  get isDone(): boolean {
    return this.#next === this.#keys.length;
  }

  /** Goes on with the next piece. */
  step(): void {
    for (let looked = 0; looked < PIECE && !this.isDone;) {
      const routingKey = this.#keys[this.#next++]!;
      const message = { routingKey, headers: this.#headers };
      looked += this.#vhost.route(this.#exchange, message, this.queues);
    }
  }

  work(slice: Slice): boolean {
    while (!this.isDone) {
      this.step();
      if (slice.isOver) break;
    }
    return !this.isDone;
  }
}
