import { assert, assertEquals, assertGreaterOrEqual, assertThrows } from "@std/assert";
import { UsageError } from "../../src/errors.ts";
import { readHistory } from "../../src/task/headers.ts";
import { admit, DEFAULT_POLICY } from "../../src/task/retry.ts";
import { schedule } from "../../src/task/schedule.ts";
import type { TaskProperties } from "../../src/task/task.ts";
import { delayQueue, MAX_QUEUE_NAME_BYTES } from "../../src/task/topology.ts";
import { Random } from "../support/random.ts";

const NOW = Date.UTC(2026, 0, 1);
const TASK = { queue: "q", properties: { messageId: "id" } };

/** The delay of a delay queue's name. */
function delayOf(name: string): number {
  return Number(name.slice(name.lastIndexOf(".") + 1));
}

Deno.test("a task that is due waits nowhere", () => {
  for (const dueAt of [NOW, NOW - 1, 0, -1]) assertEquals(schedule(TASK, dueAt, NOW), undefined);
});

Deno.test("a delay that has a queue is waited for in that queue alone", () => {
  for (const ms of [1_000, 5_000, 60_000, 86_400_000]) {
    const { delayQueue: queue, properties } = schedule(TASK, NOW + ms, NOW, "classic")!;
    assertEquals(queue, delayQueue("q", ms, "classic"));
    assertEquals(properties.headers?.["task-not-before"], undefined);
    assertEquals(properties.messageId, "id");
  }
});

Deno.test("whatever the delay, the task runs when it is due: never early, at most 1 s late", () => {
  const random = new Random(8);
  for (let i = 0; i < 2_000; i++) {
    const delay = 1 + random.below(random.pick([1_000, 5_000, 100_000, 3_650 * 86_400_000]));
    const first = schedule(TASK, NOW + delay, NOW)!;
    let properties: TaskProperties = first.properties;
    let now = NOW + delayOf(first.delayQueue.name);
    for (;;) {
      const admission = admit(
        readHistory({ properties, redelivered: false }),
        false,
        DEFAULT_POLICY,
        now,
      );
      if (admission.kind === "run") {
        assertEquals(admission.attempt, 1);
        break;
      }
      assert(admission.kind === "park");
      properties = { headers: { "task-not-before": admission.notBefore! } };
      now += admission.tierMs;
    }
    assertGreaterOrEqual(now, NOW + delay);
    assertGreaterOrEqual(NOW + delay + 1_000, now);
  }
});

Deno.test("the time to live of a task begins when it is due", () => {
  const properties = { expiration: "30000", headers: { a: "b" } };
  const scheduled = schedule({ queue: "q", properties }, NOW + 5_000, NOW)!;
  assertEquals(scheduled.properties.expiration, undefined);
  assertEquals(scheduled.properties.headers?.["a"], "b");
  assertEquals(scheduled.properties.headers?.["task-expires-at"], NOW + 35_000);
});

Deno.test("a queue whose name leaves no room for a delay queue is refused", () => {
  const longest = { ...TASK, queue: "\u00e4".repeat(MAX_QUEUE_NAME_BYTES / 2) };
  assert(schedule(longest, NOW + 1, NOW) !== undefined);
  const longer = { ...TASK, queue: `${longest.queue}x` };
  assertThrows(() => schedule(longer, NOW + 1, NOW), UsageError, "at most 238 bytes, and has 239");
});

Deno.test("a header that would send the task elsewhere at once is refused", () => {
  for (const name of ["CC", "BCC"]) {
    const properties = { headers: { [name]: ["other"] } };
    assertThrows(() => schedule({ queue: "q", properties }, NOW + 1, NOW), UsageError, name);
    assertEquals(schedule({ queue: "q", properties }, NOW, NOW), undefined);
  }
});
