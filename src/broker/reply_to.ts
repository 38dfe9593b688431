/** Direct reply-to: requesters that wait for answers without a queue. */

import { randomName } from "./names.ts";

export const REPLY_TO = "amq.rabbitmq.reply-to";

/** A channel that consumes from the pseudo-queue. */
export interface Requester {
  /** Hands over an answer: the bytes of a message. */
  deliverReply(bytes: Uint8Array, addressLength: number, headerLength: number): void;
}

export class ReplyTo {
  readonly #requesters = new Map<string, Requester>();

  /** @returns the routing key under which answers reach the requester */
  add(requester: Requester): string {
    const name = randomName(`${REPLY_TO}.`);
    this.#requesters.set(name, requester);
    return name;
  }

  remove(name: string): void {
    this.#requesters.delete(name);
  }

  find(name: string): Requester | undefined {
    return this.#requesters.get(name);
  }
}
