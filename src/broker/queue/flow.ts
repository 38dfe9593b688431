/** What has gone through a queue since the broker started, and whether it is paused. */

import type { Message } from "../message/message.ts";

export class Flow {
  /** Messages that it took from publishers, dead letters of other queues included. */
  published = 0;
  /** Messages that it gave to consumers and to basic.get. */
  delivered = 0;
  /** Messages whose work was done. */
  acked = 0;
  /** Messages that came back to be delivered again. */
  returned = 0;
  /** Messages that it gave up: expired, rejected, or over a limit. */
  dead = 0;
  /** Messages that a consumer refused for good. */
  rejected = 0;
  /** Nobody gets a message; publishers go on. */
  paused = false;
  /** Those of basic.get that wait until what is over has gone. Written by channels. */
  gets = 0;

  /** Counts a message that goes to a consumer. */
  deliver(message: Message): Message {
    this.delivered++;
    return message;
  }

  /** Messages that are delivered and not settled. */
  get unacked(): number {
    return this.delivered - this.acked - this.returned - this.rejected;
  }
}
