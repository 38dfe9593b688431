/**
 * What a client says of the deliveries of a channel: done, back to the queue, or not wanted. It is
 * applied at once or, in a transaction, held until the client commits.
 */

import type { ChannelHost } from "./host.ts";
import type { Consuming } from "./consuming.ts";
import { notImplemented } from "../wire/faults.ts";
import type { Arguments } from "../wire/methods.ts";
import { type Delivery, requeueAll, type Unacked } from "./unacked.ts";

type Outcome = "ack" | "requeue" | "reject";

/** Deliveries that were named by one method, out of {@link Unacked}. */
export interface Settlement {
  readonly deliveries: Delivery[];
  readonly outcome: Outcome;
}

export class Settling {
  readonly #session: ChannelHost;
  readonly #channel: number;
  readonly #consuming: Consuming;
  readonly #unacked: Unacked;
  /** What waits for the commit, in the order in which it was said; undefined: no transactions. */
  #held: Settlement[] | undefined;

  constructor(session: ChannelHost, channel: number, consuming: Consuming) {
    this.#session = session;
    this.#channel = channel;
    this.#consuming = consuming;
    this.#unacked = consuming.unacked;
  }

  /**
   * @param tag with `multiple` 0 means all
   * @throws {Fault} precondition-failed when there is no such delivery
   */
  settle(tag: number, multiple: boolean, outcome: Outcome): void {
    const deliveries = this.#unacked.take(tag, multiple);
    if (this.#held !== undefined) this.#held.push({ deliveries, outcome });
    else this.apply({ deliveries, outcome });
  }

  nack({ deliveryTag, multiple, requeue }: Arguments<"basic.nack">): void {
    this.settle(deliveryTag, multiple, requeue ? "requeue" : "reject");
  }

  /** Everything goes back, a transaction or not. @param answer none for the older method */
  recover(requeue: boolean, answer: "basic.recover-ok" | undefined): void {
    if (!requeue) throw notImplemented("requeue=false");
    if (answer !== undefined) this.#session.send(this.#channel, answer, {});
    this.apply({ deliveries: this.#unacked.takeAll(), outcome: "requeue" });
  }

  apply({ deliveries, outcome }: Settlement): void {
    if (deliveries.length === 0) return;
    this.#unacked.settled(deliveries);
    if (outcome === "requeue") {
      requeueAll(deliveries);
    } else {
      for (const { queue, message } of deliveries) {
        if (outcome === "ack") queue.ack(message);
        else queue.reject(message);
      }
    }
    this.#consuming.settled(deliveries);
  }

  // -- transactions --

  /** From now on everything is held. */
  hold(): void {
    this.#held ??= [];
  }

  /** What was held, to be applied or restored. The next transaction begins. */
  takeHeld(): Settlement[] {
    const held = this.#held!;
    this.#held = [];
    return held;
  }

  /** Deliveries whose settlement was rolled back may be settled again. */
  restore(held: Settlement[]): void {
    this.#unacked.restore(held.flatMap(({ deliveries }) => deliveries));
  }

  /** The channel is over: what it holds goes back to the queues. */
  end(): void {
    const uncommitted = this.#held?.flatMap(({ deliveries }) => deliveries) ?? [];
    this.#held = undefined;
    requeueAll([...uncommitted, ...this.#unacked.end()]);
  }
}
