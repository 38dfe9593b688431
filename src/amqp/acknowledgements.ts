/**
 * Tells the broker of what was acknowledged, once a turn and in as few words as say the same: one
 * acknowledgement for all up to a delivery, where none of those is open, and one for each other.
 *
 * Where many are in hand, those of several turns may wait for each other. What a broker sends for an
 * acknowledgement comes at once, so that few of them make many small packets, here and on the way to
 * wherever tasks go on.
 */
import { after, type Timer } from "../time/timer.ts";

/** How long one waits for others, in milliseconds. */
const GATHER_MS = 4;

/** An unsettled delivery; a list of them is in the order in which they came. */
export interface OpenDelivery {
  readonly tag: number;
  /** Its neighbours; written here alone. */
  before: OpenDelivery | undefined;
  after: OpenDelivery | undefined;
}

export class Acknowledgements {
  readonly #tell: (tag: number, multiple: boolean) => void;
  readonly #gathers: number;
  /** Until those that wait for others are told of. */
  #timer: Timer | undefined;
  #first: OpenDelivery | undefined;
  #last: OpenDelivery | undefined;
  /** Tags that the broker has not been told of. */
  #acknowledged: number[] = [];
  /** Tag of the last delivery that has come; those above the other one are counted. */
  #newest = 0;
  #countedAbove = 0;
  /** Of those that are counted: neither settled nor acknowledged; acknowledged and not told of. */
  #open = 0;
  #untoldAcknowledged = 0;
  #isHeld = false;
  /** Something was acknowledged in this turn. */
  #isTurn = false;

  /** @param gathers so many wait for each other */
  constructor(tell: (tag: number, multiple: boolean) => void, gathers = 1) {
    this.#tell = tell;
    this.#gathers = gathers;
  }

  /** Counts deliveries from now on, and not those that are here. */
  countAnew(): void {
    this.#countedAbove = this.#newest;
    this.#open = this.#untoldAcknowledged = 0;
  }

  /** Deliveries that are counted and that the broker has not been told of. */
  get untold(): number {
    return this.#open + this.#untoldAcknowledged;
  }

  /** Tells nothing by itself until {@linkcode release}. */
  hold(): void {
    this.#isHeld = true;
  }

  release(): void {
    this.#isHeld = false;
    this.flush();
  }

  /** A delivery has come; tags only grow. */
  came(delivery: OpenDelivery): void {
    this.#newest = delivery.tag;
    this.#open++;
    delivery.before = this.#last;
    if (this.#last === undefined) this.#first = delivery;
    else this.#last.after = delivery;
    this.#last = delivery;
  }

  /** The broker is told of it in some other way. */
  settled(delivery: OpenDelivery): void {
    if (delivery.tag > this.#countedAbove) this.#open--;
    const { before, after } = delivery;
    if (before === undefined) this.#first = after;
    else before.after = after;
    if (after === undefined) this.#last = before;
    else after.before = before;
    // Whoever keeps this one must not keep all that came after it.
    delivery.before = delivery.after = undefined;
  }

  acknowledge(delivery: OpenDelivery): void {
    this.settled(delivery);
    if (delivery.tag > this.#countedAbove) this.#untoldAcknowledged++;
    // Whatever else of this turn is acknowledged comes before the end of it.
    this.#acknowledged.push(delivery.tag);
    if (this.#isTurn || this.#isHeld) return;
    this.#isTurn = true;
    queueMicrotask(this.#endTurn);
  }

  readonly #endTurn = (): void => {
    this.#isTurn = false;
    if (this.#isHeld) return;
    const waiting = this.#acknowledged.length;
    // With few in hand they are what the broker waits for.
    if (waiting >= this.#gathers || waiting >= this.#open) return this.flush();
    this.#timer ??= after(GATHER_MS, () => this.#isHeld || this.flush());
  };

  /** Nothing can be told any more. */
  end(): void {
    this.#isHeld = true;
    this.#timer?.cancel();
  }

  /** Tells at once what is still to be told. */
  flush(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const tags = this.#acknowledged;
    if (tags.length === 0) return;
    this.#acknowledged = [];
    this.#untoldAcknowledged = 0;
    const firstOpen = this.#first?.tag ?? Infinity;
    let last = 0;
    let together = 0;
    for (const tag of tags) {
      if (tag >= firstOpen) continue;
      together++;
      last = Math.max(last, tag);
    }
    if (together > 0) this.#tell(last, together > 1);
    if (together === tags.length) return;
    for (const tag of tags) if (tag > firstOpen) this.#tell(tag, false);
  }
}
