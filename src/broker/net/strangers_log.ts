/**
 * Warnings that strangers can cause as often as they like: of each kind the first ones in full, then
 * how many more there were.
 */

import type { Deadline, Deadlines } from "../../time/deadlines.ts";
import type { Fields, Logger } from "../../observe/log.ts";

/** Lines of a kind in a period. */
const MOST_LINES = 10;
const PERIOD_MS = 60_000;

interface Kind {
  count: number;
  /** Of the last one that was not written. */
  last: Fields;
  readonly end: Deadline;
}

export class StrangersLog {
  readonly #log: Logger;
  readonly #deadlines: Deadlines;
  /** Those of the current period, by their message. */
  readonly #kinds = new Map<string, Kind>();

  constructor(log: Logger, deadlines: Deadlines) {
    this.#log = log;
    this.#deadlines = deadlines;
  }

  warn(message: string, fields: Fields): void {
    let kind = this.#kinds.get(message);
    if (kind === undefined) {
      const end = this.#deadlines.after(PERIOD_MS, () => this.#end(message));
      this.#kinds.set(message, kind = { count: 0, last: fields, end });
    }
    kind.last = fields;
    if (++kind.count <= MOST_LINES) this.#log.warn(message, fields);
  }

  /** Says what was not said yet. */
  end(): void {
    for (const message of [...this.#kinds.keys()]) this.#end(message);
  }

  #end(message: string): void {
    const { count, last, end } = this.#kinds.get(message)!;
    this.#deadlines.cancel(end);
    this.#kinds.delete(message);
    if (count > MOST_LINES) this.#log.warn(message, { ...last, more: count - MOST_LINES });
  }
}
