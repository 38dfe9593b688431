/**
 * Finds the queues of a message that may have very many routing keys (CC and BCC): some keys at a
 * time, so that one publish holds nobody up.
 */

import type { Exchange, Routable } from "./exchange.ts";
import type { VirtualHost } from "./virtual_host.ts";
import type { Queue } from "../queue/queue.ts";
import type { Slice, Work } from "../../time/scheduler.ts";

/** Keys between two looks at the clock, each of which may lead to a thousand queues. */
const PIECE = 8;

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
    const end = Math.min(this.#next + PIECE, this.#keys.length);
    while (this.#next < end) {
      const routingKey = this.#keys[this.#next++]!;
      this.#vhost.route(this.#exchange, { routingKey, headers: this.#headers }, this.queues);
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
