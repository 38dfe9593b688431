import { assertEquals, assertMatch } from "@std/assert";
import { installed, spawnDeno } from "../support/process.ts";

Deno.test({
  name: "delays and pauses last as long as asked, whatever the clocks of the hosts say" +
    (installed("gcc") ? "" : " (ignored: gcc is not installed)"),
  ignore: !installed("gcc"),
  async fn() {
    await using clocks = spawnDeno(new URL("../../scripts/clocks.ts", import.meta.url), {
      args: ["--broker", "embedded", "--short", "--late", "10000"],
    });
    const { stdout, stderr, code } = await clocks.ended(120_000);
    assertMatch(stdout, /0 wrong.*\n.*0 wrong.*\n$/);
    assertEquals([stderr, code], ["", 0]);
  },
});
