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

Deno.test("who wants a little is before a crowd that never has enough, however often it comes", async () => {
  const scheduler = new Scheduler(fail, () => false);
  let turns = 0;
  const crowd = Array.from({ length: 100 }, () => ({
    work(slice: Slice): boolean {
      turns++;
      do {/* much */} while (!slice.isOver);
      setTimeout(() => scheduler.start(this));
      return false;
    },
  }));
  for (const work of crowd) scheduler.start(work);
  while (turns < 2 * crowd.length) await new Promise((resolve) => setTimeout(resolve));
  const before = turns;
  await new Promise<void>((resolve) => {
    const little = {
      work(): boolean {
        resolve();
        return false;
      },
    };
    scheduler.start(little);
  });
  scheduler.stop();
  assert(turns - before < crowd.length / 4, `${turns - before} turns of others`);
});
