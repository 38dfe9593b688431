/**
 * What is done for the data by and by, among other work: rows of purged messages are deleted piece
 * by piece, room that is not needed goes back to the system, and once a second somebody looks at
 * who wants to copy the file, and whether it is still there.
 */

import { after, type Timer } from "../../time/timer.ts";
import type { Alarms } from "./alarms.ts";
import { Shrinker } from "./file/shrinker.ts";
import type { Store } from "./store.ts";

/** Milliseconds between two deletions, for other work; and while they fail. */
const PAUSE_MS = 5;
const RETRY_MS = 1_000;

/** Milliseconds between two looks. */
const LOOK_MS = 1_000;

export class Upkeep {
  readonly #store: Store;
  readonly #alarms: Alarms;
  readonly #onLook: () => void;
  readonly #shrinker: Shrinker;
  #sweep: ReturnType<typeof setTimeout> | undefined;
  #nextLook: Timer | undefined;
  #stopped = false;

  /**
   * @param onWritten told when something was written that has to be committed
   * @param onLook called once a second
   */
  constructor(store: Store, alarms: Alarms, onWritten: () => void, onLook: () => void) {
    this.#store = store;
    this.#alarms = alarms;
    this.#onLook = onLook;
    this.#shrinker = new Shrinker(store.file, () => !store.isFailing && !store.isFull, onWritten);
  }

  start(): void {
    this.sweep();
    // No interval: the first one of a process would cost the start more than the store (timer.ts).
    this.#nextLook = after(LOOK_MS, () => this.#look());
  }

  /** Deletes rows of purged messages, if there are any, and goes on by itself while there are. */
  sweep(): void {
    if (this.#sweep !== undefined || !this.#store.hasDiscarded || this.#stopped) return;
    this.#sweep = setTimeout(() => {
      this.#sweep = undefined;
      this.#store.sweep();
      this.sweep();
    }, this.#store.isFailing ? RETRY_MS : PAUSE_MS);
  }

  #look(): void {
    this.#nextLook = after(LOOK_MS, () => this.#look());
    this.#store.file.standstill.look();
    this.#shrinker.look();
    this.#alarms.noticeGone();
    this.#onLook();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#sweep);
    this.#shrinker.stop();
    this.#nextLook?.cancel();
  }
}
