/** Direct reply-to: requesters that wait for answers without a queue. */

import type { Content } from "../message/content.ts";
import { randomBase64 } from "../wire/names.ts";
import { DIRECT_REPLY_TO } from "../../task/topology.ts";

/** A channel that consumes from the pseudo-queue. */
export interface Requester {
  /** Hands over an answer. @returns whether it was taken */
  deliverReply(content: Content): boolean;
}

/**
 * Bytes of answers that may wait for requesters for whom too much waits already, all of them
 * together. Answers beyond it are dropped, and returned if they are mandatory: direct replies are
 * at most once, there is no queue in which they could wait, and holding back the replier would
 * let one requester that does not read stop the work for all others.
 */
const LATE_BYTES = 64 * 1024 * 1024;

export class ReplyTo {
  readonly #requesters = new Map<string, Requester>();
  #lateBytes = 0;

  /** @returns the routing key under which answers reach the requester */
  add(requester: Requester): string {
    const name = `${DIRECT_REPLY_TO}.${randomBase64()}.${randomBase64()}`;
    this.#requesters.set(name, requester);
    return name;
  }

  remove(name: string): void {
    this.#requesters.delete(name);
  }

  /** @returns whether there is room for an answer to somebody who is slow */
  takeRoom(bytes: number): boolean {
    if (this.#lateBytes + bytes > LATE_BYTES) return false;
    this.#lateBytes += bytes;
    return true;
  }

  giveRoom(bytes: number): void {
    this.#lateBytes -= bytes;
  }

  find(name: string): Requester | undefined {
    return this.#requesters.get(name);
  }
}
