/**
 * What was published and is not settled yet, by its delivery tag.
 *
 * Tags only grow, and mostly the oldest is settled first. So they lie in a ring: a map would be made
 * anew again and again, and would leave more behind than what is in it. The few that are still there
 * when the ring has come round move to a map.
 */
export class Unsettled<T> {
  /** Its length is a power of two, and the slot of a tag what that leaves of it. */
  #ring: (T | undefined)[] = new Array(16).fill(undefined);
  /** The oldest in the ring; the next tag where there is none. */
  #first = 1;
  #next = 1;
  /** Older ones, oldest first. */
  readonly #stragglers = new Map<number, T>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The tag that was given last. */
  get last(): number {
    return this.#next - 1;
  }

  /** @returns its tag, of the first one 1 */
  add(item: T): number {
    if (this.#next - this.#first === this.#ring.length) this.#makeRoom();
    this.#ring[this.#next & this.#ring.length - 1] = item;
    this.#size++;
    return this.#next++;
  }

  /** It is settled. @returns undefined: it was before */
  take(tag: number): T | undefined {
    if (tag < this.#first) return this.#takeStraggler(tag);
    const slot = tag & this.#ring.length - 1;
    const item = tag < this.#next ? this.#ring[slot] : undefined;
    if (item === undefined) return undefined;
    this.#ring[slot] = undefined;
    this.#size--;
    if (tag === this.#first) this.#skipSettled();
    return item;
  }

  /** The oldest is settled. @returns undefined: there is none up to this tag */
  takeOldest(upTo: number): T | undefined {
    if (this.#stragglers.size > 0) {
      for (const tag of this.#stragglers.keys()) return tag <= upTo ? this.take(tag) : undefined;
    }
    return this.#first <= upTo ? this.take(this.#first) : undefined;
  }

  get oldest(): T | undefined {
    for (const straggler of this.#stragglers.values()) return straggler;
    return this.#first < this.#next ? this.#ring[this.#first & this.#ring.length - 1] : undefined;
  }

  /** All of them, oldest first. None may come or go meanwhile. */
  *values(): Generator<T> {
    yield* this.#stragglers.values();
    for (let tag = this.#first; tag < this.#next; tag++) {
      const item = this.#ring[tag & this.#ring.length - 1];
      if (item !== undefined) yield item;
    }
  }

  clear(): void {
    this.#stragglers.clear();
    this.#ring.fill(undefined);
    this.#first = this.#next;
    this.#size = 0;
  }

  #takeStraggler(tag: number): T | undefined {
    const straggler = this.#stragglers.get(tag);
    if (this.#stragglers.delete(tag)) this.#size--;
    return straggler;
  }

  #skipSettled(): void {
    const ring = this.#ring;
    while (this.#first < this.#next && ring[this.#first & ring.length - 1] === undefined) {
      this.#first++;
    }
  }

  #makeRoom(): void {
    const old = this.#ring;
    const inRing = this.#size - this.#stragglers.size;
    if (inRing > old.length / 2) {
      const ring: typeof old = this.#ring = new Array(2 * old.length).fill(undefined);
      for (let tag = this.#first; tag < this.#next; tag++) {
        ring[tag & ring.length - 1] = old[tag & old.length - 1];
      }
      return;
    }
    for (const end = this.#first + old.length / 2; this.#first < end; this.#first++) {
      const slot = this.#first & old.length - 1;
      const item = old[slot];
      if (item !== undefined) this.#stragglers.set(this.#first, item);
      old[slot] = undefined;
    }
    this.#skipSettled();
  }
}
