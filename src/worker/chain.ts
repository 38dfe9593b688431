/**
 * A list in the order of arrival, out of which any value can be taken. A Set does the same, but
 * rehashes itself again and again while values come and go: that took a fifth of a short task's run.
 */

/** A place in a chain; whoever added the value keeps it, to take the value out. */
export interface Place<T> {
  readonly value: T;
  /** Neighbours; the chain's own. Undefined: there is none. */
  before: Place<T> | undefined;
  after: Place<T> | undefined;
}

export class Chain<T> {
  #first: Place<T> | undefined;
  #last: Place<T> | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(value: T): Place<T> {
    const place: Place<T> = { value, before: this.#last, after: undefined };
    if (this.#last === undefined) this.#first = place;
    else this.#last.after = place;
    this.#last = place;
    this.#size++;
    return place;
  }

  /** Takes out what is still in; once for every place. */
  delete(place: Place<T>): void {
    if (place.before === undefined) this.#first = place.after;
    else place.before.after = place.after;
    if (place.after === undefined) this.#last = place.before;
    else place.after.before = place.before;
    this.#size--;
  }

  /** All that are in now, oldest first. */
  values(): T[] {
    const values: T[] = [];
    for (let place = this.#first; place !== undefined; place = place.after) {
      values.push(place.value);
    }
    return values;
  }
}
