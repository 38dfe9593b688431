/** Turns of those who have work, as the scheduler gives them. */
import { assert, assertEquals } from "@std/assert";
import { Bell } from "../../src/broker/net/bell.ts";
import { waitUntil } from "../support/wait.ts";
import { Scheduler, type Slice, type Work } from "../../src/time/scheduler.ts";

/** Milliseconds of a turn, at most. */
const SLICE_MS = 2;

/** Milliseconds that a turn takes; less if the machine had something else to do meanwhile. */
function timeOf(turn: () => void): number {
  const start = performance.now();
  turn();
  return Math.min(performance.now() - start, SLICE_MS);
}

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

Deno.test("sockets are looked at after each round, although more work is always due", async () => {
  const bell = new Bell();
  const scheduler = new Scheduler(fail, () => false, (run) => bell.afterSockets(run));
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  using near = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
  using far = await listener.accept();
  let slices = 0;
  let isCommitDue = false;
  // As long as any timer takes, and those whom it tells have something to send.
  const commit = () => {
    isCommitDue = false;
    const start = performance.now();
    do {/* much */} while (performance.now() - start < 3);
    setImmediate(() => {});
  };
  scheduler.start({
    work(slice) {
      slices++;
      do {/* much */} while (!slice.isOver);
      if (!isCommitDue) setImmediate(commit);
      return isCommitDue = true;
    },
  });
  await waitUntil("it to be busy", () => slices > 20);
  let most = 0;
  for (let n = 0; n < 10; n++) {
    const before = slices;
    const reading = far.read(new Uint8Array(1));
    await near.write(new Uint8Array(1));
    await reading;
    most = Math.max(most, slices - before);
  }
  scheduler.stop();
  bell.close();
  // Of a few rounds; without the bell they are those of 60.
  assert(most < 50, `${most} slices`);
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
      if (++this.pieces % 10 > 0) return true;
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
  assert(turns < 1.3 * crowd.length, `after ${turns} turns of others`);
});

/** As long as a large piece takes. */
function compute(): void {
  const start = performance.now();
  do {/* much */} while (performance.now() - start < 3);
}

Deno.test("a short turn does not make newcomers of a crowd that has much to do", async () => {
  const scheduler = new Scheduler(fail, () => false);
  let turns = 0;
  let done = Promise.withResolvers<void>();
  const crowd = Array.from({ length: 100 }, () => ({
    comings: 0,
    work(): boolean {
      // A read that brings all of a frame, and one that does not, in turn.
      if (this.comings++ % 2 === 0) compute();
      if (++turns % crowd.length === 0) done.resolve();
      return false;
    },
  }));
  for (let coming = 0; coming < 2; coming++) {
    done = Promise.withResolvers<void>();
    for (const work of crowd) scheduler.start(work);
    await done.promise;
  }
  turns = 0;
  for (const work of crowd) scheduler.start(work);
  const newcomer = Promise.withResolvers<number>();
  scheduler.start({
    work() {
      newcomer.resolve(turns);
      return false;
    },
  });
  const before = await newcomer.promise;
  scheduler.stop();
  assert(before < crowd.length / 2, `after ${before} turns of others`);
});

Deno.test("who has little to say is before all newcomers who have more", async () => {
  const scheduler = new Scheduler(fail, () => false);
  let turns = 0;
  for (let n = 0; n < 100; n++) {
    scheduler.start({
      work() {
        compute();
        turns++;
        return false;
      },
    });
  }
  const already = turns;
  const little = Promise.withResolvers<number>();
  scheduler.start({
    isLittle: true,
    work() {
      little.resolve(turns);
      return false;
    },
  });
  assertEquals(await little.promise, already);
  scheduler.stop();
});

Deno.test("the more have much to do, the shorter are their turns", async () => {
  const scheduler = new Scheduler(fail, () => false);
  const crowd = 300;
  let used = 0;
  const before: number[] = [];
  const done = Promise.withResolvers<void>();
  scheduler.add(endless(() => {
    if (before.at(-1) !== used && before.push(used) === 4) done.resolve();
  }));
  for (let n = 1; n < crowd; n++) {
    scheduler.add({
      work(slice) {
        used += timeOf(() => {
          do {/* much */} while (!slice.isOver);
        });
        return true;
      },
    });
  }
  await done.promise;
  scheduler.stop();
  const most = Math.max(...before.slice(1).map((used, n) => used - before[n]!));
  assert(most < crowd * SLICE_MS / 3, `${most} ms of others between two turns`);
});
