/** The compiled broker by itself, with the compiled tools as its clients. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { copyExecutable } from "../support/executable.ts";
import { freePorts } from "../support/ports.ts";
import { installed, spawn, type TestProcess } from "../support/process.ts";
import { tempDir } from "../support/temp.ts";
import { unless } from "../support/unless.ts";
import { binary, dist } from "./binary.ts";

async function portOf(broker: TestProcess): Promise<string> {
  return (await broker.waitForLog(/ready: amqp:\/\/127\.0\.0\.1:(\d+) and/))[1]!;
}

Deno.test("compiled broker, new_task and worker need nothing else; a task outlives kill -9", async () => {
  await using temp = await tempDir();
  await using data = await tempDir();
  const port = `${freePorts(1)[0]}`;
  const args = ["--data", data.path, "--port", port];
  await using first = binary("broker", temp.path, [], args);
  assertEquals(await portOf(first), port);
  const target = [`AMQP_URL=amqp://127.0.0.1:${port}/`];
  await using sender = binary("new_task", temp.path, target, ["Compiled", "task."]);
  const sent = await sender.ended();
  assertEquals([sent.stdout, sent.code], [" [x] Sent Compiled task.\n", 0], sent.stderr);
  await first.destroy();

  await using second = binary("broker", temp.path, [`BROKER_DATA=${data.path}`], ["--port", port]);
  assertEquals(await portOf(second), port);
  await using worker = binary("worker", temp.path, target, ["--exit-when-empty"]);
  const worked = await worker.ended();
  assertEquals(worked.code, 0, worked.stderr);
  assertMatch(worked.stdout, /^ \[x\] Received Compiled task\.\n \[x\] Done$/m);
  second.kill("SIGTERM");
  assertEquals((await second.ended()).code, 0);
  assertEquals(Array.from(Deno.readDirSync(temp.path), ({ name }) => name), []);
});

Deno.test("the page is inside the compiled broker", async () => {
  await using temp = await tempDir();
  await using broker = binary("broker", temp.path, [], [
    "--transient",
    "--port",
    "0",
    "--http",
    "0",
  ]);
  const [, url] = await broker.waitForLog(/page at (http:\S+)/);
  for (const path of ["/", "/page.js", "/page.css", "/icon.svg", "/api/v1/overview", "/metrics"]) {
    const response = await fetch(url + path);
    assert((await response.text()).length > 0);
    assertEquals([path, response.status], [path, 200]);
  }
  broker.kill("SIGTERM");
  assertEquals((await broker.ended()).code, 0);
});

Deno.test("the compiled programs keep the names that a fault would be reported with", async () => {
  for (const name of ["new_task", "worker", "broker"]) {
    const bytes = await Deno.readFile(`${dist}${name}`);
    // The program is at the end.
    const text = new TextDecoder("latin1").decode(bytes.subarray(-4_000_000));
    assert(text.includes("function runMain("), name);
  }
});

const canBeNobody = Deno.uid() === 0 && installed("setpriv");

Deno.test({
  ...unless(
    canBeNobody ? undefined : "needs root and setpriv",
    "compiled broker: an unprivileged user is told which folder is closed to him",
  ),
  async fn() {
    await using temp = await tempDir("test-", "/tmp");
    await Deno.chmod(temp.path, 0o755);
    await copyExecutable(`${dist}broker`, temp.file("broker"));
    await Deno.mkdir(temp.file("locked"), { mode: 0o700 });
    const rows: [folder: string, sentence: RegExp][] = [
      ["locked/data", /^broker: cannot create the data folder ".*": permission denied\n$/],
      ["locked", /^broker: cannot use the data file .*: this user may not open or create it\n$/],
    ];
    for (const [folder, sentence] of rows) {
      await using broker = spawn("setpriv", {
        args: [
          ...["--reuid=65534", "--regid=65534", "--clear-groups", temp.file("broker")],
          ...["--port", "0", "--data", temp.file(folder)],
        ],
        cwd: temp.path,
      });
      const { stderr, code } = await broker.ended();
      assertMatch(stderr, sentence);
      assertEquals(code, 66);
    }
  },
});
