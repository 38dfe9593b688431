import { assertEquals } from "@std/assert";
import { parseRetryAfter } from "../../src/handlers/retry_after.ts";
import { LONGEST_PAUSE_MS } from "../../src/task/handler.ts";

Deno.test("Retry-After is seconds or a date, of any form that HTTP has", () => {
  const now = Date.UTC(1994, 10, 6, 8, 49, 0);
  const rows: [string | null, number | undefined][] = [
    [null, undefined],
    ["0", 0],
    [" 120 ", 120_000],
    ["99999999999999999999", LONGEST_PAUSE_MS],
    ["1.5", undefined],
    ["-1", undefined],
    ["", undefined],
    ["soon", undefined],
    ["Sun, 06 Nov 1994 08:49:37 GMT", 37_000],
    ["Sun Nov  6 08:49:37 1994", 37_000],
    ["Sun Nov 16 08:49:00 1994", 10 * 86_400_000],
    // It is over.
    ["Sun, 06 Nov 1994 08:48:00 GMT", 0],
    ["Sun, 06 Xyz 1994 08:49:37 GMT", undefined],
    ["Sun, 06 Nov 1994 28:49:37 GMT", undefined],
    ["Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_PAUSE_MS],
    // Several: the longest.
    ["120, 120", 120_000],
    ["5,120", 120_000],
    ["120, soon", 120_000],
    ["soon, later", undefined],
    [",", undefined],
    ["Sun, 06 Nov 1994 08:49:37 GMT, 5", 37_000],
    ["50, Sun, 06 Nov 1994 08:49:37 GMT", 50_000],
    ["Sun Nov  6 08:49:37 1994, Sun, 06 Nov 1994 08:49:39 GMT", 39_000],
  ];
  for (const [value, expected] of rows) {
    assertEquals(parseRetryAfter(value, null, now), expected, String(value));
  }
  const then = Date.UTC(2031, 10, 6, 8, 49, 0);
  assertEquals(parseRetryAfter("Thursday, 06-Nov-31 08:49:37 GMT", null, then), 37_000);
  assertEquals(parseRetryAfter("1, Thursday, 06-Nov-31 08:49:37 GMT", null, then), 37_000);
});

Deno.test("a date is compared with the clock of who sent it, where that is told", () => {
  const until = "Sun, 06 Nov 1994 08:49:37 GMT";
  assertEquals(parseRetryAfter(until, "Sun, 06 Nov 1994 08:49:07 GMT", 0), 30_000);
  assertEquals(parseRetryAfter(until, "no date", Date.UTC(1994, 10, 6, 8, 49, 30)), 7_000);
});
