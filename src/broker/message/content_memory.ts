/**
 * Bytes for messages. Small ones share an array, a block: an ArrayBuffer of its own costs more than a
 * microsecond, garbage to be collected, and more memory than the message. A block lives as long as one
 * of its messages, so those are together that go together.
 */

const BLOCK_BYTES = 64 * 1024;
const SHARED_UP_TO = 4 * 1024;

/** Whoever may not be done with his bytes when the block is full: others come and go meanwhile. */
export interface Tenant {
  /** Another block begins. What is to outlive the old one, for long perhaps, takes its bytes along. */
  moveOut(block: Uint8Array): void;
}

/** Bytes for messages that go in the order of their coming. */
export class Blocks {
  readonly #blockBytes: number;
  #array = new Uint8Array(0);
  #used = 0;
  /** Those of this block, who took bytes in turn. */
  #tenants: Tenant[] = [];

  /** @param blockBytes of a block */
  constructor(blockBytes: number) {
    this.#blockBytes = blockBytes;
  }

  /** The array in which {@link take} has found room last. */
  get array(): Uint8Array {
    return this.#array;
  }

  /** @returns where in {@link array} there are so many bytes; at most as many as a block has */
  take(length: number, tenant?: Tenant): number {
    if (this.#used + length > this.#array.length) this.#begin();
    if (tenant !== undefined && tenant !== this.#tenants.at(-1)) this.#tenants.push(tenant);
    const start = this.#used;
    this.#used += length;
    return start;
  }

  #begin(): void {
    const [block, tenants] = [this.#array, this.#tenants];
    this.#array = new Uint8Array(this.#blockBytes);
    this.#used = 0;
    this.#tenants = [];
    for (const tenant of tenants) tenant.moveOut(block);
  }

  /** Whether a message of so many bytes has room beside others. */
  static hasRoomFor(length: number): boolean {
    return length <= SHARED_UP_TO;
  }
}

/** For what is received, of whom ever: most are gone soon. */
export const received = new Blocks(BLOCK_BYTES);
