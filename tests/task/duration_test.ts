import { assertEquals } from "@std/assert";
import { parseDuration } from "../../src/task/duration.ts";

Deno.test("parseDuration() reads every unit, fractions and bare seconds", () => {
  const cases: [string, number][] = [
    ["250ms", 250],
    ["1s", 1_000],
    ["1.5s", 1_500],
    ["25m", 1_500_000],
    ["2d", 172_800_000],
    ["0", 0],
    ["90", 90_000],
    ["0.25", 250],
  ];
  for (const [text, ms] of cases) assertEquals(parseDuration(text), ms, text);
});

Deno.test("parseDuration() gives undefined for what is not a duration", () => {
  const texts = [
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
  ];
  for (const text of [...texts, "9".repeat(400)]) {
    assertEquals(parseDuration(text), undefined, text);
  }
});
