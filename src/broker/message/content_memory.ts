/**
 * Bytes for messages. Small ones share an array, a block: an ArrayBuffer of its own costs more than a
 * microsecond, garbage to be collected, and more memory than the message. A block lives as long as one
 * of its messages, so those are together that go together.
 */

const BLOCK_BYTES = 64 * 1024;
const SHARED_UP_TO = 4 * 1024;

/** Bytes for messages that go in the order of their coming. */
export class Blocks {
  readonly #blockBytes: number;
  #array = new Uint8Array(0);
  #used = 0;

  /** @param blockBytes of a block */
  constructor(blockBytes: number) {
    this.#blockBytes = blockBytes;
  }

  /** The array in which {@link take} has found room last. */
  get array(): Uint8Array {
    return this.#array;
  }

  /** @returns where in {@link array} there are so many bytes; at most as many as a block has */
  take(length: number): number {
    if (this.#used + length > this.#array.length) {
      this.#array = new Uint8Array(this.#blockBytes);
      this.#used = 0;
    }
    const start = this.#used;
    this.#used += length;
    return start;
  }

  /** Whether a message of so many bytes has room beside others. */
  static hasRoomFor(length: number): boolean {
    return length <= SHARED_UP_TO;
  }
}

/** For what is received, of whom ever: most are gone soon. */
export const received = new Blocks(BLOCK_BYTES);
