import { assertEquals } from "@std/assert";
import { run } from "../support/process.ts";

const timer = new URL("../../src/time/timer.ts", import.meta.url).href;

Deno.test("after() calls back, and a cancelled one neither does nor keeps the process alive", async () => {
  const { stdout, code } = await run(Deno.execPath(), {
    args: [
      "eval",
      `import { after } from "${timer}";
      after(3_600_000, () => console.log("cancelled one")).cancel();
      after(1, () => console.log("called back"));`,
    ],
  });
  assertEquals([stdout, code], ["called back\n", 0]);
});
