import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import {
  publishTasks,
  RejectTask,
  RetryTask,
  runWorker,
  type RunWorkerOptions,
  ToolError,
  UsageError,
} from "../../src/mod.ts";
import { brokerTest, sharedNode } from "../support/broker.ts";
import { startBroker } from "../support/embedded.ts";
import { run } from "../support/process.ts";
import { tempDir } from "../support/temp.ts";
import { QueueBench } from "./bench.ts";

const { url } = await sharedNode();

brokerTest("publishTasks() and runWorker() share tasks inside one program", async () => {
  await using bench = await QueueBench.open(url);
  const queue = bench.name;
  const ids = await publishTasks({ url, queue }, [
    { body: '{"n":1}', id: "a" },
    { body: Uint8Array.of(0xff) },
    { body: '{"n":3}', id: "again" },
  ]);
  assertEquals([ids[0], ids[2]], ["a", "again"]);
  const seen: string[] = [];
  await runWorker({
    url,
    queue,
    maxTasks: 4,
    retries: { maxAttempts: 2 },
    handler: (task, { attempt }) => {
      seen.push(`${task.id === ids[1] ? "bytes" : task.id} ${attempt}`);
      if (task.id === ids[1]) throw new RejectTask("no text");
      const { n } = task.json() as { n: number };
      if (n === 3 && attempt === 1) throw new RetryTask("soon", { delayMs: 1_000 });
    },
  });
  assertEquals(seen, ["a 1", "bytes 1", "again 1", "again 2"]);
  const dead = await bench.take(`${queue}.dead`);
  assertEquals(dead?.properties.headers?.["task-error"], "no text");
  await bench.holds(0);
});

brokerTest(
  "the time of a task begins with it, whatever was done before in the same turn",
  async () => {
    await using bench = await QueueBench.open(url);
    const queue = bench.name;
    const timeoutMs = 60_000;
    const WORK_MS = 20;
    const begins: number[] = [];
    await publishTasks({ url, queue }, Array.from({ length: 4 }, () => ({ body: "" })));
    await runWorker({
      url,
      queue,
      maxTasks: 4,
      concurrency: 4,
      timeoutMs,
      handler: (_task, { deadline }) => {
        const start = Date.now();
        begins.push(deadline! - timeoutMs, start + WORK_MS / 2);
        do {/* much */} while (Date.now() < start + WORK_MS);
      },
    });
    // Each begins when the one before it is over, and not with it; clocks differ a little.
    assertEquals(begins, begins.toSorted((a, b) => a - b));
  },
);

brokerTest("publishTasks() lets a task wait for its time", async () => {
  await using bench = await QueueBench.open(url);
  const queue = bench.name;
  const notBefore = new Date(Date.now() + 1_000);
  await publishTasks({ url, queue }, [
    { body: "later", id: "later", notBefore },
    { body: "now", id: "now", notBefore: new Date(0) },
  ]);
  const seen: string[] = [];
  await runWorker({
    url,
    queue,
    maxTasks: 2,
    handler: ({ id }) => {
      seen.push(id === "later" && Date.now() < notBefore.getTime() ? "too early" : id);
    },
  });
  assertEquals(seen, ["now", "later"]);
});

brokerTest("runWorker() finishes its task and returns when its signal aborts", async () => {
  await using bench = await QueueBench.open(url);
  await publishTasks({ url, queue: bench.name }, [{ body: "x", id: "a" }]);
  const controller = new AbortController();
  let finished = false;
  await runWorker({
    url,
    queue: bench.name,
    signal: controller.signal,
    handler: async () => {
      controller.abort();
      await new Promise((resolve) => setTimeout(resolve, 50));
      finished = true;
    },
  });
  assertEquals(finished, true);
  await bench.holds(0);
});

brokerTest("runWorker() fails when its function does not stop in time", async () => {
  await using bench = await QueueBench.open(url);
  await publishTasks({ url, queue: bench.name }, [{ body: "x", id: "a" }]);
  const hung = Promise.withResolvers<void>();
  const fault = await assertRejects(
    () =>
      runWorker({
        url,
        queue: bench.name,
        handler: () => hung.promise,
        timeoutMs: 50,
        stopMs: 50,
        retries: { maxAttempts: 1 },
      }),
    ToolError,
    "does not stop when it is told to",
  );
  assertEquals(fault.exitCode, 70);
  assertEquals((await bench.arrival(`${bench.name}.dead`)).properties.messageId, "a");
  hung.resolve();
});

Deno.test("runWorker() refuses numbers that no worker can keep to", async () => {
  const rows: [Partial<RunWorkerOptions>, string][] = [
    [{ concurrency: 0 }, "concurrency must be a whole number from 1 to 65535, and is 0"],
    [{ concurrency: 1.5 }, "concurrency must"],
    [{ timeoutMs: 0 }, "timeoutMs must be a whole number from 1 to 2147483647, and is 0"],
    [{ timeoutMs: 2 ** 31 }, "timeoutMs must"],
    [{ timeoutMs: NaN }, "timeoutMs must"],
    [{ graceMs: -1 }, "graceMs must be a whole number from 0 to"],
    [{ stopMs: Infinity }, "stopMs must"],
    [{ maxTasks: 0 }, "maxTasks must"],
    [{ retries: { maxAttempts: 0 } }, "retries.maxAttempts must"],
    [{ retries: { maxCrashes: 0 } }, "retries.maxCrashes must"],
    [{ retries: { jitter: 1.1 } }, "retries.jitter must be a number from 0 to 1, and is 1.1"],
    [
      { retries: { backoffMs: [] } },
      "retries.backoffMs must have at least one pause, and has none",
    ],
    [{ retries: { backoffMs: [1_000, 0] } }, "retries.backoffMs must"],
  ];
  for (const [options, sentence] of rows) {
    // Nobody listens there: it is refused before.
    const refused = runWorker({ url: "amqp://127.0.0.1:1", handler: () => {}, ...options });
    await assertRejects(() => refused, UsageError, sentence);
  }
});

brokerTest("runWorker() without a limit for a task takes Infinity", async () => {
  await using bench = await QueueBench.open(url);
  await publishTasks({ url, queue: bench.name }, [{ body: "x" }]);
  let aborted: boolean | undefined;
  await runWorker({
    url,
    queue: bench.name,
    timeoutMs: Infinity,
    maxTasks: 1,
    handler: async (_, { signal, deadline }) => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      aborted = signal.aborted || deadline !== undefined;
    },
  });
  assertEquals(aborted, false);
});

/** What finds the packages of a file that is not in the project. */
const CONFIG = ["--config", new URL("../../deno.json", import.meta.url).pathname];

/** The examples in the library's documentation, as files; `queue` is the one that they use. */
async function writeExamples(queue: string): Promise<{ files: string[] } & AsyncDisposable> {
  const dir = await tempDir("examples-");
  const source = await Deno.readTextFile(new URL("../../src/mod.ts", import.meta.url));
  const examples = [...source.matchAll(/```ts\n([^]*?) \* ```/g)]
    .map(([, code]) => code!.replaceAll(/^ \* ?/gm, "").replaceAll('"mails"', `"${queue}"`));
  assertEquals(examples.length, 3);
  assertMatch(examples[0]!, /publishTasks/);
  const files: string[] = [];
  for (const code of examples) {
    const file = await Deno.makeTempFile({ dir: dir.path, suffix: ".example.ts" });
    files.push(file);
    const library = new URL("../../src/mod.ts", import.meta.url);
    await Deno.writeTextFile(file, code.replaceAll('"@workqueue/tools"', `"${library}"`));
  }
  return { files, [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose]() };
}

Deno.test("the library's examples have no type errors", async () => {
  await using examples = await writeExamples("mails");
  const { code, stderr } = await run(Deno.execPath(), {
    args: ["check", "-q", ...CONFIG, ...examples.files],
    timeoutMs: 240_000,
  });
  assertEquals(code, 0, stderr);
});

brokerTest("the library's examples run as they are written", async () => {
  await using bench = await QueueBench.open(url);
  await using examples = await writeExamples(bench.name);
  for (const file of examples.files) {
    const { code, stderr } = await run(Deno.execPath(), {
      args: ["run", "-q", "-A", "--no-check", ...CONFIG, file],
      env: { AMQP_URL: url },
    });
    assertEquals(code, 0, stderr);
  }
  await bench.holds(0);
});

Deno.test("names that AMQP cannot hold are refused before a broker is asked", async () => {
  const url = "amqp://127.0.0.1:1";
  const handler = () => {};
  const long = "n".repeat(256);
  const rows: [ask: () => Promise<unknown>, sentence: string][] = [
    [
      () => publishTasks({ url, queue: "" }, []),
      "queue must have a name of 1 to 238 bytes, and has 0",
    ],
    [
      () => publishTasks({ url, queue: "a\nb" }, []),
      'queue must have a name without a line break, and is "a\\nb"',
    ],
    [
      () => publishTasks({ url }, [{ body: "x", notBefore: new Date("tomorrow") }]),
      "notBefore must be a date, and is none",
    ],
    [
      () => publishTasks({ url, queue: long }, []),
      "queue must have a name of 1 to 238 bytes, and has 256",
    ],
    [
      () => publishTasks({ url }, [{ body: "x", id: "" }]),
      "id must have 1 to 255 bytes, and has 0",
    ],
    [
      () => publishTasks({ url }, [{ body: "x", id: long }]),
      "id must have 1 to 255 bytes, and has 256",
    ],
    [
      () => runWorker({ url, handler, queue: "" }),
      "queue must have a name of 1 to 238 bytes, and has 0",
    ],
  ];
  for (const [ask, sentence] of rows) {
    const error = await assertRejects(ask, UsageError);
    assertEquals(error.message, sentence);
  }
});

Deno.test("publishTasks() waits for a broker that blocks publishers until its signal aborts", async () => {
  await using broker = await startBroker({ args: ["--disk-free-limit", "100000000000000"] });
  const signal = AbortSignal.timeout(500);
  const error = await assertRejects(
    () => publishTasks({ url: broker.url }, [{ body: "x" }], { signal }),
    ToolError,
    "publishing was given up: ",
  );
  assertEquals(error.exitCode, 75);
});

Deno.test({
  name: "a program that may not use the network hears which permission it lacks",
  permissions: { net: false },
  async fn() {
    const task = { body: "x" };
    const sending = publishTasks({ url: "amqp://127.0.0.1:1/", queue: "q" }, [task]);
    await assertRejects(() => sending, ToolError, "requires net access");
  },
});
