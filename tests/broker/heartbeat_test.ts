/** Whom the broker takes for silent. */
import { assertEquals } from "@std/assert";
import { Heartbeat } from "../../src/broker/connection/heartbeat.ts";
import { Deadlines } from "../../src/time/deadlines.ts";

const INTERVAL_S = 1;
const STOPPED_MS = 3_000;
/** Longer than sockets are looked at before late deadlines run. */
const READ_MS = 400;
/** More than run in one go. */
const MANY = 100;

/** As SIGSTOP does. */
function standStill(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, STOPPED_MS);
}

for (const isBusy of [false, true]) {
  const when = isBusy ? "between very many deadlines" : "while nothing was due";
  Deno.test(`what is read a while after the broker stood still ${when} counts, and later silence is seen`, async () => {
    const story: string[] = [];
    const { promise: abandoned, resolve: abandon } = Promise.withResolvers<void>();
    const stop = () => {
      standStill();
      setTimeout(() => {
        story.push("read");
        heartbeat.heard();
      }, READ_MS);
    };
    let goes = 0;
    const deadlines = new Deadlines((error) => {
      throw error;
    }, (run) => {
      if (goes++ === 0) stop();
      setTimeout(run, 0);
    });
    const outbox = {
      isStalled: () => false,
      lastWrite: Infinity,
      trim: () => {},
      frames: { heartbeat: () => {} },
    };
    const heartbeat = new Heartbeat({
      outbox,
      deadlines,
      isWaiting: false,
      flush: () => {},
      abandon: (reason) => (story.push(reason), abandon()),
    }, INTERVAL_S);
    if (isBusy) { for (let n = 0; n < MANY; n++) deadlines.after(1, () => {}); }
    else stop();
    await abandoned;
    heartbeat.stop();
    deadlines.stop();
    assertEquals(story, ["read", "no heartbeat from the client"]);
  });
}
