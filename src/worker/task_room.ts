/** Memory for the bodies of one queue's tasks: how much there is. */

/** Bytes from which on it matters. Until it is known, there is no more. */
const LARGE_BYTES = 1024 * 1024;

export class TaskRoom {
  readonly #find: () => Promise<number>;
  #bytes: number | undefined;
  #isAsked = false;
  #waiting: (() => void)[] = [];

  /** @param find tells how many bytes the tasks in hand may take, and a single one; never rejects */
  constructor(find: () => Promise<number>) {
    this.#find = find;
  }

  /** One of so many bytes. */
  static of(bytes: number): TaskRoom {
    const room = new TaskRoom(() => Promise.resolve(bytes));
    room.#bytes = bytes;
    return room;
  }

  /** Bytes of those in hand; a single one may have more. */
  get bytes(): number {
    return this.#bytes ?? LARGE_BYTES;
  }

  /** Bytes of one; a larger one is not taken. */
  get single(): number {
    return this.#bytes ?? Infinity;
  }

  /**
   * Tasks of so many bytes are here, or come.
   * @param onKnown told, later and once, when it is known since how much room there is
   */
  note(bytes: number, onKnown?: () => void): void {
    if (this.#bytes !== undefined || bytes <= LARGE_BYTES) return;
    if (onKnown !== undefined) this.#waiting.push(onKnown);
    if (this.#isAsked) return;
    this.#isAsked = true;
    this.#find().then((bytes) => {
      this.#bytes = bytes;
      for (const tell of this.#waiting.splice(0)) tell();
    });
  }
}
