/** `worker --post`: web applications in plain Python and in JavaScript do the work. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { brokerTest, sharedNode } from "../support/broker.ts";
import { PYTHON } from "../support/foreign.ts";
import { freePorts } from "../support/ports.ts";
import { installed, spawn, type TestProcess } from "../support/process.ts";
import { tempDir, uniqueName } from "../support/temp.ts";
import { waitUntil } from "../support/wait.ts";
import { WebApp } from "../support/web_app.ts";
import { Front } from "./http_front.ts";
import { onChannel, takeAll } from "./queue_view.ts";
import { finish, start, stop } from "./tools.ts";

const node = await sharedNode();
const APP = new URL("web/app.py", import.meta.url).pathname;

/** A test that needs Python, too. */
function pythonTest(name: string, fn: () => Promise<void>): void {
  if (installed(PYTHON)) brokerTest(name, fn);
  else Deno.test.ignore(`${name} (ignored: ${PYTHON} is not installed)`, fn);
}

async function startApp(ledger: string, where: string): Promise<TestProcess> {
  const app = spawn(PYTHON, { args: [APP, ledger, where] });
  await app.waitForLine(/^ready$/);
  return app;
}

/** Publishes tasks whose ids are their keys. */
async function put(queue: string, tasks: Readonly<Record<string, string>>): Promise<void> {
  await onChannel(node.url, async (channel) => {
    await channel.queueDeclare(queue, { durable: true }, { "x-queue-type": "quorum" });
    await channel.confirmSelect();
    await Promise.all(
      Object.entries(tasks).map(([messageId, body]) =>
        channel.basicPublish("", queue, body, { deliveryMode: 2, messageId, type: "work/now" })
      ),
    );
  });
}

/** What the application wrote down: id, attempt and path of each task that it has done. */
async function linesOf(ledger: string): Promise<string[]> {
  const text = await Deno.readTextFile(ledger).catch(() => "");
  return text.split("\n").slice(0, -1);
}

pythonTest(
  "the statuses of a Python application are outcomes, over TCP and a unix socket",
  async () => {
    await using dir = await tempDir("post-");
    const [port] = freePorts(1);
    const socket = dir.file("app.sock");
    await Promise.all([String(port), socket].map(async (where, i) => {
      const queue = uniqueName("post");
      const ledger = dir.file(`ledger-${i}`);
      await using app = await startApp(ledger, where);
      await put(queue, {
        good: "ok",
        missing: "404",
        busy: "429",
        broken: "500",
        "cut off \u00e9%": "cut",
        late: "slow",
      });
      const base = where === socket ? `unix:${socket}:` : `http://127.0.0.1:${where}`;
      await using worker = start("worker", [
        ...["--post", `${base}/tasks/{type}?queue={queue}`, "--concurrency", "6"],
        ...["--max-attempts", "2", "--backoff", "50ms", "--timeout", "5s"],
      ], { url: node.url, queue });
      const path = `/tasks/work%2Fnow?queue=${queue}`;
      await waitUntil("the tasks to be done", async () => (await linesOf(ledger)).length === 4);
      assertEquals((await linesOf(ledger)).sort(), [
        // No attempt was counted while it was told to wait, and the time was kept to.
        `busy 1 ${path}`,
        `cut off \u00e9% 1 ${path}`,
        `cut off \u00e9% 2 ${path}`,
        `good 1 ${path}`,
      ]);
      const dead = await deadTasks(queue, 3);
      assertEquals(dead, {
        broken: ["max-attempts", 2, "status 500: cannot do broken", "cannot do broken"],
        late: ["max-attempts", 2, "timeout", undefined],
        missing: ["rejected", 1, "status 404: cannot do missing", "cannot do missing"],
      });
      await stop(worker);
      app.kill();
      await app.ended();
    }));
  },
);

/** Reason, attempts, error and the answer's text of the tasks in the dead queue, by id. */
async function deadTasks(queue: string, count: number): Promise<Record<string, unknown[]>> {
  const dead: [string, unknown[]][] = [];
  await waitUntil(`${count} dead tasks`, async () => {
    for (const { properties } of await takeAll(node.url, `${queue}.dead`)) {
      const headers = properties.headers!;
      dead.push([properties.messageId!, [
        headers["task-dead-reason"],
        headers["task-attempt"],
        headers["task-error"],
        headers["task-stderr-tail"],
      ]]);
    }
    return dead.length >= count;
  });
  return Object.fromEntries(dead.sort());
}

/** How large the siege is: `deno task siege:post` has 5,000 tasks and 20 kills. */
const TASKS = Number(Deno.env.get("POST_TASKS") ?? 200);
const KILLS = Number(Deno.env.get("POST_KILLS") ?? 3);
const CONCURRENCY = 8;
/** Milliseconds for what the siege waits for. */
const SIEGE_MS = 300_000;

/** What the application is asked for; most tasks are easy. */
function bodyOf(i: number): string {
  if (i % 250 === 7) return "hang";
  return { 3: "404", 13: "429", 23: "flaky", 33: "cut" }[i % 50] ?? "ok";
}

/** How an application is started: its program and what goes before its own arguments. */
type Program = readonly [string, ...string[]];

const PROGRAMS: Readonly<Record<string, Program>> = {
  "plain Python": [PYTHON, APP],
  "node:http": [
    Deno.execPath(),
    ...["run", "--no-check", "--allow-all", new URL("web/app.mjs", import.meta.url).pathname],
  ],
};

pythonTest(
  "applications that are killed again and again send and do every task, or say why not",
  async () => {
    const queues = Object.keys(PROGRAMS).map(() => uniqueName("post-kills"));
    await using front = await Front.start(["--queue", queues.join(",")], { url: node.url });
    const sieges = await Promise.allSettled(
      Object.values(PROGRAMS).map((program, i) => besiege(program, front, queues[i]!)),
    );
    for (const siege of sieges) if (siege.status === "rejected") throw siege.reason;
    // Each was sent once, however often it was tried.
    const { text } = await front.ask("/metrics");
    const sent = /^workqueue_http_tasks_confirmed_total (\d+)$/m.exec(text)![1];
    assertEquals(Number(sent), TASKS * queues.length);
    await front.end();
  },
);

/** Has an application send and do tasks while it is killed. */
async function besiege([command, ...args]: Program, front: Front, queue: string): Promise<void> {
  await using dir = await tempDir("post-");
  const ledger = dir.file("ledger");
  const where = String(freePorts(1)[0]);
  const tasks = Object.fromEntries(
    Array.from({ length: TASKS }, (_, i) => [`${queue}-${i}`, bodyOf(i)]),
  );
  const hopeless = Object.keys(tasks).filter((id) => tasks[id] === "404");
  await Deno.writeTextFile(dir.file("tasks"), JSON.stringify(tasks));
  const sending = [`${front.url}/tasks?queue=${queue}`, dir.file("tasks"), dir.file("sent")];
  async function startApp(): Promise<TestProcess> {
    const app = spawn(command, { args: [...args, ledger, where, ...sending] });
    await app.waitForLine(/^ready$/);
    return app;
  }
  let app = await startApp();
  await using worker = start("worker", [
    ...["--post", `http://127.0.0.1:${where}/`, "--concurrency", String(CONCURRENCY)],
    ...["--max-attempts", "1000", "--backoff", "20ms", "--timeout", "2s"],
  ], { url: node.url, queue });
  for (let kills = 0; kills < KILLS; kills++) {
    const least = Math.floor(TASKS * kills / (KILLS + 1));
    await waitUntil(
      `${least} tasks`,
      async () => (await linesOf(ledger)).length >= least,
      SIEGE_MS,
    );
    app.kill("SIGKILL");
    await app.ended();
    app = await startApp();
  }
  const times = new Map<string, number>();
  await waitUntil("all tasks to be done", async () => {
    times.clear();
    for (const line of await linesOf(ledger)) {
      const [id] = line.split(" ") as [string];
      times.set(id, (times.get(id) ?? 0) + 1);
    }
    return times.size === TASKS - hopeless.length;
  }, SIEGE_MS);
  const dead = await deadTasks(queue, hopeless.length);
  await stop(worker);
  app.kill("SIGKILL");
  await app.ended();
  assertEquals(Object.keys(dead).sort(), hopeless.sort());
  for (const [reason] of Object.values(dead)) {
    assertEquals(reason, "rejected");
  }
  // Done twice is what was cut off, and what was done and not answered yet at a kill.
  const again = [...times].filter(([id, count]) => count > (tasks[id] === "cut" ? 2 : 1));
  assert(again.length <= KILLS * CONCURRENCY, JSON.stringify(again));
  assertEquals((await takeAll(node.url, queue)).length, 0);
}

brokerTest(
  "a task is acknowledged after the answer, and goes back when the worker ends",
  async () => {
    const queue = uniqueName("post-drain");
    const waiting = Promise.withResolvers<void>();
    const closed = Promise.withResolvers<void>();
    await using app = await WebApp.start((_, response) => {
      response.on("close", () => closed.resolve());
      waiting.resolve();
    });
    await put(queue, { t: "for ever" });
    await using worker = start(
      "worker",
      ["--post", `http://127.0.0.1:${app.port}/`, "--grace", "100ms"],
      { url: node.url, queue },
    );
    await waiting.promise;
    await stop(worker);
    await closed.promise;
    const [task] = await takeAll(node.url, queue);
    assertEquals([task?.properties.messageId, task?.redelivered], ["t", true]);
  },
);

Deno.test("worker --post: what cannot be is refused with one sentence before anything is tried", async () => {
  const url = "amqp://127.0.0.1:1/";
  const rows: [string[], number, RegExp][] = [
    [
      ["--post", "http://h/", "--", "true"],
      64,
      /^worker: worker does one kind of work, and was given a command and --post\n$/,
    ],
    [
      ["--post-token-file", "/nowhere"],
      64,
      /^worker: --post-token-file is for --post, which is not given\n$/,
    ],
    [
      ["--handler", "/nowhere.js", "--post-cacert", "/nowhere"],
      64,
      /^worker: --post-cacert is for --post, which is not given\n$/,
    ],
    [["--post", "http://h/{id}"], 64, /^worker: --post may have the places/],
    [
      ["--post", "http://h/", "--post-secret-file", "/nowhere"],
      66,
      /^worker: cannot read the secret file "\/nowhere": no such file or directory\n$/,
    ],
    [
      ["--post", "https://h/", "--post-cert", "/nowhere"],
      64,
      /^worker: a client certificate needs its key/,
    ],
  ];
  for (const [args, status, sentence] of rows) {
    const { code, stderr } = await finish("worker", args, { url });
    assertEquals(code, status, stderr);
    assertMatch(stderr, sentence);
  }
});
