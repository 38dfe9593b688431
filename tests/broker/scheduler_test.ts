/** Turns of those who have work, as the scheduler gives them. */
import { assert, assertEquals } from "@std/assert";
import { Scheduler, type Slice, type Work } from "../../src/time/scheduler.ts";

/** Work that is never done. */
function endless(onPiece: () => void): Work {
  return {
    work(slice) {
      do onPiece(); while (!slice.isOver);
      return true;
    },
  };
}

function fail(error: unknown): never {
  throw error;
}

Deno.test("who is soon done is done at once, even when a commit has no more room", () => {
  const scheduler = new Scheduler(fail, () => true);
  let pieces = 0;
  scheduler.start(endless(() => pieces++));
  assertEquals(pieces, 1);
  assert(scheduler.start({ work: () => false }), "it has to wait");
  scheduler.stop();
});

Deno.test("who wants a little is before a crowd that had much to do and comes again", async () => {
  const scheduler = new Scheduler(fail, () => false);
  let turns = 0;
  let done = Promise.withResolvers<void>();
  let left = 100;
  const crowd = Array.from({ length: left }, () => ({
    pieces: 0,
    work(slice: Slice): boolean {
      turns++;
      do {/* much */} while (!slice.isOver);
      if (++this.pieces % 3 > 0) return true;
      if (--left === 0) done.resolve();
      return false;
    },
  }));
  for (const work of crowd) scheduler.start(work);
  await done.promise;
  turns = 0;
  for (const work of crowd) scheduler.start(work);
  done = Promise.withResolvers<void>();
  scheduler.start({
    work() {
      done.resolve();
      return false;
    },
  });
  await done.promise;
  scheduler.stop();
  assert(turns < crowd.length / 2, `${turns} turns of others`);
});
