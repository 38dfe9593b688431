/**
 * Rows that could not be read, by lanes. They are left out, and tried again later: a passing fault
 * of the disk looks like damage.
 */

import type { Range } from "./discards.ts";

export class Unreadable {
  /** In order, with a gap between two. */
  readonly #ranges = new Map<number, Range[]>();

  get isEmpty(): boolean {
    return this.#ranges.size === 0;
  }

  has(lane: number): boolean {
    return this.#ranges.has(lane);
  }

  /** Both positions included. */
  add(lane: number, first: number, last: number): void {
    const ranges = this.of(lane);
    let at = ranges.findIndex((range) => range.last >= first - 1);
    if (at < 0) at = ranges.length;
    let count = 0;
    for (; at + count < ranges.length && ranges[at + count]!.first <= last + 1; count++) {
      first = Math.min(first, ranges[at + count]!.first);
      last = Math.max(last, ranges[at + count]!.last);
    }
    ranges.splice(at, count, { lane, first, last });
    this.#ranges.set(lane, ranges);
  }

  /** Both positions included, wherever they lie in what was added. */
  remove(lane: number, first: number, last: number): void {
    const left = this.of(lane).flatMap((range) => {
      if (range.last < first || range.first > last) return [range];
      const before = { ...range, last: first - 1 };
      const behind = { ...range, first: last + 1 };
      return [before, behind].filter((part) => part.first <= part.last);
    });
    if (left.length === 0) this.#ranges.delete(lane);
    else this.#ranges.set(lane, left);
  }

  of(lane: number): Range[] {
    return this.#ranges.get(lane) ?? [];
  }

  /** @returns what was noted of the lane */
  forget(lane: number): Range[] {
    const ranges = this.of(lane);
    this.#ranges.delete(lane);
    return ranges;
  }

  /** The last position that cannot be read, of those right behind `after`; or `after`. */
  skip(lane: number, after: number): number {
    const range = this.#ranges.get(lane)?.find(({ last }) => last > after);
    return range !== undefined && range.first <= after + 1 ? range.last : after;
  }

  /** The first position behind `after` that cannot be read, or Infinity. */
  next(lane: number, after: number): number {
    const range = this.#ranges.get(lane)?.find(({ last }) => last > after);
    return range === undefined ? Infinity : Math.max(range.first, after + 1);
  }
}
