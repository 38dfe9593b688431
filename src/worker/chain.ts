/**
 * A list in the order of arrival, out of which any value can be taken. A Set does the same, but
 * rehashes itself again and again while values come and go: that took a fifth of a short task's run.
 */

/** A value in a chain; whoever added it keeps this, to take it out. */
export interface Member<T> {
  readonly value: T;
  /** Neighbours; the chain's own. Undefined: there is none. */
  before: Member<T> | undefined;
  after: Member<T> | undefined;
}

export class Chain<T> {
  #first: Member<T> | undefined;
  #last: Member<T> | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(value: T): Member<T> {
    const member: Member<T> = { value, before: this.#last, after: undefined };
    if (this.#last === undefined) this.#first = member;
    else this.#last.after = member;
    this.#last = member;
    this.#size++;
    return member;
  }

  /** Takes out what is still in; once for every member. */
  delete(member: Member<T>): void {
    if (member.before === undefined) this.#first = member.after;
    else member.before.after = member.after;
    if (member.after === undefined) this.#last = member.before;
    else member.after.before = member.before;
    // What is gone must not keep what came after it: V8 would take that along to where it looks for
    // garbage last, and with it the next one, and so on.
    member.before = member.after = undefined;
    this.#size--;
  }

  /** All that are in now, oldest first. */
  values(): T[] {
    const values: T[] = [];
    for (let member = this.#first; member !== undefined; member = member.after) {
      values.push(member.value);
    }
    return values;
  }
}
