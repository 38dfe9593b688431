import { assert, assertEquals, assertMatch } from "@std/assert";
import { rabbitmqTest, sharedRabbitmq } from "../support/rabbitmq.ts";
import { waitUntil } from "../support/wait.ts";
import { QueueBench } from "./bench.ts";

const { url } = await sharedRabbitmq();

rabbitmqTest(
  "a failing task waits in the delay tiers in order and ends in the dead queue",
  async () => {
    await using bench = await QueueBench.open(url);
    await bench.send("work", {
      messageId: "t",
      headers: { colour: "blue" },
      timestamp: new Date(1e9),
    });
    await using worker = bench.worker(
      ...["--max-attempts", "4", "--backoff", "50ms,100ms,200ms", "--"],
      ...["sh", "-c", 'cat; echo "attempt $TASK_ATTEMPT of $TASK_MAX_ATTEMPTS" >&2; exit 3'],
    );
    const { body, properties } = await bench.arrival(`${bench.name}.dead`);
    worker.kill();
    assertEquals((await worker.ended()).code, 0);
    const waits = worker.stderr.map((line) => line.match(/waits (\S+) s/)?.[1]).filter(Boolean);
    assertEquals(waits, ["0.05", "0.1", "0.2"]);
    assertEquals(body, "work");
    const { "task-died-at": diedAt, "task-host": host, "x-delivery-count": _, ...headers } =
      properties
        .headers!;
    assertMatch(String(diedAt), /^\d{4}-\d\d-\d\dT/);
    assertEquals(host, Deno.hostname());
    assertEquals(headers, {
      colour: "blue",
      "task-attempt": 4,
      "task-dead-reason": "max-attempts",
      "task-error": "exit 3",
      "task-exit-code": 3,
      "task-hops": 4,
      "task-origin-queue": bench.name,
      "task-stderr-tail": "attempt 4 of 4\n",
    });
    assertEquals(properties.timestamp, new Date(1e9));
    assertEquals(await bench.ready(), 0);
  },
);

rabbitmqTest("a task that will never work goes to the dead queue at once", async () => {
  await using bench = await QueueBench.open(url);
  await bench.send("bad", { messageId: "t" });
  await using worker = bench.worker("--exit-when-empty", "--", "sh", "-c", "exit 65");
  assertEquals((await worker.ended()).code, 0);
  const { properties } = await bench.arrival(`${bench.name}.dead`);
  assertEquals(properties.headers?.["task-dead-reason"], "rejected");
  assertEquals(properties.headers?.["task-attempt"], 1);
});

rabbitmqTest(
  "dead ls, show, replay and purge work on what died, with stale headers stripped",
  async () => {
    await using bench = await QueueBench.open(url);
    const stale = [{ queue: bench.name, reason: "delivery_limit", count: 1, exchange: "" }];
    await bench.send("one", { messageId: "a", headers: { "x-death": stale } });
    await bench.send("two", { messageId: "b" });
    await using failing = bench.worker(
      "--max-tasks",
      "2",
      "--",
      "sh",
      "-c",
      "echo no >&2; exit 65",
    );
    await failing.ended();
    const listed = await bench.dead("ls");
    assertMatch(listed, /^a dead-reason="rejected" error="exit 65".*\nb dead-reason="rejected"/);
    assertMatch(await bench.dead("show", "b"), /task-stderr-tail: no[^]*\n\ntwo\n$/);
    assertMatch(await bench.dead("replay", "--dry-run"), /would replay 2\n$/);
    assertMatch(await bench.dead("replay", "--match", "^a$"), /^replayed a[^]*replayed 1\n$/);
    assertMatch(await bench.dead("purge"), /^removed b[^]*removed 1\n$/);
    assertEquals(await bench.dead("ls"), "");
    await using working = bench.worker("--max-tasks", "1", "--", "cat");
    assertEquals((await working.ended()).code, 0);
    assertMatch(working.stderr.join("\n"), /\[a\] one/);
    assertEquals(await bench.ready(), 0);
  },
);

rabbitmqTest(
  "a stale x-death from the work queue does not lose a task that is retried",
  async () => {
    await using bench = await QueueBench.open(url);
    const stale = [{ queue: bench.name, reason: "delivery_limit", count: 1n, exchange: "" }];
    await bench.send("old", { messageId: "t", headers: { "x-death": stale } });
    await using worker = bench.worker(
      ...["--max-tasks", "2", "--backoff", "100ms"],
      ...["--", "sh", "-c", "test $TASK_ATTEMPT = 2"],
    );
    assertEquals((await worker.ended()).code, 0);
    assertMatch(worker.stderr.join("\n"), /done id=t attempt=2/);
  },
);

rabbitmqTest("a task is replayed at most --max-replays times", async () => {
  await using bench = await QueueBench.open(url);
  await bench.send("x", { messageId: "t", headers: { "task-replays": 1 } });
  await using worker = bench.worker("--max-tasks", "1", "--", "sh", "-c", "exit 65");
  await worker.ended();
  assertMatch(await bench.dead("replay", "--max-replays", "1"), /^kept[^]*replayed 0\n$/);
  assertEquals(await bench.ready(`${bench.name}.dead`), 1);
});

rabbitmqTest("a task that kills its worker three times goes to the dead queue unrun", async () => {
  for (const classic of [false, true]) {
    await using bench = await QueueBench.open(url, classic ? {} : undefined);
    await bench.send("deadly", { messageId: "t" });
    for (let crash = 0; crash < 3; crash++) {
      await using worker = bench.worker("--", "sh", "-c", "kill -KILL $PPID; sleep 600");
      const { signal } = await worker.ended();
      assertEquals(signal, "SIGKILL");
    }
    await using survivor = bench.worker("--", "sh", "-c", "kill -KILL $PPID; sleep 600");
    const { properties } = await bench.arrival(`${bench.name}.dead`);
    assertEquals(properties.headers?.["task-dead-reason"], "crash-loop");
    survivor.kill();
    assertEquals((await survivor.ended()).code, 0, classic ? "classic" : "quorum");
  }
});

rabbitmqTest("a command that is missing at the start ends the worker before any task", async () => {
  await using bench = await QueueBench.open(url);
  await bench.send("x");
  await using worker = bench.worker("--", "no-such-command-x");
  const { code, stderr } = await worker.ended();
  assertEquals(code, 127);
  assertMatch(
    stderr,
    /^worker: the command "no-such-command-x" must be an executable file in PATH/,
  );
  assertEquals(await bench.ready(), 1);
});

rabbitmqTest("exit status 255 puts the task back and ends the worker with 75", async () => {
  await using bench = await QueueBench.open(url);
  await bench.send("x", { messageId: "t" });
  await using worker = bench.worker("--", "sh", "-c", "exit 255");
  assertEquals((await worker.ended()).code, 75);
  await waitUntil("the task to return", async () => await bench.ready() === 1);
  assertEquals((await bench.take())?.properties.headers?.["task-attempt"], undefined);
});

rabbitmqTest("the first SIGTERM lets a command finish, the grace ends it blamelessly", async () => {
  await using bench = await QueueBench.open(url);
  await bench.send("x", { messageId: "t" });
  await using patient = bench.worker("--", "sh", "-c", "echo begun; sleep 0.3; echo ended");
  await patient.waitForLog(/begun/);
  patient.kill("SIGTERM");
  assertEquals((await patient.ended()).code, 0);
  assertMatch(patient.stderr.join("\n"), /\[t\] ended[^]*done id=t/);

  await bench.send("y", { messageId: "u" });
  await using hasty = bench.worker("--grace", "100ms", "--", "sh", "-c", "echo begun; sleep 600");
  await hasty.waitForLog(/begun/);
  hasty.kill("SIGTERM");
  assertEquals((await hasty.ended()).code, 0);
  const back = await bench.arrival(bench.name);
  assertEquals(back.properties.headers?.["task-attempt"], undefined);
});

rabbitmqTest("the second signal ends the worker at once, and its command with it", async () => {
  await using bench = await QueueBench.open(url);
  await bench.send("x", { messageId: "t" });
  await using worker = bench.worker(
    "--",
    "sh",
    "-c",
    "trap '' TERM; echo pid $$; sleep 600; sleep 600",
  );
  const pid = (await worker.waitForLog(/pid (\d+)/))[1]!;
  worker.kill("SIGTERM");
  await worker.waitForLog(/no more tasks/);
  worker.kill("SIGINT");
  assertEquals((await worker.ended()).code, 130);
  await waitUntil("the command to end", () => {
    try {
      return /^\d+ \(.*\) [ZX]/s.test(Deno.readTextFileSync(`/proc/${pid}/stat`));
    } catch {
      return true;
    }
  });
  await bench.arrival(bench.name);
});

rabbitmqTest("a timeout ends the command and counts as a failed attempt", async () => {
  await using bench = await QueueBench.open(url);
  await bench.send("x", { messageId: "t" });
  await using worker = bench.worker(
    ...["--timeout", "100ms", "--max-attempts", "1", "--max-tasks", "1", "--", "sleep", "600"],
  );
  assertEquals((await worker.ended()).code, 0);
  const { properties } = await bench.arrival(`${bench.name}.dead`);
  assertEquals(properties.headers?.["task-error"], "timeout");
});

rabbitmqTest("--dedupe-file skips what has succeeded on this host, over restarts", async () => {
  await using bench = await QueueBench.open(url);
  const file = await Deno.makeTempFile();
  for (const round of [1, 2]) {
    await bench.send("x", { messageId: "same" });
    await using worker = bench.worker("--exit-when-empty", "--dedupe-file", file, "--", "cat");
    assertEquals((await worker.ended()).code, 0);
    assertEquals(worker.stderr.some((line) => line.includes("[same] x")), round === 1);
  }
  assertEquals(await bench.ready(), 0);
  for (const suffix of ["", "-wal", "-shm"]) await Deno.remove(file + suffix).catch(() => {});
});

rabbitmqTest("--max-tasks, --idle-timeout and --max-runtime end the worker with 0", async () => {
  await using bench = await QueueBench.open(url);
  for (let i = 0; i < 3; i++) await bench.send("", { messageId: `${i}` });
  await using two = bench.worker("--max-tasks", "2", "--", "true");
  assertEquals((await two.ended()).code, 0);
  assertEquals(two.stderr.filter((line) => /done id=/.test(line)).length, 2);
  await using idle = bench.worker("--idle-timeout", "300ms", "--", "true");
  assertEquals((await idle.ended()).code, 0);
  assertEquals(idle.stderr.filter((line) => /done id=/.test(line)).length, 1);
  await using timed = bench.worker("--max-runtime", "300ms", "--", "true");
  assertEquals((await timed.ended()).code, 0);
  assertEquals(await bench.ready(), 0);
});

rabbitmqTest("a module's exceptions are failed attempts, RejectTask is the end", async () => {
  await using bench = await QueueBench.open(url);
  const file = await Deno.makeTempFile({ suffix: ".js" });
  await Deno.writeTextFile(
    file,
    `export default (task, { attempt }) => {
      if (task.text() === "bad") throw Object.assign(new Error("no"), { name: "RejectTask" });
      if (attempt < 2) throw new Error("not yet");
    };`,
  );
  await bench.send("bad", { messageId: "bad" });
  await bench.send("good", { messageId: "good" });
  await using worker = bench.worker("--handler", file, "--backoff", "100ms", "--max-tasks", "3");
  assertEquals((await worker.ended()).code, 0);
  const { properties } = await bench.arrival(`${bench.name}.dead`);
  assertEquals(properties.messageId, "bad");
  assertEquals(properties.headers?.["task-error"], "no");
  assert(worker.stderr.some((line) => /done id=good attempt=2/.test(line)));
  await Deno.remove(file);
});
