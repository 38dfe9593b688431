/**
 * A list in the order of arrival from which anything can be taken out. A Set does the same, but
 * rehashes itself again and again while entries come and go, which costs a short task's run a
 * fifth.
 */

/** A place in a chain; whoever added the value keeps it, to take the value out. */
export interface Link<T> {
  readonly value: T;
  /** Neighbours; the chain's own. Undefined: there is none. */
  before: Link<T> | undefined;
  after: Link<T> | undefined;
}

export class Chain<T> {
  #first: Link<T> | undefined;
  #last: Link<T> | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(value: T): Link<T> {
    const link: Link<T> = { value, before: this.#last, after: undefined };
    if (this.#last === undefined) this.#first = link;
    else this.#last.after = link;
    this.#last = link;
    this.#size++;
    return link;
  }

  /** Takes out what is still in; once for every link. */
  delete(link: Link<T>): void {
    if (link.before === undefined) this.#first = link.after;
    else link.before.after = link.after;
    if (link.after === undefined) this.#last = link.before;
    else link.after.before = link.before;
    this.#size--;
  }

  /** All that are in now, oldest first. */
  values(): T[] {
    const values: T[] = [];
    for (let link = this.#first; link !== undefined; link = link.after) values.push(link.value);
    return values;
  }
}
