import { assertEquals, assertThrows } from "@std/assert";
import { FORWARD_FLAGS } from "../../src/cli/forward_flags.ts";
import { UsageError } from "../../src/errors.ts";

const rate = (given: string) => FORWARD_FLAGS["bytes-rate"].parse([given], "--bytes-rate");

Deno.test("a rate in bytes is a size, with or without the second, in either case", () => {
  for (const given of ["65536", "64k", "64k/s", "64K/S", "64KiB/s"]) {
    assertEquals(rate(given), 65_536, given);
  }
  for (const given of ["64k/s/s", "/s", "64k/m", "63/s"]) {
    assertThrows(() => rate(given), UsageError, "--bytes-rate must be", given);
  }
});
