/**
 * The deliveries of one channel that wait for an acknowledgement, by delivery tag, and the time
 * that they have for it.
 *
 * States of a delivery: waiting > settled, or waiting > taken > settled, or taken > waiting when a
 * transaction is rolled back. Only what waits can be named or times out; what is taken keeps its
 * place, and counts against the limits.
 */

import { ByTag } from "./by_tag.ts";
import type { ChannelHost } from "./host.ts";
import { now } from "../../time/clock.ts";
import type { Consumer } from "./consumer.ts";
import type { Deadline } from "../../time/deadlines.ts";
import { preconditionFailed } from "../wire/faults.ts";
import type { Message } from "../message/message.ts";
import type { Queue } from "../queue/queue.ts";

export interface Delivery {
  readonly message: Message;
  readonly queue: Queue;
  /** Undefined for basic.get. */
  readonly consumer: Consumer | undefined;
  /** Milliseconds since the epoch, by the clock of `clock.ts`. */
  readonly at: number;
  readonly tag: number;
  /** Named by an acknowledgement that is not applied yet. Written by {@link Unacked}. */
  isTaken: boolean;
}

export class Unacked {
  readonly #session: ChannelHost;
  readonly #channel: number;
  /** Those that wait or are taken. */
  readonly #byTag = new ByTag<Delivery>();
  /** The highest tag so far, or 0. Written here only. */
  lastTag = 0;
  /** Those deliveries that went to consumers: what a limit for the whole channel counts. Written here
   * only. */
  consumed = 0;
  /** Not later than the first delivery times out; undefined when there was none to time out. */
  #timeout: Deadline | undefined;

  constructor(session: ChannelHost, channel: number) {
    this.#session = session;
    this.#channel = channel;
  }

  add(delivery: Delivery): void {
    this.#byTag.add(delivery.tag, delivery);
    this.#session.deliveryRoom.take();
    this.lastTag = delivery.tag;
    const expires = delivery.at + this.#timeoutOf(delivery.queue);
    if (this.#timeout === undefined || expires < this.#timeout.at) this.#armTimeout(expires);
    if (delivery.consumer === undefined) return;
    this.consumed++;
    delivery.consumer.unacked++;
  }

  /** Deliveries that wait or are taken. */
  get size(): number {
    return this.#byTag.size;
  }

  /** What waits under a tag. @throws {Fault} precondition-failed when there is no such delivery */
  find(tag: number): Delivery {
    const delivery = this.#byTag.get(tag);
    if (delivery === undefined || delivery.isTaken) {
      throw preconditionFailed(`unknown delivery tag ${tag}`);
    }
    return delivery;
  }

  /** All that waits or is taken, in the order of the tags. Some of it may be settled meanwhile. */
  unsettled(): IterableIterator<Delivery> {
    return this.#byTag.values();
  }

  /** All that waits, in the order of the tags. Some of it may be settled or taken meanwhile. */
  *waiting(): Generator<Delivery> {
    for (const delivery of this.#byTag.values()) if (!delivery.isTaken) yield delivery;
  }

  take(deliveries: Delivery[]): void {
    for (const delivery of deliveries) delivery.isTaken = true;
  }

  /** They wait again. */
  restore(deliveries: Delivery[]): void {
    for (const delivery of deliveries) delivery.isTaken = false;
  }

  /** They are settled for good: they do not count any more. */
  forget(deliveries: Delivery[]): void {
    const before = this.#byTag.size;
    for (const delivery of deliveries) this.#remove(delivery);
    this.#session.deliveryRoom.giveBack(before - this.#byTag.size);
  }

  /** {@link forget} of one that waits. */
  forgetOne(delivery: Delivery): void {
    this.#remove(delivery);
    this.#session.deliveryRoom.giveBack(1);
  }

  #remove({ tag, consumer }: Delivery): void {
    this.#byTag.delete(tag);
    if (consumer === undefined) return;
    this.consumed--;
    consumer.unacked--;
  }

  /** The channel is over. @returns what was not settled, and is to go back to the queues */
  end(): Delivery[] {
    this.#session.deadlines.cancel(this.#timeout);
    const left = [...this.#byTag.values()];
    this.#session.deliveryRoom.giveBack(left.length);
    this.#byTag.clear();
    return left;
  }

  // -- the acknowledgement timeout --

  /** Milliseconds. */
  #timeoutOf(queue: Queue): number {
    return queue.arguments.consumerTimeout ?? this.#session.limits.consumerTimeoutMs;
  }

  /** @param at milliseconds since the epoch, by the clock of `clock.ts` */
  #armTimeout(at: number): void {
    this.#session.deadlines.cancel(this.#timeout);
    this.#timeout = this.#session.deadlines.add(at, () => this.#checkTimeout());
  }

  /** Acknowledgements do not move the deadline: what it was for may be settled by now. */
  #checkTimeout(): void {
    this.#timeout = undefined;
    const first = this.#firstToExpire();
    if (first === undefined) return;
    if (first.at > now()) return this.#armTimeout(first.at);
    this.#session.fail(
      this.#channel,
      preconditionFailed(
        `delivery acknowledgement on channel ${this.#channel} timed out. Timeout value used: ` +
          `${first.timeout} ms. This timeout value can be configured, see consumers doc guide to ` +
          `learn more`,
      ),
    );
  }

  /** Timeouts differ between queues, so the oldest delivery need not be the first. */
  #firstToExpire(): { at: number; timeout: number } | undefined {
    let first: { at: number; timeout: number } | undefined;
    for (const { queue, at: since } of this.waiting()) {
      const timeout = this.#timeoutOf(queue);
      if (first === undefined || since + timeout < first.at) {
        first = { at: since + timeout, timeout };
      }
    }
    return first;
  }
}

/** Puts deliveries back into their queues, each queue's in one go. */
export function requeueAll(deliveries: readonly Delivery[]): void {
  for (const [queue, messages] of byQueue(deliveries)) queue.requeue(messages);
}

function byQueue(deliveries: Iterable<Delivery>): Map<Queue, Message[]> {
  const all = new Map<Queue, Message[]>();
  let last: Queue | undefined;
  let group: Message[] = [];
  for (const { queue, message } of deliveries) {
    if (queue !== last) {
      const known = all.get(last = queue);
      if (known === undefined) all.set(queue, group = []);
      else group = known;
    }
    group.push(message);
  }
  return all;
}

/** Lets the queues of settled deliveries go on delivering. */
export function wakeQueues(deliveries: Delivery[]): void {
  if (deliveries.length === 1) return deliveries[0]!.queue.wake();
  for (const queue of new Set(deliveries.map(({ queue }) => queue))) queue.wake();
}
