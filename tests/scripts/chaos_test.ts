import { assertEquals, assertMatch } from "@std/assert";
import { spawnDeno } from "../support/process.ts";

Deno.test("a short chaos loses no task", async () => {
  await using chaos = spawnDeno(new URL("../../scripts/chaos.ts", import.meta.url), {
    args: ["--broker", "embedded", "--tasks", "240", "--seed", "2"],
  });
  const { stdout, stderr } = await chaos.ended(300_000);
  assertMatch(stdout, /broker killed [1-9]\d* times/);
  // What repeats a task is judged by `deno task chaos`: beside other tests all is late.
  assertMatch(stdout, /228 done, 12 dead, lost 0, /);
  assertEquals(stderr, "");
});
