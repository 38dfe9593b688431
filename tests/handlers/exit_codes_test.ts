import { assertEquals } from "@std/assert";
import { exitRules, parseExitCodes, verdictOf } from "../../src/handlers/exit_codes.ts";

Deno.test("parseExitCodes() reads numbers and ranges", () => {
  assertEquals(parseExitCodes("3"), [3]);
  assertEquals(parseExitCodes("1, 70-72,255"), [1, 70, 71, 72, 255]);
  for (const text of ["", ",", "1,", "256", "5-3", "-1", "1.5", "x", "1-", "0x1"]) {
    assertEquals(parseExitCodes(text), undefined, text);
  }
});

Deno.test("126 and 127 mean a missing command only where a shell says so", () => {
  assertEquals(verdictOf(127, exitRules()), "retry");
  assertEquals(verdictOf(127, exitRules({}, true)), "unable");
  assertEquals(verdictOf(126, exitRules({ dead: [126] }, true)), "dead");
});
