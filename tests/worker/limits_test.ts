/** When a worker starts no more: its rate, its limits, handlers that do not end. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { parseUrls } from "../../src/amqp/url.ts";
import { createLogger } from "../../src/observe/log.ts";
import { DONE } from "../../src/task/handler.ts";
import { Pace } from "../../src/worker/pace.ts";
import { Worker } from "../../src/worker/worker.ts";
import { brokerTest, sharedNode } from "../support/broker.ts";
import { run, spawn, type TestProcess } from "../support/process.ts";
import { Proxy } from "../support/proxy.ts";
import { ScriptedServer } from "../support/scripted_server.ts";
import { tempDir } from "../support/temp.ts";
import { toolCommand } from "../support/tools.ts";
import { waitUntil, within } from "../support/wait.ts";
import { QueueBench } from "./bench.ts";

const { port, url } = await sharedNode();
const NEVER = new AbortController().signal;

brokerTest("--max-tasks, --idle-timeout and --max-runtime end the worker with 0", async () => {
  await using bench = await QueueBench.open(url);
  for (let i = 0; i < 2; i++) await bench.send("", { messageId: `${i}` });
  await using two = bench.worker("--max-tasks", "2", "--", "true");
  assertEquals((await two.ended()).code, 0);
  assertEquals(two.stderr.filter((line) => /done id=/.test(line)).length, 2);
  for (const args of [["--idle-timeout", "300ms"], ["--max-runtime", "2s"]]) {
    await bench.send("", { messageId: "one more" });
    // On a busy machine the time may be over before a task has come.
    for (let done = 0; done === 0;) {
      await using worker = bench.worker(...args, "--", "true");
      assertEquals((await worker.ended()).code, 0);
      done = worker.stderr.filter((line) => /done id=/.test(line)).length;
    }
  }
  await bench.holds(0);
});

brokerTest(
  "the last task of --max-tasks takes its time, until a signal asks for the end",
  async () => {
    await using bench = await QueueBench.open(url);
    await using dir = await tempDir("last-");
    const wait = `echo begun; until [ -e ${dir.path}/go ]; do sleep 0.02; done`;
    const args = ["--max-tasks", "1", "--grace", "0", "--", "sh", "-c", wait];
    await bench.send("", { messageId: "a" });
    await using asked = bench.worker(...args);
    await asked.waitForLog(/begun/);
    asked.kill("SIGTERM");
    assertEquals((await asked.ended()).code, 0);
    await bench.holds(1);
    await using patient = bench.worker(...args);
    await patient.waitForLog(/no more tasks; waiting for 1 running/);
    await patient.waitForLog(/begun/);
    await Deno.writeTextFile(dir.file("go"), "");
    const { code, stderr } = await patient.ended();
    assertEquals([code, /done id=a/.test(stderr)], [0, true], stderr);
    await bench.holds(0);
  },
);

brokerTest("a limit is not reached by a task that could not be acknowledged", async () => {
  await using bench = await QueueBench.open(url);
  await using proxy = await Proxy.start(port);
  await using dir = await tempDir("unacknowledged-");
  await bench.send("", { messageId: "a" });
  await using worker = bench.workerIn(
    { AMQP_URL: proxy.url },
    ...["--max-tasks", "1", "--", "sh", "-c"],
    `echo begun; until [ -e ${dir.path}/go ]; do sleep 0.02; done`,
  );
  await worker.waitForLog(/begun/);
  proxy.refuse();
  await proxy.cut();
  await waitUntil("the task to be back", async () => await bench.ready() === 1);
  await Deno.writeTextFile(dir.file("go"), "");
  const { code, stderr } = await worker.ended();
  assertEquals(code, 75, stderr);
  assertMatch(stderr, /before a finished task was acknowledged/);
});

brokerTest(
  "--max-memory finishes what runs, and ends for a supervisor to start it again",
  async () => {
    await using bench = await QueueBench.open(url);
    await using dir = await tempDir("memory-");
    const handler = dir.file("grow.js");
    await Deno.writeTextFile(
      handler,
      `const kept = [];
    export default async (task, { log }) => {
      if (task.id === "big") kept.push(new Uint8Array(400 << 20).fill(1));
      log("begun");
      while (task.id === "big" && !(await Deno.stat("${dir.path}/go").catch(() => false)));
    };`,
    );
    for (const messageId of ["small", "big", "left"]) await bench.send("", { messageId });
    await using worker = bench.worker("--max-memory", "400M", "--grace", "0", "--handler", handler);
    await worker.waitForLog(/ends by --max-memory/);
    await Deno.writeTextFile(dir.file("go"), "");
    const { code, stderr } = await worker.ended();
    assertEquals(code, 75, stderr);
    assertEquals(stderr.split("\n").filter((line) => / done id=/.test(line)).length, 2, stderr);
    await bench.holds(1);
    await using told = bench.worker(
      ...["--max-memory", "1M", "--limit-exit-code", "9", "--", "true"],
    );
    assertEquals((await told.ended()).code, 9);
    await bench.holds(0);
  },
);

brokerTest("--limit-exit-code tells an end by a limit from the others", async () => {
  await using bench = await QueueBench.open(url);
  await bench.send("", { messageId: "t" });
  const code = ["--limit-exit-code", "9"];
  await using limited = bench.worker(...code, "--max-tasks", "1", "--", "true");
  assertEquals((await limited.ended()).code, 9);
  await using empty = bench.worker(...code, "--exit-when-empty", "--", "true");
  assertEquals((await empty.ended()).code, 9);
  await using asked = bench.worker(...code, "--max-tasks", "1", "--", "true");
  await asked.waitForLine(/Waiting/);
  asked.kill("SIGTERM");
  assertEquals((await asked.ended()).code, 0);
  await bench.send("", { messageId: "u" });
  await using stopped = bench.worker(...code, "--max-tasks", "1", "--", "sh", "-c", "exit 255");
  assertEquals((await stopped.ended()).code, 75);
});

Deno.test("a worker that is to end does not wait for its broker for ever", async () => {
  await using silent = new ScriptedServer((peer) => peer.ended());
  const limits = [["--exit-when-empty"], ["--max-tasks", "1"], ["--idle-timeout", "1s"]];
  for (const AMQP_URL of ["amqp://127.0.0.1:1", silent.url]) {
    for (const limit of [...limits, []]) {
      await using worker = workerAt(AMQP_URL, "--connect-timeout", "300ms", ...limit);
      const { code, stderr } = await worker.ended();
      assertEquals(code, 75, stderr);
      assertStringIncludes(stderr, "the broker could not be reached within --connect-timeout");
    }
    await using timed = workerAt(AMQP_URL, "--max-runtime", "300ms", "--limit-exit-code", "9");
    const { code, stderr } = await timed.ended();
    assertEquals(code, 75, stderr);
  }
});

brokerTest("a broker that goes away is waited for as long, after the task that runs", async () => {
  await using bench = await QueueBench.open(url);
  await using proxy = await Proxy.start(port);
  await using dir = await tempDir();
  await bench.send("", { messageId: "t" });
  await run("mkfifo", { args: [dir.file("go")] });
  await using worker = bench.workerIn(
    { AMQP_URL: proxy.url },
    // Long enough to be reached in on a busy machine.
    ...["--exit-when-empty", "--connect-timeout", "3s", "--"],
    ...["sh", "-c", `echo begun >&2; read line < ${dir.file("go")}; echo read $line >&2`],
  );
  await worker.waitForLog(/begun/);
  proxy.refuse();
  await proxy.cut();
  const lost = performance.now();
  while (performance.now() - lost < 3_000) {
    await worker.waitForLog(/trying again in/, undefined, worker.stderr.length);
  }
  await Deno.writeTextFile(dir.file("go"), "it\n");
  const { code, stderr } = await worker.ended();
  assertEquals(code, 75, stderr);
  assertStringIncludes(stderr, "read it");
});

/** A worker of a broker that nobody else looks at. */
function workerAt(AMQP_URL: string, ...args: string[]): TestProcess {
  const [command, ...rest] = toolCommand("worker", [...args, "--", "true"]);
  return spawn(command, { args: rest, env: { AMQP_URL } });
}

brokerTest(
  "a command that ends the worker gives the status, though a limit was reached",
  async () => {
    await using bench = await QueueBench.open(url);
    await bench.send("", { messageId: "t" });
    await using worker = bench.worker("--max-tasks", "1", "--", "sh", "-c", "exit 255");
    const { code, stderr } = await worker.ended();
    assertEquals(code, 75, stderr);
    await waitUntil("the task to be back", async () => await bench.ready() === 1);
  },
);

brokerTest("a folder for temporary files that is not there ends the worker with 75", async () => {
  await using bench = await QueueBench.open(url);
  await using dir = await tempDir();
  for (const messageId of ["a", "b", "c"]) await bench.send("", { messageId });
  const missing = dir.file("missing");
  await using worker = bench.workerIn({ TMPDIR: missing }, "--concurrency", "3", "--", "true");
  const { code, stderr } = await worker.ended();
  assertEquals(code, 75, stderr);
  const sentence =
    `the worker ends: the files of a task must be written to ${JSON.stringify(missing)}, and ` +
    "cannot be: no such file or directory\n";
  assertEquals(stderr.split(sentence).length, 2, "said once: " + stderr);
  await waitUntil("the tasks to be back", async () => await bench.ready() === 3);
});

brokerTest("a folder for temporary files that goes between two tasks does the same", async () => {
  await using bench = await QueueBench.open(url);
  await using dir = await tempDir();
  for (const messageId of ["t", "u"]) await bench.send("", { messageId });
  const gone = dir.file("gone");
  await Deno.mkdir(gone);
  await using worker = bench.workerIn({ TMPDIR: gone }, "--", "rm", "-r", gone);
  const { code, stderr } = await worker.ended();
  assertEquals(code, 75, stderr);
  await waitUntil("the task to be back", async () => await bench.ready() === 1);
});

brokerTest("--max-tasks is exact, however many tasks may run at the same time", async () => {
  await using bench = await QueueBench.open(url);
  for (let i = 0; i < 6; i++) await bench.send("", { messageId: `${i}` });
  await using worker = bench.worker("--concurrency", "5", "--max-tasks", "3", "--", "true");
  assertEquals((await worker.ended()).code, 0);
  assertEquals(worker.stderr.filter((line) => /done id=/.test(line)).length, 3);
  await waitUntil("the others to be back", async () => await bench.ready() === 3);
});

brokerTest("--max-runtime lets running tasks finish", async () => {
  await using bench = await QueueBench.open(url);
  await using dir = await tempDir();
  await bench.send("", { messageId: "long" });
  // On a busy machine the time may be over before the task has come.
  for (let isDone = false; !isDone;) {
    await using worker = bench.worker(
      ...["--max-runtime", "2s", "--", "sh", "-c"],
      `echo begun; while [ ! -e ${dir.file("go")} ]; do sleep 0.02; done`,
    );
    await worker.waitForLog(/the worker ends by --max-runtime/);
    const hasBegun = () => worker.stderr.some((line) => line.endsWith("begun"));
    await waitUntil("the task, or an end without it", () => hasBegun() || !worker.running);
    if (hasBegun()) await Deno.writeTextFile(dir.file("go"), "");
    assertEquals((await worker.ended()).code, 0);
    isDone = worker.stderr.some((line) => /done id=long/.test(line));
  }
});

brokerTest("--exit-when-empty waits until all queues are empty and all tasks done", async () => {
  await using one = await QueueBench.open(url);
  await using two = await QueueBench.open(url);
  await using dir = await tempDir();
  await one.send("", { messageId: "long" });
  await using worker = one.worker(
    ...["--queue", `${one.name},${two.name}`, "--concurrency", "2", "--exit-when-empty"],
    ...["--", "sh", "-c", `while [ ! -e ${dir.file("go")} ]; do sleep 0.02; done; echo end`],
  );
  await worker.waitForLine(/Waiting/);
  for (let i = 0; i < 5; i++) await two.send("", { messageId: `${i}` });
  await Deno.writeTextFile(dir.file("go"), "");
  assertEquals((await worker.ended()).code, 0);
  assertEquals(worker.stderr.filter((line) => line.endsWith("] end")).length, 6);
});

brokerTest("--rate is kept, whatever the concurrency", async () => {
  await using bench = await QueueBench.open(url);
  for (let i = 0; i < 5; i++) await bench.send("", { messageId: `${i}` });
  const began = performance.now();
  await using worker = bench.worker(
    ...["--rate", "5/s", "--concurrency", "3", "--max-tasks", "5", "--", "true"],
  );
  assertEquals((await worker.ended()).code, 0);
  // Never faster; how much slower it is, is the machine's doing.
  const took = performance.now() - began;
  assert(took >= 800, `five tasks at 5/s took ${took} ms`);
});

Deno.test("a rate of more than one task for each tick of a timer is kept", async () => {
  const pace = new Pace(1_000_000);
  let ticks = 0;
  const ticking = setInterval(() => ticks++, 0);
  await Promise.all(Array.from({ length: 2_000 }, () => pace.turn(NEVER)));
  clearInterval(ticking);
  pace.stop();
  assert(ticks < 1_000, `2,000 turns took ${ticks} ticks`);
});

Deno.test("a turn that nobody takes any more is the next one's", async () => {
  const pace = new Pace(10);
  await pace.turn(NEVER);
  const lost = new AbortController();
  // At ten a second these would hold the turns of more than a minute.
  const given = Promise.all(Array.from({ length: 1_000 }, () => pace.turn(lost.signal)));
  const next = pace.turn(NEVER);
  lost.abort();
  await given;
  await within("the next turn", next, 30_000);
  const late = pace.turn(NEVER);
  pace.stop();
  await late;
  await pace.turn(NEVER);
});

brokerTest(
  "a task whose connection is lost while it waits for its turn is not run twice",
  async () => {
    await using bench = await QueueBench.open(url);
    await using proxy = await Proxy.start(port);
    for (const id of ["first", "second"]) await bench.send("", { messageId: id });
    await using worker = bench.worker(
      ...["--url", proxy.url.replace("guest:guest@", ""), "--rate", "1/s", "--max-tasks", "2"],
      ...["--", "echo", "run"],
    );
    await worker.waitForLog(/\[first\] run/);
    await waitUntil("the second to be delivered", async () => await bench.ready() === 0);
    await proxy.cut();
    assertEquals((await worker.ended()).code, 0);
    const runs = worker.stderr.filter((line) => line === "[second] run");
    assertEquals(runs.length, 1, worker.stderr.join("\n"));
    await bench.holds(0);
  },
);

brokerTest("a handler that does not stop when told to ends the worker with 70", async () => {
  await using bench = await QueueBench.open(url);
  await bench.send("", { messageId: "hangs" });
  await bench.send("", { messageId: "next" });
  const lines: string[] = [];
  const hung = Promise.withResolvers<void>();
  const worker = new Worker({
    endpoints: parseUrls(url),
    identity: { name: "test", version: "0" },
    queues: [{
      policy: { name: bench.name, type: "quorum", strict: false, create: true },
      prefetch: 1,
    }],
    handler: async () => {
      await hung.promise;
      return DONE;
    },
    log: createLogger({ name: "test", write: (line) => lines.push(line) }),
    retries: { maxAttempts: 2, backoffMs: [60_000], jitter: 0, maxCrashes: 3 },
    hostname: "test",
    timeoutMs: 100,
    stopMs: 100,
  });
  assertEquals(await within("the worker to end", worker.run()), 70);
  assertMatch(lines.join(""), /does not stop when it is told to id=hangs/);
  const { properties } = await bench.arrival(`${bench.name}.delay.60000`);
  assertEquals(properties.headers?.["task-error"], "timeout");
  assertEquals((await bench.take())?.properties.messageId, "next");
  hung.resolve();
});

brokerTest("tasks that wait for their turn of --rate survive any number of restarts", async () => {
  await using bench = await QueueBench.open(url);
  const count = 10;
  for (let i = 0; i < count; i++) await bench.send("", { messageId: `${i}` });
  let done = 0;
  for (let round = 0; round < 5; round++) {
    await using worker = bench.worker(
      ...["--rate", "0.01", "--concurrency", `${count}`, "--max-crashes", "2", "--", "true"],
    );
    await worker.waitForLog(/done id=/);
    worker.kill("SIGTERM");
    assertEquals((await worker.ended()).code, 0);
    done += worker.stderr.filter((line) => /done id=/.test(line)).length;
  }
  await waitUntil("the others to be back", async () => await bench.ready() === count - done);
  assertEquals(await bench.dead("ls"), "");
});
