import { assert, assertEquals, assertGreaterOrEqual, assertThrows } from "@std/assert";
import { UsageError } from "../../src/errors.ts";
import { parkedProperties, readHistory } from "../../src/task/headers.ts";
import { admit, DEFAULT_POLICY } from "../../src/task/retry.ts";
import { schedule } from "../../src/task/schedule.ts";
import type { TaskProperties } from "../../src/task/task.ts";
import { delayQueue, MAX_QUEUE_NAME_BYTES } from "../../src/task/topology.ts";
import { Random } from "../support/random.ts";

const TASK = { queue: "q", properties: { messageId: "id" } };

/** The delay of a delay queue's name. */
function delayOf(name: string): number {
  return Number(name.slice(name.lastIndexOf(".") + 1));
}

Deno.test("a task that is due waits nowhere", () => {
  for (const ms of [0, -1]) assertEquals(schedule(TASK, ms), undefined);
});

Deno.test("a delay that has a queue is waited for in that queue alone", () => {
  for (const ms of [1_000, 5_000, 60_000, 86_400_000]) {
    const { delayQueue: queue, properties } = schedule(TASK, ms, "classic")!;
    assertEquals(queue, delayQueue("q", ms, "classic"));
    assertEquals(properties.headers?.["task-wait"], undefined);
    assertEquals(properties.messageId, "id");
  }
});

Deno.test("whatever the delay, the task waits as long: never less, at most 250 ms more", () => {
  const random = new Random(8);
  for (let i = 0; i < 2_000; i++) {
    const delay = 1 + random.below(random.pick([1_000, 5_000, 100_000, 3_650 * 86_400_000]));
    const withTtl = { ...TASK, properties: { ...TASK.properties, expiration: "30000" } };
    const first = schedule(withTtl, delay)!;
    let properties: TaskProperties = first.properties;
    let waited = delayOf(first.delayQueue.name);
    for (;;) {
      const history = readHistory({ properties, redelivered: false });
      const admission = admit(history, 0, DEFAULT_POLICY);
      if (admission.kind === "run") {
        assertEquals(admission.attempt, 1);
        // Its time to live begins when it is due, at the earliest.
        assertGreaterOrEqual(history.expiresInMs!, 30_000 - 250);
        assertGreaterOrEqual(30_000, history.expiresInMs!);
        break;
      }
      assert(admission.kind === "park");
      const parking = { ...admission, waitMs: admission.leftMs };
      properties = parkedProperties({ queue: "q", properties }, parking, admission.tierMs);
      waited += admission.tierMs;
    }
    assertGreaterOrEqual(waited, delay);
    assertGreaterOrEqual(delay + 250, waited);
  }
});

Deno.test("the time to live of a task begins when it is due", () => {
  const properties = { expiration: "30000", headers: { a: "b" } };
  const scheduled = schedule({ queue: "q", properties }, 6_000)!;
  assertEquals(scheduled.delayQueue.name, "q.delay.5000");
  assertEquals(scheduled.properties.expiration, undefined);
  assertEquals(scheduled.properties.headers?.["a"], "b");
  assertEquals(scheduled.properties.headers?.["task-wait"], 1_000);
  assertEquals(scheduled.properties.headers?.["task-expires-in"], 31_000);
});

Deno.test("a queue whose name leaves no room for a delay queue is refused", () => {
  const longest = { ...TASK, queue: "\u00e4".repeat(MAX_QUEUE_NAME_BYTES / 2) };
  assert(schedule(longest, 1) !== undefined);
  const longer = { ...TASK, queue: `${longest.queue}x` };
  assertThrows(() => schedule(longer, 1), UsageError, "at most 238 bytes, and has 239");
});

Deno.test("a header that would send the task elsewhere at once is refused", () => {
  for (const name of ["CC", "BCC"]) {
    const properties = { headers: { [name]: ["other"] } };
    assertThrows(() => schedule({ queue: "q", properties }, 1), UsageError, name);
    assertEquals(schedule({ queue: "q", properties }, 0), undefined);
  }
});
