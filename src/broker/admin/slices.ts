/** Long work of those who look after the broker, among the work of all others. */

import type { Scheduler, Slice, Work } from "../../time/scheduler.ts";

/** Work that yields after each piece, and returns what came of it. */
export type Pieces<T> = Generator<void, T>;

/** Queues that are looked at in one piece. */
export const QUEUES_AT_ONCE = 64;

/** Milliseconds between two slices: looking is no reason to keep a whole round busy. */
const PAUSE_MS = 2;

/** Does the pieces in slices, in turn with everybody else's work. */
export function inSlices<T>(scheduler: Pick<Scheduler, "add">, pieces: Pieces<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const work: Work = {
      work(slice: Slice): boolean {
        try {
          for (let step = pieces.next();; step = pieces.next()) {
            if (step.done) {
              resolve(step.value);
              return false;
            }
            if (slice.isOver) break;
          }
          setTimeout(() => scheduler.add(work), PAUSE_MS);
          return false;
        } catch (error) {
          reject(error);
          return false;
        }
      },
    };
    scheduler.add(work);
  });
}
