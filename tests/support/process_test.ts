import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { run, spawn } from "./process.ts";

Deno.test("a process gives its lines as they come and its exit status", async () => {
  await using cat = spawn("sh", {
    args: ["-c", "echo ready; read x; echo $x >&2; exit 3"],
    stdin: "open",
  });
  await cat.waitForLine(/^ready$/);
  await cat.write("hello\n");
  await cat.waitForLog(/^hel+o$/);
  assertEquals(await cat.ended(), { stdout: "ready\n", stderr: "hello\n", code: 3, signal: null });
});

Deno.test("a process left running is killed and fails the test", async () => {
  let pid = 0;
  async function leave(): Promise<void> {
    await using sleep = spawn("sleep", { args: ["60"] });
    pid = sleep.pid;
  }
  const runDir = Deno.env.get("TEST_RUN_DIR");
  if (runDir === undefined) {
    await assertRejects(leave, Error, "left sleep running");
    return;
  }
  await leave();
  const left = `${runDir}/running: sleep ${pid}`;
  assertStringIncludes(await Deno.readTextFile(left), "left sleep running");
  await Deno.remove(left);
});

Deno.test({
  name: "children of a shell that was killed, or has ended, do not keep its pipes",
  ignore: Deno.build.os !== "linux",
  async fn() {
    for (const end of ["; wait", ""]) {
      await using shell = spawn("sh", {
        args: ["-c", `sleep 600 & echo begun${end}`],
        killOnDispose: true,
      });
      await shell.waitForLine(/begun/);
    }
  },
});

Deno.test("input is written and ended, also to a process that reads none of it", async () => {
  assertEquals((await run("cat", { stdin: "abc" })).stdout, "abc");
  assertEquals((await run("true", { stdin: new Uint8Array(1 << 20) })).code, 0);
});

Deno.test("waiting for a line that never comes fails with what came instead", async () => {
  await using echo = spawn("echo", { args: ["something"] });
  await assertRejects(() => echo.waitForLine(/else/), Error, "something");
  await echo.ended();
});
