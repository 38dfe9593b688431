/**
 * The deliveries of one channel that wait for an acknowledgement, by delivery tag, and the time
 * that they have for it.
 *
 * States of a delivery: waiting > taken > settled, or taken > waiting when a transaction is rolled
 * back. Only what waits can be named or times out; what is taken still counts against the limits.
 */

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
}

export class Unacked {
  readonly #session: ChannelHost;
  readonly #channel: number;
  /** Those that wait, in the order of their tags. */
  readonly #byTag = new Map<number, Delivery>();
  /** Deliveries that wait or are taken. Written here only. */
  size = 0;
  /** Those of them that went to consumers: what a limit for the whole channel counts. Written here
   * only. */
  consumed = 0;
  /** Not later than the first delivery times out; undefined when there was none to time out. */
  #timeout: Deadline | undefined;

  constructor(session: ChannelHost, channel: number) {
    this.#session = session;
    this.#channel = channel;
  }

  add(delivery: Delivery): void {
    this.#byTag.set(delivery.tag, delivery);
    this.size++;
    const expires = delivery.at + this.#timeoutOf(delivery.queue);
    if (this.#timeout === undefined || expires < this.#timeout.at) this.#armTimeout(expires);
    if (delivery.consumer === undefined) return;
    this.consumed++;
    delivery.consumer.unacked++;
  }

  /** What was taken out is settled for good, and makes room. */
  settled(deliveries: Delivery[]): void {
    this.size -= deliveries.length;
    for (const { consumer } of deliveries) {
      if (consumer === undefined) continue;
      this.consumed--;
      consumer.unacked--;
    }
  }

  /**
   * Takes out what an acknowledgement names. It counts until it is {@link settled}.
   * @param tag 0 with `multiple` means all
   * @throws {Fault} precondition-failed when there is no such delivery
   */
  take(tag: number, multiple: boolean): Delivery[] {
    if (multiple && tag === 0) return this.takeAll();
    const delivery = this.#byTag.get(tag);
    if (delivery === undefined) throw preconditionFailed(`unknown delivery tag ${tag}`);
    if (!multiple) {
      this.#byTag.delete(tag);
      return [delivery];
    }
    const taken: Delivery[] = [];
    for (const [other, earlier] of this.#byTag) {
      if (other > tag) break;
      this.#byTag.delete(other);
      taken.push(earlier);
    }
    return taken;
  }

  takeAll(): Delivery[] {
    const taken = [...this.#byTag.values()];
    this.#byTag.clear();
    return taken;
  }

  /** Takes back what {@link take} gave out. */
  restore(deliveries: Delivery[]): void {
    const all = deliveries.concat(this.takeAll());
    all.sort((one, other) => one.tag - other.tag);
    for (const delivery of all) this.#byTag.set(delivery.tag, delivery);
  }

  /** The channel is over. @returns what still waited */
  end(): Delivery[] {
    this.#session.deadlines.cancel(this.#timeout);
    return this.takeAll();
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
    for (const { queue, at: since } of this.#byTag.values()) {
      const timeout = this.#timeoutOf(queue);
      if (first === undefined || since + timeout < first.at) {
        first = { at: since + timeout, timeout };
      }
    }
    return first;
  }
}

/** Puts deliveries back into their queues, each queue's in one go. */
export function requeueAll(deliveries: Delivery[]): void {
  const byQueue = Map.groupBy(deliveries, ({ queue }) => queue);
  for (const [queue, group] of byQueue) queue.requeue(group.map(({ message }) => message));
}

/** Lets the queues of settled deliveries go on delivering. */
export function wakeQueues(deliveries: Delivery[]): void {
  if (deliveries.length === 1) return deliveries[0]!.queue.wake();
  for (const queue of new Set(deliveries.map(({ queue }) => queue))) queue.wake();
}
