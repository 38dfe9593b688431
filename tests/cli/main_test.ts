import { assertEquals, assertMatch } from "@std/assert";
import { spawnDeno } from "../support/process.ts";
import { tempDir } from "../support/temp.ts";

Deno.test("an exception that reaches nobody ends the program as a fault, with its place and 70", async () => {
  await using dir = await tempDir();
  const main = new URL("../../src/cli/main.ts", import.meta.url).href;
  await Deno.writeTextFile(
    dir.file("late.ts"),
    `import { runMain } from ${JSON.stringify(main)};
     await runMain("tool", () => new Promise(() => {
       setTimeout(() => { throw new Error("too late"); }, 0);
     }));`,
  );
  await using tool = spawnDeno(dir.file("late.ts"));
  const { code, stdout, stderr } = await tool.ended();
  assertMatch(stderr, /^tool: a fault in this program, please report it: Error: too late\n +at /);
  assertEquals([code, stdout], [70, ""]);
});

Deno.test("lines that many tasks log in one turn all arrive", async () => {
  await using dir = await tempDir();
  const main = new URL("../../src/cli/main.ts", import.meta.url).href;
  const count = 10_000;
  await Deno.writeTextFile(
    dir.file("chatty.ts"),
    `import { runMain } from ${JSON.stringify(main)};
     await runMain("tool", (host) => {
       for (let i = 0; i < ${count}; i++) host.log.info("done ".repeat(20), { id: i });
       return Promise.resolve(0);
     });`,
  );
  await using tool = spawnDeno(dir.file("chatty.ts"));
  assertEquals((await tool.ended()).code, 0);
  assertEquals(tool.stderr.filter((line) => line.includes("done")).length, count);
});
