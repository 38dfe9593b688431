import type { Slice, Work } from "./scheduler.ts";

/** How many things are done in one go. */
const PIECE = 64;

/**
 * Does something to each of some things: at once if they are few, and else some at a time.
 * @param add takes what is left to do
 * @param then when all are done
 */
export function eachInPieces<T>(
  things: Iterable<T>,
  each: (thing: T) => void,
  add: (work: Work) => void,
  then: () => void,
): void {
  const left = things[Symbol.iterator]();
  const step = () => {
    for (let count = 0; count < PIECE; count++) {
      const next = left.next();
      if (next.done === true) return false;
      each(next.value);
    }
    return true;
  };
  if (!step()) return then();
  add({
    work(slice: Slice): boolean {
      while (step()) if (slice.isOver) return true;
      then();
      return false;
    },
  });
}
