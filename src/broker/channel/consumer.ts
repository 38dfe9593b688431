/** A consumer of a channel. */

import { shortString } from "../wire/bytes.ts";
import type { Content } from "../message/content.ts";
import type { Message } from "../message/message.ts";
import type { QueueConsumer } from "../queue/consumers.ts";
import type { Queue } from "../queue/queue.ts";

/** A channel, as its consumers see it. */
export interface ConsumerOwner {
  /** Whether the channel and its connection can take one more delivery for this consumer. If not,
   * its queue hears when they can. */
  askForRoom(consumer: Consumer): boolean;
  /** Sends a message. It is acknowledged already if the consumer is no-ack. */
  deliver(consumer: Consumer, message: Message, content: Content): void;
  /** The queue is gone: basic.cancel. */
  cancelConsumer(consumer: Consumer): void;
}

export class Consumer implements QueueConsumer {
  /** Deliveries that wait for an acknowledgement. Written by the channel. */
  unacked = 0;
  canceled = false;
  /** {@link tag} as each delivery has it. */
  readonly tagBytes: Uint8Array;

  constructor(
    readonly owner: ConsumerOwner,
    readonly queue: Queue,
    readonly tag: string,
    readonly noAck: boolean,
    readonly exclusive: boolean,
    readonly priority: number,
    /** Most unacknowledged deliveries, or 0 for no limit of its own. */
    readonly prefetch: number,
  ) {
    this.tagBytes = shortString(tag);
  }

  askForRoom(): boolean {
    if (this.canceled) return false;
    if (this.prefetch > 0 && this.unacked >= this.prefetch && !this.noAck) return false;
    return this.owner.askForRoom(this);
  }

  deliver(message: Message, content: Content): void {
    this.owner.deliver(this, message, content);
  }

  queueGone(): void {
    this.owner.cancelConsumer(this);
  }
}
