import { assertEquals, assertMatch } from "@std/assert";
import { programTest, spawnDeno } from "../support/process.ts";

programTest(
  "gcc",
  "delays and pauses last as long as asked, whatever the clocks of the hosts say",
  async () => {
    await using clocks = spawnDeno(new URL("../../scripts/clocks.ts", import.meta.url), {
      args: ["--broker", "embedded", "--short", "--late", "30000"],
    });
    const { stdout, stderr, code } = await clocks.ended(300_000);
    assertMatch(stdout, /0 wrong.*\n.*0 wrong.*\n$/);
    assertEquals([stderr, code], ["", 0]);
  },
);
