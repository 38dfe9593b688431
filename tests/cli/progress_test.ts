import { assertEquals } from "@std/assert";
import { describeReading, Gauge } from "../../src/cli/progress.ts";

Deno.test("with a known size there are percent and time left, and what was skipped took none", () => {
  const gauge = new Gauge({ total: 1_000, start: undefined }, 0);
  assertEquals(gauge.read({ confirmed: 0, rejected: 0, end: 0 }, 1_000), {
    tasks: 0,
    rejected: 0,
    rate: 0,
    percent: 0,
  });
  // Its first record ends at 500 because the ones before were skipped.
  assertEquals(gauge.read({ confirmed: 1, rejected: 0, end: 500 }, 2_000).percent, 50);
  const later = gauge.read({ confirmed: 101, rejected: 2, end: 600 }, 4_000);
  assertEquals(later, { tasks: 101, rejected: 2, rate: 50, percent: 60, leftMs: 16_000 });
  assertEquals(
    describeReading(later),
    "60 %, 101 tasks confirmed, 2 rejected, 50/s, 0:16 left",
  );
  assertEquals(describeReading({ ...later, leftMs: 3_725_000 }).slice(-12), "1:02:05 left");
});

Deno.test("without a known size there are the count and the rate", () => {
  for (const total of [undefined, 0]) {
    const gauge = new Gauge({ total, start: undefined }, 0);
    const reading = gauge.read({ confirmed: 1, rejected: 0, end: 5 }, 500);
    assertEquals(describeReading(reading), "1 task confirmed, 2/s");
  }
});
