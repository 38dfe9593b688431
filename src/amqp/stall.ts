/** Notices that nothing moves on a link any more, though something is on its way. */
import { formatDuration } from "../task/duration.ts";
import { after, type Timer } from "../time/timer.ts";
import type { Transport } from "./transport.ts";

/**
 * How long nothing was confirmed and nothing has left, in milliseconds: a slow link may need minutes
 * for what the operating system has taken.
 */
const STALLED_MS = 15 * 60_000;
const LOOK_MS = 60_000;

export class Stall {
  readonly #onStall: (why: string, transport: Transport) => void;
  #confirms = 0;
  #timer: Timer | undefined;

  constructor(onStall: (why: string, transport: Transport) => void) {
    this.#onStall = onStall;
  }

  /** Something was confirmed, at any time. */
  get hasMoved(): boolean {
    return this.#confirms > 0;
  }

  moved(): void {
    this.#confirms++;
  }

  /**
   * Something is on its way. One timer looks after all that follows, so that not each sets one.
   *
   * @param current the link that it is on; undefined: nothing is on its way
   */
  watch(current: () => Transport | undefined): void {
    if (this.#timer !== undefined) return;
    let confirms = this.#confirms;
    let movedAt = performance.now();
    const look = () => {
      this.#timer = undefined;
      const transport = current();
      if (transport === undefined) return;
      const now = performance.now();
      if (confirms !== this.#confirms || transport.blocked !== undefined) movedAt = now;
      confirms = this.#confirms;
      if (now - Math.max(movedAt, transport.lastWrite) > STALLED_MS) {
        const why = `nothing was confirmed within ${formatDuration(STALLED_MS)}`;
        return this.#onStall(why, transport);
      }
      this.#timer = after(LOOK_MS, look);
    };
    this.#timer = after(LOOK_MS, look);
  }

  cancel(): void {
    this.#timer?.cancel();
  }
}
