/** Turns of those who have work, as the scheduler gives them. */
import { assert, assertEquals } from "@std/assert";
import { Scheduler, type Work } from "../../src/time/scheduler.ts";

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
