import { assertEquals, assertThrows } from "@std/assert";
import { formatDuration, MAX_DURATION_MS, parseDuration } from "../../src/task/duration.ts";

Deno.test("parseDuration() reads every unit, sums, fractions and bare seconds", () => {
  const cases: [string, number][] = [
    ["250ms", 250],
    ["1s", 1_000],
    ["1.5s", 1_500],
    ["25m", 1_500_000],
    ["1h30m", 5_400_000],
    ["2d", 172_800_000],
    ["0", 0],
    ["0s", 0],
    ["90", 90_000],
    ["0.25", 250],
    [" 5s ", 5_000],
  ];
  for (const [text, ms] of cases) assertEquals(parseDuration(text), ms, text);
});

Deno.test("parseDuration() refuses what is not a duration and names the text", () => {
  for (
    const text of [
      "",
      " ",
      "s",
      "5 s",
      "-1s",
      "+1s",
      "1e3",
      "0x10",
      "5min",
      "1s5",
      "1,5s",
      "\u0664s",
    ]
  ) {
    assertThrows(() => parseDuration(text), SyntaxError, `"${text}"`);
  }
});

Deno.test("parseDuration() refuses durations that no timer and no queue argument can hold", () => {
  assertEquals(parseDuration(`${MAX_DURATION_MS}ms`), MAX_DURATION_MS);
  assertThrows(() => parseDuration(`${MAX_DURATION_MS + 1}ms`), RangeError, "24d20h31m23s647ms");
  assertThrows(() => parseDuration("9".repeat(400) + "s"), RangeError);
});

Deno.test("formatDuration() writes what parseDuration() reads", () => {
  assertEquals(formatDuration(1_500_000), "25m");
  assertEquals(formatDuration(5_400_000), "1h30m");
  let ms = 1;
  for (let i = 0; i < 2_000; i++) {
    ms = (ms * 48_271 + i) % MAX_DURATION_MS;
    assertEquals(parseDuration(formatDuration(ms)), ms);
  }
  assertEquals(parseDuration(formatDuration(0)), 0);
});
