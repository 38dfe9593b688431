import { assertEquals, assertMatch } from "@std/assert";
import { isAlive } from "./descendants.ts";
import { run, spawn } from "./process.ts";
import { tempDir } from "./temp.ts";
import { waitUntil } from "./wait.ts";

const RUN = new URL("run.ts", import.meta.url).pathname;

Deno.test("a test that does not end fails by its name and leaves nothing, and the others go on", async () => {
  await using dir = await tempDir("limit-");
  await Deno.writeTextFile(
    dir.file("limit_test.ts"),
    `const never = () => new Promise(() => setTimeout(() => {}, 1e9));
     Deno.test("waits", never);
     Deno.test({ name: "steps", fn: async (t) => void await t.step("one", never) });
     Deno.test("computes", { permissions: "inherit" }, () => {
       const args = ["-c", "sleep 1000 & echo $! >" + ${JSON.stringify(dir.file("pid"))}];
       new Deno.Command("sh", { args, stdout: "null", stderr: "null" }).outputSync();
       for (;;);
     });
     Deno.test("is quick", () => {});`,
  );
  const { code, stdout } = await run(Deno.execPath(), {
    args: ["run", "-A", "--no-check", RUN, "--no-rabbitmq", dir.path],
    env: { TEST_MINUTES: "0.01", NO_COLOR: "1" },
  });
  assertEquals(code, 1);
  for (const name of ["waits", "steps", "computes"]) {
    assertMatch(stdout, new RegExp(`limit_test.ts => ${name} ... FAILED`));
  }
  assertMatch(stdout, /\| 1 passed (\(.*\) )?\| 3 failed/);
  const pid = Number(await Deno.readTextFile(dir.file("pid")));
  await waitUntil("the child to end", () => !isAlive(pid));
});

Deno.test({
  name: "a run that is ended leaves nothing running",
  ignore: Deno.build.os !== "linux", // reads /proc
  fn: async () => {
    await using dir = await tempDir("limit-");
    await Deno.writeTextFile(
      dir.file("ended_test.ts"),
      `Deno.test("waits", async () => {
       const child = new Deno.Command("sleep", { args: ["1000"] }).spawn();
       Deno.writeTextFileSync(${JSON.stringify(dir.file("pid"))}, String(child.pid));
       await child.status;
     });`,
    );
    await using running = spawn(Deno.execPath(), {
      args: ["run", "-A", "--no-check", RUN, "--no-rabbitmq", dir.path],
      env: { NO_COLOR: "1" },
    });
    const pid = await waitUntil(
      "the test to start its child",
      () => Number(Deno.readTextFileSync(dir.file("pid"))) || undefined,
    );
    running.kill("SIGTERM");
    const { code } = await running.ended();
    assertEquals(code, 130);
    await waitUntil("the child to end", () => !isAlive(pid));
  },
});
