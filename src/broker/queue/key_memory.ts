/**
 * What the keys of all queues without duplicates take in memory. When it is too much, the queues
 * that have most forget their oldest keys: a client that fills one leaves those of others alone.
 */

/** Bytes that a key takes besides its own, about. */
const OVERHEAD_BYTES = 200;

/** Part of all that is given up at once, so that the queues are seldom looked at. */
const PART = 1 / 256;

/** Part of its own that the queue which has most gives up before others are asked. */
const STEP = 1 / 16;

/** The keys of one queue. */
export interface KeyOwner {
  /** What they take; kept by {@link KeyMemory}. */
  keyBytes: number;
  forgetOldest(): void;
}

export class KeyMemory {
  #limit: number;
  readonly #owners = new Set<KeyOwner>();
  #bytes = 0;

  /** @param limit in bytes */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** @param limit as for the constructor */
  limitTo(limit: number): void {
    this.#limit = limit;
    if (this.#bytes > limit) this.#makeRoom();
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** @param length of the key, in bytes */
  add(owner: KeyOwner, length: number): void {
    this.#change(owner, OVERHEAD_BYTES + length);
    this.#owners.add(owner);
    if (this.#bytes > this.#limit) this.#makeRoom();
  }

  remove(owner: KeyOwner, length: number): void {
    this.#change(owner, -OVERHEAD_BYTES - length);
    if (owner.keyBytes === 0) this.#owners.delete(owner);
  }

  /** All of a queue are forgotten. */
  removeAll(owner: KeyOwner): void {
    this.#change(owner, -owner.keyBytes);
    this.#owners.delete(owner);
  }

  #change(owner: KeyOwner, bytes: number): void {
    owner.keyBytes += bytes;
    this.#bytes += bytes;
  }

  #makeRoom(): void {
    const enough = this.#limit * (1 - PART);
    while (this.#bytes > enough) {
      const most = [...this.#owners].sort((one, other) => other.keyBytes - one.keyBytes);
      const level = most[0]!.keyBytes * (1 - STEP);
      for (const owner of most) {
        if (owner.keyBytes < level) break;
        do owner.forgetOldest(); while (owner.keyBytes > level && this.#bytes > enough);
        if (this.#bytes <= enough) return;
      }
    }
  }
}
