/** Random values for property tests, the same on every run. */

/** The seed that a command line gives, or a new one. */
export function seedOf(given: unknown): number {
  return Number(given ?? crypto.getRandomValues(new Uint16Array(1))[0]);
}

/** A source of numbers from 0 to 1 (mulberry32); a failure is repeated by its seed. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from 0 to `limit` - 1. */
  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  pick<T>(values: ArrayLike<T>): T {
    return values[this.below(values.length)]!;
  }

  /** Up to `limit` values. */
  list<T>(limit: number, make: () => T): T[] {
    return Array.from({ length: this.below(limit + 1) }, make);
  }

  /** Text of characters that parsers and terminals stumble over. */
  text(limit = 12): string {
    return this.list(limit, () => this.pick(AWKWARD)).join("");
  }

  /** Up to `limit` characters of `alphabet`. */
  textOf(alphabet: string, limit: number): string {
    const characters = [...alphabet];
    return this.list(limit, () => this.pick(characters)).join("");
  }

  bytes(length: number): Uint8Array<ArrayBuffer> {
    return Uint8Array.from({ length }, () => this.below(256));
  }
}

/** Numbers from 0 to 1 alone. */
export function randomNumbers(seed: number): () => number {
  const random = new Random(seed);
  return () => random.next();
}

const AWKWARD = [
  ..."-=-= ab.,:/\\\"'%&*#\t\n\r\0\x07\x1b\x7f\x9b",
  "--",
  "no-",
  "\u2028",
  "\u202e",
  "\u2066",
  "\ufeff",
  "\u00e4",
  "\u{1f407}",
];
