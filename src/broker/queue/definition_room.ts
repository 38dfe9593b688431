/** How much memory queues, exchanges and bindings may take: each costs a client a few bytes. */

import { HeapShare } from "../net/heap_share.ts";
import { preconditionFailed } from "../wire/faults.ts";

/** The part of the heap that they may take. */
const HEAP_PART = 1 / 3;

/** Shared by the virtual hosts, who write it. */
export class DefinitionRoom {
  readonly #share: HeapShare;
  #bytes = 0;

  /** @param most bytes, where the heap has room for more */
  constructor(most: number) {
    this.#share = new HeapShare(most, HEAP_PART);
  }

  /** @param most as for the constructor */
  limitTo(most: number): void {
    this.#share.limitTo(most);
  }

  /** Of all that there is. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Room for something new.
   * @param doing what is refused when there is none: "declare queue 'tasks' in vhost '/'"
   * @throws {Fault} precondition-failed, as RabbitMQ answers where it has such a limit
   */
  take(doing: () => string, bytes: number): void {
    if (this.#bytes + bytes > this.#share.limit(this.#bytes + bytes)) {
      const limit = Math.round(this.#share.limit(Infinity) / 1024);
      throw preconditionFailed(
        `cannot ${doing()}: the limit of ${limit} kB of memory for queues, exchanges and bindings ` +
          `is reached`,
      );
    }
    this.#bytes += bytes;
  }

  /** Something that was there before: it is never refused. */
  restore(bytes: number): void {
    this.#bytes += bytes;
  }

  giveBack(bytes: number): void {
    this.#bytes -= bytes;
  }
}
