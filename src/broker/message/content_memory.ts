/**
 * Bytes for messages. Small ones share an array, a block: an ArrayBuffer of its own costs more than a
 * microsecond, garbage to be collected, and more memory than the message. A block lives as long as one
 * of its messages, so those are together that go together.
 */

const BLOCK_BYTES = 64 * 1024;
const SHARED_UP_TO = 4 * 1024;

/** Bytes for messages that go in the order of their coming. */
export class Blocks {
  #block = new Uint8Array(0);
  #used = 0;

  /** @param blockBytes of the next block, if there is no room in the last one */
  take(length: number, blockBytes: number): Uint8Array {
    if (this.#used + length > this.#block.length) {
      this.#block = new Uint8Array(blockBytes);
      this.#used = 0;
    }
    return this.#block.subarray(this.#used, this.#used += length);
  }
}

const received = new Blocks();

/** Bytes for a message that is received: most are gone soon. */
export function takeBytes(length: number): Uint8Array {
  return length > SHARED_UP_TO ? new Uint8Array(length) : received.take(length, BLOCK_BYTES);
}
