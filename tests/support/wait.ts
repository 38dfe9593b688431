/** Waiting for something to become true, with a deadline that fails in a clear sentence. */

/** Milliseconds that any single step of a test may take on a slow, shared machine. */
export const STEP_MS = 60_000;

/** Milliseconds between two looks at something that sends no event. */
const POLL_MS = 20;

/**
 * The promise's value, or an error that says what did not happen in time.
 *
 * @param what completes the sentence "waited N ms for ..."
 */
export async function within<T>(what: string, promise: Promise<T>, ms = STEP_MS): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`Waited ${ms} ms for ${what}`)), ms);
  });
  try {
    return await Promise.race([promise, deadline]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Looks until `look` gives something other than undefined, null or false, and returns that. For
 * the outside world only (a port, a file, a broker's counter); where there is an event, wait for
 * the event. An exception from `look` counts as "not yet" and is the cause of the final error.
 *
 * @param what completes the sentence "waited N ms for ..."
 */
export async function waitUntil<T>(
  what: string,
  look: () => T | Promise<T>,
  ms = STEP_MS,
): Promise<NonNullable<Exclude<T, false>>> {
  const deadline = performance.now() + ms;
  let last: unknown;
  while (true) {
    try {
      last = await look();
      if (last !== undefined && last !== null && last !== false) {
        return last as NonNullable<Exclude<T, false>>;
      }
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) {
      const seen = last instanceof Error ? last.message : Deno.inspect(last);
      throw new Error(`Waited ${ms} ms for ${what}; last seen: ${seen}`, { cause: last });
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** Values that arrive one by one; `next` waits for the one that was not taken yet. */
export class Mailbox<T> {
  readonly #values: T[] = [];
  readonly #takers: { resolve(value: T): void; reject(error: Error): void }[] = [];
  #failure: Error | undefined;

  constructor(readonly name: string) {}

  /** Values that nobody has taken. */
  get waiting(): readonly T[] {
    return this.#values;
  }

  put(value: T): void {
    const taker = this.#takers.shift();
    if (taker) taker.resolve(value);
    else this.#values.push(value);
  }

  /** No further value can arrive: pending and later `next` fail once the box is empty. */
  fail(error: Error): void {
    this.#failure ??= error;
    for (const taker of this.#takers.splice(0)) taker.reject(this.#failure);
  }

  next(ms = STEP_MS): Promise<T> {
    if (this.#values.length > 0) return Promise.resolve(this.#values.shift()!);
    if (this.#failure) return Promise.reject(this.#failure);
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const taker = { resolve, reject };
    this.#takers.push(taker);
    return within(`the next ${this.name}`, promise, ms).finally(() => {
      const index = this.#takers.indexOf(taker);
      if (index >= 0) this.#takers.splice(index, 1);
    });
  }

  /** The next `count` values. */
  async take(count: number, ms = STEP_MS): Promise<T[]> {
    const values: T[] = [];
    while (values.length < count) values.push(await this.next(ms));
    return values;
  }
}
