/**
 * How much memory channels and consumers may take, of all connections together: each costs a client
 * a few bytes. When there is no more, connections that have next to nothing still get some.
 */

import { HeapShare } from "../net/heap_share.ts";
import { notAllowed } from "../wire/faults.ts";

/** The part of the heap that they may take. */
const HEAP_PART = 1 / 5;

/** Bytes of a channel, and of a consumer besides its tag, about: measured, and a fifth more. */
export const CHANNEL_BYTES = 3_000;
const CONSUMER_BYTES = 600;

/** Bytes that a connection may have although all are taken: some channels, with a consumer each. */
const FEW_BYTES = 8_000;

/** What a consumer takes, about. */
export function consumerBytes(tag: string): number {
  return CONSUMER_BYTES + 3 * tag.length;
}

export class ClientRoom {
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

  /** What a connection has. */
  share(): ClientShare {
    return new ClientShare(this);
  }

  /** @throws {Fault} not-allowed, as RabbitMQ answers where it has such a limit */
  take(doing: () => string, own: number, bytes: number): void {
    const wanted = this.#bytes + bytes;
    if (wanted > this.#share.limit(wanted) && own + bytes > FEW_BYTES) {
      const limit = Math.round(this.#share.limit(Infinity) / 1024);
      throw notAllowed(
        `cannot ${doing()}: the limit of ${limit} kB of memory for channels and consumers is reached`,
      );
    }
    this.#bytes = wanted;
  }

  giveBack(bytes: number): void {
    this.#bytes -= bytes;
  }
}

/** Of one connection. */
export class ClientShare {
  readonly #room: ClientRoom;
  #bytes = 0;

  constructor(room: ClientRoom) {
    this.#room = room;
  }

  /**
   * Room for a channel or a consumer.
   * @param doing what is refused when there is none: "open channel 7"
   * @throws {Fault} not-allowed
   */
  take(doing: () => string, bytes: number): void {
    this.#room.take(doing, this.#bytes, bytes);
    this.#bytes += bytes;
  }

  giveBack(bytes: number): void {
    this.#room.giveBack(bytes);
    this.#bytes -= bytes;
  }
}
