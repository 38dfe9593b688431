import { assert, assertEquals, assertMatch } from "@std/assert";
import { brokerTest, sharedNode } from "../support/broker.ts";
import { isAlive } from "../support/descendants.ts";
import { DatabaseSync } from "node:sqlite";
import { DeadQueue } from "../../src/worker/dead.ts";
import { tempDir } from "../support/temp.ts";
import { waitUntil } from "../support/wait.ts";
import { QueueBench } from "./bench.ts";

const { url } = await sharedNode();

brokerTest(
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
    const waits = worker.stderr.map((line) => line.match(/waits (\S+) ms/)?.[1]).filter(Boolean);
    // The last one is long enough for a random fifth of it, or not.
    assertMatch(waits.join(), /^50,100,2(00|25)$/);
    assertEquals(body, "work");
    const {
      "task-died-at": diedAt,
      "task-host": host,
      "task-hops": hops,
      "x-delivery-count": _,
      ...headers
    } = properties.headers!;
    assertEquals(hops, waits[2] === "200" ? 4 : 5);
    assertMatch(String(diedAt), /^\d{4}-\d\d-\d\dT/);
    assertEquals(host, Deno.hostname());
    assertEquals(headers, {
      colour: "blue",
      "task-attempt": 4,
      "task-dead-reason": "max-attempts",
      "task-error": "exit 3",
      "task-exit-code": 3,
      "task-origin-queue": bench.name,
      "task-stderr-tail": "attempt 4 of 4\n",
    });
    assertEquals(properties.timestamp, new Date(1e9));
    await bench.holds(0);
  },
);

brokerTest("a task that will never work goes to the dead queue at once", async () => {
  await using bench = await QueueBench.open(url);
  await bench.send("bad", { messageId: "t" });
  await using worker = bench.worker("--exit-when-empty", "--", "sh", "-c", "exit 65");
  assertEquals((await worker.ended()).code, 0);
  const { properties } = await bench.arrival(`${bench.name}.dead`);
  assertEquals(properties.headers?.["task-dead-reason"], "rejected");
  assertEquals(properties.headers?.["task-attempt"], 1);
});

brokerTest("tasks that fail at the same time need no channel each", async () => {
  await using bench = await QueueBench.open(`${url}?channel_max=4`);
  const ids = Array.from({ length: 20 }, (_, index) => `t${index}`);
  for (const messageId of ids) await bench.send("bad", { messageId });
  await using worker = bench.worker(
    ...["--concurrency", "20", "--max-attempts", "2", "--backoff", "50ms", "--max-tasks", "40"],
    ...["--", "false"],
  );
  assertEquals((await worker.ended()).code, 0);
  assertEquals(worker.stderr.filter((line) => line.includes("cannot be moved")), []);
  await bench.holds(ids.length, `${bench.name}.dead`);
});

brokerTest("a task whose headers leave no room for ours is dead without them", async () => {
  await using bench = await QueueBench.open(url);
  await bench.send("full", { messageId: "t", headers: { pad: "x".repeat(130_900) } });
  await using worker = bench.worker("--backoff", "50ms", "--exit-when-empty", "--", "false");
  assertEquals((await worker.ended()).code, 0);
  const { body, properties } = await bench.arrival(`${bench.name}.dead`);
  assertEquals([body, properties.messageId], ["full", "t"]);
  assertEquals(properties.headers?.["task-dead-reason"], "rejected");
  assertMatch(String(properties.headers?.["task-error"]), /must fit into one frame/);
  await bench.holds(0);
});

brokerTest(
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
    // What was looked at returns to RabbitMQ's queue in its own time.
    const back = (count = 2) =>
      waitUntil("all to be back", async () => await bench.ready(`${bench.name}.dead`) === count);
    await back();
    assertMatch(
      await bench.dead("ls"),
      /^a dead-reason="rejected" error="exit 65".*\nb dead-reason="rejected"/,
    );
    const letters = new DeadQueue(bench.transport, bench.name);
    await back();
    assertEquals([await letters.list({ max: 1 }, () => {}), letters.left], [1, 1]);
    await back();
    assertEquals([await letters.list({ max: 2 }, () => {}), letters.left], [2, 0]);
    await back();
    assertMatch(await bench.dead("show", "b"), /task-stderr-tail: no[^]*\n\ntwo\n$/);
    await back();
    assertMatch(await bench.dead("replay", "--dry-run"), /would replay 2\n$/);
    await back();
    assertMatch(await bench.dead("replay", "--match", "^a$"), /^replayed a[^]*replayed 1\n$/);
    await back(1);
    assertMatch(await bench.dead("purge"), /^removed b[^]*removed 1\n$/);
    assertEquals(await bench.dead("ls"), "");
    await using working = bench.worker("--max-tasks", "1", "--", "cat");
    assertEquals((await working.ended()).code, 0);
    assertMatch(working.stderr.join("\n"), /\[a\] one/);
    await bench.holds(0);
  },
);

brokerTest(
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

brokerTest(
  "a dead task that is looked at again and again is never dropped by the broker",
  async () => {
    await using bench = await QueueBench.open(url);
    await bench.send("x", { messageId: "t" });
    await using worker = bench.worker("--max-tasks", "1", "--", "sh", "-c", "exit 65");
    await worker.ended();
    const letters = new DeadQueue(bench.transport, bench.name);
    const counts: number[] = [];
    // RabbitMQ 4 drops what was given back twenty times.
    for (let look = 0; look < 25; look++) {
      await letters.list({ max: 10 }, ({ id, properties }) => {
        assertEquals([id, properties.headers?.["task-dead-reason"]], ["t", "rejected"]);
        counts.push(Number(properties.headers?.["x-delivery-count"] ?? 0));
      });
      await waitUntil("it to be back", async () => await bench.ready(`${bench.name}.dead`) === 1);
    }
    assertEquals(counts.length, 25);
    assert(Math.max(...counts) > 5, `nobody counted: ${counts}`);
    assert(Math.max(...counts) < 15, `given back too often: ${counts}`);
    assertMatch(await bench.dead("replay"), /replayed 1\n$/);
    assertEquals((await bench.take())?.properties.headers?.["task-dead-reason"], undefined);
  },
);

brokerTest("a task is replayed at most --max-replays times", async () => {
  await using bench = await QueueBench.open(url);
  await bench.send("x", { messageId: "t", headers: { "task-replays": 1 } });
  await using worker = bench.worker("--max-tasks", "1", "--", "sh", "-c", "exit 65");
  await worker.ended();
  assertMatch(await bench.dead("replay", "--max-replays", "1"), /^kept[^]*replayed 0\n$/);
  await waitUntil("it to be back", async () => await bench.ready(`${bench.name}.dead`) === 1);
});

brokerTest("a task that kills its worker three times goes to the dead queue unrun", async () => {
  for (const classic of [false, true]) {
    await using bench = await QueueBench.open(url, classic ? {} : undefined);
    await bench.send("deadly", { messageId: "t" });
    for (let crash = 0; crash < 3; crash++) {
      await using worker = bench.worker("--", "sh", "-c", "kill -KILL $PPID");
      const { signal } = await worker.ended();
      assertEquals(signal, "SIGKILL");
    }
    await using survivor = bench.worker("--", "sh", "-c", "kill -KILL $PPID");
    const { properties } = await bench.arrival(`${bench.name}.dead`);
    assertEquals(properties.headers?.["task-dead-reason"], "crash-loop");
    survivor.kill();
    assertEquals((await survivor.ended()).code, 0, classic ? "classic" : "quorum");
  }
});

brokerTest("a command that is missing at the start ends the worker before any task", async () => {
  await using bench = await QueueBench.open(url);
  await bench.send("x");
  // A folder that this user may not look into would be another reason.
  const PATH = "/usr/bin:/bin";
  await using worker = bench.workerIn({ PATH }, "--", "no-such-command-x");
  const { code, stderr } = await worker.ended();
  assertEquals(code, 127);
  assertMatch(
    stderr,
    /^worker: the command "no-such-command-x" must be an executable file in PATH/,
  );
  await using mistaken = bench.worker("no-such-subcommand");
  assertMatch(
    (await mistaken.ended()).stderr,
    /^worker: the command "no-such-sub.*; subcommands are dead, forward, page, queues\n$/,
  );
  await bench.holds(1);
});

brokerTest("exit status 255 puts the task back and ends the worker with 75", async () => {
  await using bench = await QueueBench.open(url);
  await bench.send("x", { messageId: "t" });
  await using worker = bench.worker("--", "sh", "-c", "exit 255");
  const { code, stderr } = await worker.ended();
  assertEquals(code, 75);
  assertMatch(stderr, / outcome=returned exit_status=255 /);
  await waitUntil("the task to return", async () => await bench.ready() === 1);
  assertEquals((await bench.take())?.properties.headers?.["task-attempt"], undefined);
});

brokerTest("the first SIGTERM lets a command finish, the grace ends it blamelessly", async () => {
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

brokerTest("the second signal ends the worker at once, and its command with it", async () => {
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
  await waitUntil("the command to end", () => !isAlive(Number(pid)));
  await bench.arrival(bench.name);
});

brokerTest("a timeout ends the command and counts as a failed attempt", async () => {
  await using bench = await QueueBench.open(url);
  await bench.send("x", { messageId: "t" });
  await using worker = bench.worker(
    ...["--timeout", "100ms", "--max-attempts", "1", "--max-tasks", "1", "--", "sleep", "600"],
  );
  assertEquals((await worker.ended()).code, 0);
  const { properties } = await bench.arrival(`${bench.name}.dead`);
  assertEquals(properties.headers?.["task-error"], "timeout");
});

brokerTest("--dedupe-file skips what has succeeded on this host, over restarts", async () => {
  await using bench = await QueueBench.open(url);
  const file = await Deno.makeTempFile();
  for (const round of [1, 2]) {
    await bench.send("x", { messageId: "same" });
    await using worker = bench.worker("--exit-when-empty", "--dedupe-file", file, "--", "cat");
    assertEquals((await worker.ended()).code, 0);
    assertEquals(worker.stderr.some((line) => line.includes("[same] x")), round === 1);
  }
  await bench.holds(0);
  for (const suffix of ["", "-wal", "-shm"]) await Deno.remove(file + suffix).catch(() => {});
});

brokerTest("a dedupe file that another worker is setting up is waited for", async () => {
  await using bench = await QueueBench.open(url);
  await using dir = await tempDir("dedupe-");
  const path = dir.file("done.db");
  using other = new DatabaseSync(path);
  other.exec("BEGIN EXCLUSIVE");
  await using worker = bench.worker("--dedupe-file", path, "--exit-when-empty", "--", "true");
  const descriptors = `/proc/${worker.pid}/fd`;
  await waitUntil(
    "the worker to open the file",
    () =>
      !worker.running || Array.from(Deno.readDirSync(descriptors)).some(({ name }) => {
        try {
          return Deno.readLinkSync(`${descriptors}/${name}`) === path;
        } catch {
          return false; // closed meanwhile
        }
      }),
  );
  other.exec("COMMIT");
  assertEquals((await worker.ended()).code, 0);
});

brokerTest("a dedupe file that fails is told, and no task is run again for it", async () => {
  await using bench = await QueueBench.open(url);
  await using dir = await tempDir();
  await using worker = bench.worker("--dedupe-file", dir.file("done.db"), "--", "cat");
  await worker.waitForLine(/Waiting/);
  const db = new DatabaseSync(dir.file("done.db"));
  db.exec("DROP TABLE done");
  db.close();
  await bench.send("x", { messageId: "t" });
  await worker.waitForLog(/done id=t/);
  worker.kill();
  assertEquals((await worker.ended()).code, 0);
  const lines = worker.stderr.join("\n");
  assertMatch(lines, /error: the dedupe file ".*done.db" fails: no such table: done id=t/);
  assertEquals(lines.match(/\[t\] x/g)?.length, 1);
  await bench.holds(0);
});

brokerTest("a module's exceptions are failed attempts, RejectTask is the end", async () => {
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

brokerTest("whatever a module throws is a failed attempt", async () => {
  await using bench = await QueueBench.open(url);
  await using dir = await tempDir();
  const thrown = [
    "undefined",
    "Object.create(null)",
    "Symbol('s')",
    "Object.assign(new Error('x'), { message: 7, stack: {} })",
    "Object.assign(new Error(''), { name: null, stack: null })",
  ];
  const file = dir.file("handler.js");
  await Deno.writeTextFile(
    file,
    `const thrown = [${thrown.map((text) => `() => ${text}`).join(", ")}];
    export default (task) => { throw thrown[Number(task.text())](); };`,
  );
  for (const i of thrown.keys()) await bench.send(`${i}`, { messageId: `t${i}` });
  await using worker = bench.worker(
    ...["--handler", file, "--max-attempts", "1", "--max-tasks", `${thrown.length}`],
  );
  assertEquals((await worker.ended()).code, 0);
  const reasons = new Map<string, unknown>();
  for (const _ of thrown) {
    const { properties } = await bench.arrival(`${bench.name}.dead`);
    assertEquals(properties.headers?.["task-dead-reason"], "max-attempts");
    reasons.set(properties.messageId!, properties.headers?.["task-error"]);
  }
  assertEquals(
    [...reasons].sort().map(([, reason]) => reason),
    ["undefined", "an error that is no text", "Symbol(s)", "7", "null"],
  );
});
