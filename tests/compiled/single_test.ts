/** dist/workqueue: the three programs in one file, by the names of links and by their first words. */
import { assertEquals, assertMatch } from "@std/assert";
import { run, spawn, type TestProcess } from "../support/process.ts";
import { tempDir } from "../support/temp.ts";
import { binary, dist } from "./binary.ts";

/** Starts a link in an empty environment, with only these variables. */
function link(path: string, variables: readonly string[], args: readonly string[]): TestProcess {
  return spawn("/usr/bin/env", { args: ["-i", "PATH=/nonexistent", ...variables, path, ...args] });
}

Deno.test("workqueue is each program by the name of a link and by its first word", async () => {
  await using folder = await tempDir();
  await using temp = await tempDir();
  for (const name of ["new_task", "worker", "broker"]) {
    await Deno.symlink(`${dist}workqueue`, folder.file(name));
  }
  const data = [`BROKER_DATA=${folder.file("data")}`, `TMPDIR=${temp.path}`];
  await using broker = link(folder.file("broker"), data, ["--port", "0"]);
  const [, port] = await broker.waitForLog(/ready: amqp:\/\/127\.0\.0\.1:(\d+) and/);
  const variables = [`AMQP_URL=amqp://127.0.0.1:${port}/`, "WORK_QUEUE=q", `TMPDIR=${temp.path}`];

  await using linked = link(folder.file("new_task"), variables, ["worker"]);
  assertEquals((await linked.ended()).stdout, " [x] Sent worker\n");
  await using named = binary("workqueue", temp.path, variables, ["new_task", "new_task"]);
  assertEquals((await named.ended()).stdout, " [x] Sent new_task\n");

  // Of all that it may do, a handler of the worker can show what is left.
  await Deno.writeTextFile(
    folder.file("handler.mjs"),
    `export default (task, { log }) => {
      const states = ["run", "env", "sys"].map((name) => Deno.permissions.querySync({ name }).state);
      const statfs = Deno.permissions.querySync({ name: "sys", kind: "statfs" }).state;
      log([task.text(), ...states, statfs].join(" "));
    };`,
  );
  const work = ["--handler", folder.file("handler.mjs"), "--max-tasks", "1"];
  await using worker = link(folder.file("worker"), variables, work);
  const { code, stderr } = await worker.ended();
  assertEquals(code, 0, stderr);
  assertMatch(stderr, /worker: worker granted granted prompt prompt/);
  await using again = binary("workqueue", temp.path, variables, ["worker", "--exit-when-empty"]);
  assertMatch((await again.ended()).stdout, /Received new_task\n/);

  broker.kill("SIGTERM");
  assertEquals((await broker.ended()).code, 0);
  assertEquals(Array.from(Deno.readDirSync(temp.path), ({ name }) => name), []);
});

Deno.test("workqueue without a program's name says what it takes", async () => {
  const file = `${dist}workqueue`;
  for (
    const [args, code, text] of [
      [[], 64, /^workqueue: the first word must be one of new_task, worker, broker, and there is/],
      [["new-task"], 64, /is "new-task"; did you mean workqueue new_task\?\n$/],
      [["--help"], 0, /^Usage: workqueue new_task\|worker\|broker /],
      [["-V"], 0, /^workqueue \d+\.\d+\.\d+ \(commit /],
      [["worker", "-V"], 0, /^worker \d+\.\d+\.\d+ \(commit /],
    ] as const
  ) {
    const output = await run(file, { args: [...args] });
    assertEquals(output.code, code, output.stderr);
    assertMatch(code === 0 ? output.stdout : output.stderr, text);
  }
});
