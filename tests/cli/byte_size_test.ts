import { assertEquals } from "@std/assert";
import { formatSize, parseSize } from "../../src/cli/byte_size.ts";

Deno.test("sizes are bytes, or have the units of systemd and of IEC", () => {
  const sizes: [string, number][] = [
    ["0", 0],
    ["65536", 65_536],
    ["64k", 65_536],
    ["64KiB", 65_536],
    ["1.5M", 1_572_864],
    ["2gib", 2 ** 31],
    ["1T", 2 ** 40],
  ];
  for (const [text, bytes] of sizes) assertEquals(parseSize(text), bytes, text);
});

Deno.test("what may mean another size is none", () => {
  for (const text of ["", "M", "-1", "5MB", "5 M", "1e9", "0x10", "1,5M", "5ki", "9999999T"]) {
    assertEquals(parseSize(text), undefined, text);
  }
});

Deno.test("a size is shown as it is taken", () => {
  for (const [bytes, text] of [[0, "0"], [50_000_000, "50000000"], [2 ** 27, "128M"]] as const) {
    assertEquals(formatSize(bytes), text);
    assertEquals(parseSize(text), bytes);
  }
});
