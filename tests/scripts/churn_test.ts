import { assertEquals, assertMatch } from "@std/assert";
import { spawnDeno } from "../support/process.ts";

Deno.test("whatever ends a few workers, every task is done or was tried as often as it may", async () => {
  await using churn = spawnDeno(new URL("../../scripts/churn.ts", import.meta.url), {
    args: ["--broker", "embedded", "--tasks", "80", "--lives", "8", "--seed", "2"],
  });
  const { stdout, stderr } = await churn.ended(300_000);
  // What repeats a task is judged by `deno task churn`: beside other tests all is late.
  assertMatch(stdout, /, lost 0, dead untried 0, /);
  assertMatch(stdout, /workers that ended wrongly 0;/);
  assertEquals(stderr, "");
});
