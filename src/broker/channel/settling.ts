/**
 * What a client says of the deliveries of a channel: done, back to the queue, or not wanted. It is
 * applied at once or, in a transaction, held until the client commits. What names many is worked
 * off in pieces, before the connection's next frame.
 */

import type { ChannelHost } from "./host.ts";
import type { Consuming } from "./consuming.ts";
import { notImplemented } from "../wire/faults.ts";
import type { Arguments } from "../wire/methods.ts";
import type { Slice, Work } from "../../time/scheduler.ts";
import { type Delivery, requeueAll, type Unacked } from "./unacked.ts";

type Disposition = "ack" | "requeue" | "reject";

/** Deliveries between two looks at the clock; those that may become dead letters take longer. */
const PIECE = 1_024;
const REJECTED_PIECE = 128;

/** Deliveries that were named by one method, or some of them. */
export interface Settlement {
  readonly deliveries: Delivery[];
  readonly disposition: Disposition;
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
  settle(tag: number, multiple: boolean, disposition: Disposition): void {
    if (multiple && tag === 0) return this.#settleUpTo(this.#unacked.lastTag, disposition);
    const delivery = this.#unacked.find(tag);
    if (multiple) this.#settleUpTo(tag, disposition);
    else if (this.#held === undefined) this.#applyOne(delivery, disposition);
    else this.#settle({ deliveries: [delivery], disposition });
  }

  #settle(settlement: Settlement): void {
    if (this.#held === undefined) return this.apply(settlement);
    this.#unacked.take(settlement.deliveries);
    this.#held.push(settlement);
  }

  /** What goes back to a queue does so in one go: nobody may get a later one before an earlier one. */
  #settleUpTo(last: number, disposition: Disposition): void {
    const unsettled = this.#unacked.unsettled();
    const most = disposition === "reject" ? REJECTED_PIECE : PIECE;
    const whole: Delivery[] = [];
    this.#inPieces(() => {
      const deliveries: Delivery[] = [];
      let isLast = true;
      // Goes on where the last piece ended: leaving the loop does not end the iterator.
      for (const delivery of unsettled) {
        if (delivery.tag > last) break;
        if (!delivery.isTaken) deliveries.push(delivery);
        if (delivery.tag === last) break;
        isLast = deliveries.length < most;
        if (!isLast) break;
      }
      if (disposition === "requeue") { for (const delivery of deliveries) whole.push(delivery); }
      else this.#settle({ deliveries, disposition });
      const waits = disposition === "reject" && this.#held === undefined && !isLast &&
        deliveries.at(-1)?.queue.isDying === true;
      return isLast ? "done" : waits ? "waits" : "more";
    }, () => {
      if (whole.length > 0) this.#settle({ deliveries: whole, disposition });
    });
  }

  /** @param then when all pieces are done */
  #inPieces(piece: () => "done" | "more" | "waits", then: () => void): void {
    const first = piece();
    if (first === "done") return then();
    const work: Work = {
      work(slice: Slice): boolean {
        for (;;) {
          const state = piece();
          if (state !== "more") return state === "waits";
          if (slice.isOver) return true;
        }
      },
    };
    this.#session.finishFirst(this.#channel, work, then);
  }

  nack({ deliveryTag, multiple, requeue }: Arguments<"basic.nack">): void {
    this.settle(deliveryTag, multiple, requeue ? "requeue" : "reject");
  }

  /** Everything goes back, a transaction or not. @param answer none for the older method */
  recover(requeue: boolean, answer: "basic.recover-ok" | undefined): void {
    if (!requeue) throw notImplemented("requeue=false");
    if (answer !== undefined) this.#session.send(this.#channel, answer, {});
    this.apply({ deliveries: [...this.#unacked.waiting()], disposition: "requeue" });
  }

  apply(settlement: Settlement): void {
    if (settlement.deliveries.length > 0) this.applyAll([settlement]);
  }

  /** What goes back does so in one go, and room is offered once, however many they are. */
  applyAll(settlements: readonly Settlement[]): void {
    const returned: Delivery[] = [];
    for (const { deliveries, disposition } of settlements) {
      this.#unacked.forget(deliveries);
      for (const delivery of deliveries) {
        const { queue, message } = delivery;
        if (disposition === "ack") queue.ack(message);
        else if (disposition === "reject") queue.reject(message);
        else returned.push(delivery);
      }
    }
    requeueAll(returned);
    this.#consuming.offerRoom(settlements.flatMap(({ deliveries }) => deliveries));
  }

  /** {@link apply} of one, as most are settled: nothing is made for it. */
  #applyOne(delivery: Delivery, disposition: Disposition): void {
    const { queue, message } = delivery;
    this.#unacked.forgetOne(delivery);
    if (disposition === "ack") queue.ack(message);
    else if (disposition === "reject") queue.reject(message);
    else queue.requeue([message]);
    this.#consuming.offerRoomOf(queue);
  }

  // -- transactions --

  /** From now on everything is held. */
  hold(): void {
    this.#held ??= [];
  }

  /** What was held, to be applied. The next transaction begins. */
  takeHeld(): Settlement[] {
    const held = this.#held!;
    this.#held = [];
    return held;
  }

  /** Nothing was said. @param then when all deliveries may be settled again */
  rollback(then: () => void): void {
    const held = this.takeHeld();
    this.#inPieces(() => {
      const settlement = held.pop();
      if (settlement !== undefined) this.#unacked.restore(settlement.deliveries);
      return held.length === 0 ? "done" : "more";
    }, then);
  }

  /** The channel is over. @returns what it holds, and is to go back to the queues */
  end(): Delivery[] {
    this.#held = undefined;
    return this.#unacked.end();
  }
}
