import { assertEquals } from "@std/assert";
import type { TaskProperties } from "../../src/task/task.ts";
import { waitedMs } from "../../src/task/waiting.ts";

const NOW = Date.parse("2030-01-01T00:00:00Z");

function waited(properties: TaskProperties, redelivered = false): number | undefined {
  return waitedMs({ properties, redelivered }, NOW);
}

function before(seconds: number): Date {
  return new Date(NOW - seconds * 1_000);
}

function death(seconds: number): NonNullable<TaskProperties["headers"]> {
  return { "x-death": [{ queue: "q.delay.1000", reason: "expired", time: before(seconds) }] };
}

Deno.test("a task waited since it was sent, or since its delay was over", () => {
  assertEquals(waited({ timestamp: before(7) }), 7_000);
  assertEquals(waited({ timestamp: before(7), headers: { timestamp_in_ms: NOW - 6_543 } }), 6_543);
  assertEquals(waited({ timestamp: before(900), headers: death(3) }), 3_000);
  const retried = { "task-origin-queue": "q", "task-attempt": 1, ...death(2) };
  assertEquals(waited({ timestamp: before(900), headers: retried }), 2_000);
  const forwarded = { "task-forwarded": { at: before(5).toISOString() } };
  assertEquals(waited({ timestamp: before(900), headers: forwarded }), 5_000);
});

Deno.test("what nothing tells is absent", () => {
  assertEquals(waited({}), undefined);
  assertEquals(waited({ timestamp: before(7) }, true), undefined);
  assertEquals(waited({ timestamp: before(7), headers: { "task-replays": 1 } }), undefined);
  assertEquals(waited({ timestamp: before(7), headers: { "task-origin-queue": "q" } }), undefined);
});

Deno.test("stamps are strangers': a clock ahead is no negative wait, nonsense is none at all", () => {
  assertEquals(waited({ timestamp: before(-2) }), 0);
  assertEquals(waited({ timestamp: before(-3_600) }), undefined);
  assertEquals(waited({ timestamp: new Date(0) }), undefined);
  assertEquals(waited({ timestamp: new Date(NaN) }), undefined);
  for (const value of ["x", null, [], [1], {}, [{ time: "x" }], new Uint8Array(2), 2n ** 62n]) {
    const headers = { "x-death": value, "task-forwarded": value, timestamp_in_ms: value };
    assertEquals(waited({ headers } as TaskProperties), undefined);
  }
});
