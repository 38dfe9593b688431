/**
 * Values under tags that rise, in their order. A map would be shorter, and cost more: the tables that
 * a map has grown out of hold what was in them, and lead to the next one. As soon as one of them has
 * become old, V8's collection of the young takes all that come after it for living, and copies them with
 * every message that was ever in them.
 */

/** So many may be gone, besides as many as are left, before what is left moves together. */
const MOST_GONE = 64;

export class ByTag<V extends object> {
  readonly #tags: number[] = [];
  /** Undefined: it is gone. */
  readonly #values: (V | undefined)[] = [];
  /** All before it are gone. */
  #head = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** @param tag higher than all before */
  add(tag: number, value: V): void {
    this.#tags.push(tag);
    this.#values.push(value);
    this.#size++;
  }

  get(tag: number): V | undefined {
    const index = this.#firstFrom(tag);
    return this.#tags[index] === tag ? this.#values[index] : undefined;
  }

  /** @returns whether it was there */
  delete(tag: number): boolean {
    const index = this.#firstFrom(tag);
    if (this.#tags[index] !== tag || this.#values[index] === undefined) return false;
    this.#values[index] = undefined;
    this.#size--;
    const { length } = this.#values;
    while (this.#head < length && this.#values[this.#head] === undefined) this.#head++;
    if (length > 2 * this.#size + MOST_GONE) this.#compact();
    return true;
  }

  #compact(): void {
    let count = 0;
    for (let index = this.#head; index < this.#values.length; index++) {
      const value = this.#values[index];
      if (value === undefined) continue;
      this.#tags[count] = this.#tags[index]!;
      this.#values[count++] = value;
    }
    this.#tags.length = this.#values.length = count;
    this.#head = 0;
  }

  /** Where the first tag is that is not lower than one. */
  #firstFrom(tag: number): number {
    const tags = this.#tags;
    let low = this.#head;
    if (low === tags.length || tags[low]! >= tag) return low;
    // Mostly there is no gap between them.
    const likely = low + tag - tags[low]!;
    if (tags[likely] === tag) return likely;
    let high = Math.min(likely, tags.length);
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (tags[middle]! < tag) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Those that are there when it comes to them: some may come or go meanwhile. */
  values(): IterableIterator<V> {
    let next = 0;
    return {
      [Symbol.iterator]() {
        return this;
      },
      next: () => {
        for (let index = this.#firstFrom(next); index < this.#values.length; index++) {
          const value = this.#values[index];
          if (value === undefined) continue;
          next = this.#tags[index]! + 1;
          return { done: false, value };
        }
        return { done: true, value: undefined };
      },
    };
  }

  clear(): void {
    this.#tags.length =
      this.#values.length =
      this.#head =
      this.#size =
        0;
  }
}
