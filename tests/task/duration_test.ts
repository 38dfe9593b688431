import { assertEquals } from "@std/assert";
import {
  formatDuration,
  formatDurationShort,
  parseDuration,
  parseTime,
} from "../../src/task/duration.ts";
import { Random } from "../support/random.ts";

Deno.test("durations are read in every unit, bare numbers as seconds", () => {
  const expected: Record<string, number> = {
    "0": 0,
    "5": 5000,
    "007": 7000,
    "1.5": 1500,
    "500ms": 500,
    "0.4ms": 0,
    "0.25s": 250,
    "5s": 5000,
    "25m": 1_500_000,
    "1h": 3_600_000,
    "7d": 604_800_000,
    "1 s": 1_000,
    "5min": 300_000,
    "1 min 30 s": 90_000,
    "1h30m": 5_400_000,
    "1 d 2 h": 93_600_000,
  };
  for (const [text, ms] of Object.entries(expected)) assertEquals(parseDuration(text), ms, text);
});

Deno.test("what is no duration is undefined", () => {
  const bad = ["", " ", "s", "-1", "+1", "1e3", "1  s", "5S", "1.", ".5", "1.5.2", "0x10", "1s\n"];
  bad.push(" 1s", "1 s ", "1h 30", "30 s 1 min", "1m 1min", "1 2s");
  for (const text of [...bad, "1s1s", "5sec", "Infinity", "NaN", "9".repeat(13), "\u0661"]) {
    assertEquals(parseDuration(text), undefined, JSON.stringify(text));
  }
});

Deno.test("a parsed duration is a whole, safe number of milliseconds", () => {
  const random = new Random(6);
  for (let i = 0; i < 2000; i++) {
    const text = `${random.below(1e12)}.${random.below(1e6)}${
      random.pick(["", "ms", "s", "m", "h", "d"])
    }`;
    const ms = parseDuration(text)!;
    assertEquals(Number.isInteger(ms), true, text);
  }
});

Deno.test("a duration that is shown is read as what it is", () => {
  const random = new Random(7);
  for (let i = 0; i < 2000; i++) {
    const shown = formatDuration(random.below(10 ** random.below(12)));
    assertEquals(formatDuration(parseDuration(shown)!), shown);
  }
});

Deno.test("durations are shown in their two largest units", () => {
  const expected: [number, string][] = [
    [-5, "0 ms"],
    [0, "0 ms"],
    [0.4, "0 ms"],
    [999, "999 ms"],
    [999.6, "1 s"],
    [1_000, "1 s"],
    [1_234, "1.2 s"],
    [9_949, "9.9 s"],
    [9_950, "10 s"],
    [59_400, "59 s"],
    [59_960, "1 min"],
    [60_000, "1 min"],
    [61_000, "1 min 1 s"],
    [90_000, "1 min 30 s"],
    [1_207_600, "20 min 8 s"],
    [3_599_600, "1 h"],
    [3_600_000, "1 h"],
    [7_259_000, "2 h"],
    [7_500_000, "2 h 5 min"],
    [86_399_600, "1 d"],
    [86_400_000, "1 d"],
    [129_600_000, "1 d 12 h"],
    [315_360_000_000, "3650 d"],
  ];
  for (const [ms, text] of expected) assertEquals(formatDuration(ms), text);
});

Deno.test("in a table a duration is its largest unit, never more than it is", () => {
  const expected: [number, string][] = [
    [-5, "0s"],
    [0, "0s"],
    [1_999, "1s"],
    [59_999, "59s"],
    [60_000, "1m"],
    [7_199_999, "1h"],
    [129_600_000, "1d"],
  ];
  for (const [ms, text] of expected) assertEquals(formatDurationShort(ms), text);
});

Deno.test("a time is RFC 3339, with or without seconds, never without its zone", () => {
  const morning = Date.UTC(2027, 0, 31, 8);
  const expected: Record<string, number> = {
    "2027-01-31T08:00:00Z": morning,
    "2027-01-31t08:00z": morning,
    "2027-01-31 09:00+01:00": morning,
    "2027-01-31T02:30:00-05:30": morning,
    "2027-01-31T08:00:00.250Z": morning + 250,
    "2027-01-31T08:00:00.123456789Z": morning + 123,
    "2028-02-29T00:00Z": Date.UTC(2028, 1, 29),
    "1969-12-31T23:59:59Z": -1000,
  };
  for (const [text, time] of Object.entries(expected)) assertEquals(parseTime(text), time, text);
});

Deno.test("what is no time is undefined", () => {
  const bad = ["", "now", "2027-01-31", "08:00Z", "2027-01-31T08:00", "2027-1-31T08:00Z", "5m"];
  const wrong = [
    "2027-02-29T00:00Z",
    "2027-13-01T00:00Z",
    "2027-00-01T00:00Z",
    "2027-01-00T00:00Z",
  ];
  const more = [
    "2027-01-31T24:01Z",
    "2027-01-31T08:60Z",
    "2027-01-31T08:00+25:00",
    "20270131T0800Z",
  ];
  for (const text of [...bad, ...wrong, ...more, "2027-01-31T08:00Z\n", " 2027-01-31T08:00Z"]) {
    assertEquals(parseTime(text), undefined, JSON.stringify(text));
  }
});
