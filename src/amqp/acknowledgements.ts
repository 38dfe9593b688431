/**
 * Tells the broker of what was acknowledged, once a turn and in as few words as say the same: one
 * acknowledgement for all up to a delivery, where none of those is open, and one for each other.
 */

/** An unsettled delivery; a list of them is in the order in which they came. */
export interface OpenDelivery {
  readonly tag: number;
  /** Its neighbours; written here alone. */
  before: OpenDelivery | undefined;
  after: OpenDelivery | undefined;
}

export class Acknowledgements {
  readonly #tell: (tag: number, multiple: boolean) => void;
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

  constructor(tell: (tag: number, multiple: boolean) => void) {
    this.#tell = tell;
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
    if (this.#acknowledged.push(delivery.tag) > 1 || this.#isHeld) return;
    queueMicrotask(() => this.#isHeld || this.flush());
  }

  /** Tells at once what is still to be told. */
  flush(): void {
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
