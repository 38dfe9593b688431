/** Whom the broker takes for silent. */
import { assertEquals } from "@std/assert";
import { Heartbeat } from "../../src/broker/connection/heartbeat.ts";
import { Deadlines } from "../../src/time/deadlines.ts";

const INTERVAL_S = 0.2;
const STOPPED_MS = 1_500;
/** Longer than sockets are looked at before late deadlines run. */
const READ_MS = 400;

Deno.test("what is read a while after the broker stood still counts, and who is silent then is given up", async () => {
  const deadlines = new Deadlines((error) => {
    throw error;
  });
  const story: string[] = [];
  const { promise: abandoned, resolve: abandon } = Promise.withResolvers<void>();
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
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, STOPPED_MS);
  setTimeout(() => {
    story.push("read");
    heartbeat.heard();
  }, READ_MS);
  await abandoned;
  heartbeat.stop();
  deadlines.stop();
  assertEquals(story, ["read", "no heartbeat from the client"]);
});
