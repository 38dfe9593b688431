/** Many tasks in one go: records, NUL, files, rejects, and going on after an early end. */
import { assert, assertEquals, assertGreater, assertMatch } from "@std/assert";
import { brokerTest, sharedNode, startNode } from "../support/broker.ts";
import { Proxy } from "../support/proxy.ts";
import { tempDir, uniqueName } from "../support/temp.ts";
import { waitUntil } from "../support/wait.ts";
import { bytesOf, look, onChannel, takeAll, waitForReady } from "./queue_view.ts";
import { finish, forEachRow, start } from "./tools.ts";

const node = await sharedNode();
/** Long form: BULK_TASKS=1000000. */
const TASKS = Number(Deno.env.get("BULK_TASKS") ?? 20_000);
const INTERRUPTIONS = 10;
const IS_LONG = Deno.env.has("BULK_TASKS");
/** Milliseconds for what the long form waits for. */
const LONG_MS = 600_000;
/** RabbitMQ takes more than a minute to be killed and started twice. */
const SHORT = IS_LONG
  ? undefined
  : { only: "embedded", because: "RabbitMQ takes a minute; set BULK_TASKS" } as const;
const TEXT = new TextEncoder();

function numbers(last: number, first = 1): string {
  return Array.from({ length: last - first + 1 }, (_, i) => `${first + i}\n`).join("");
}

/** Headers without those of brokers. */
function ours(headers: Record<string, unknown> = {}): Record<string, unknown> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith("x-")));
}

/** Ready tasks; a queue that is not there yet has none. */
async function readyOn(url: string, queue: string): Promise<number> {
  return (await look(url, queue).catch(() => undefined))?.ready ?? 0;
}

/** Takes everything as fast as it comes. */
async function drain(url: string, queue: string, until: number): Promise<string[]> {
  return await onChannel(url, async (channel) => {
    const bodies: string[] = [];
    const all = Promise.withResolvers<void>();
    await channel.basicConsume(queue, { noAck: true }, (message) => {
      if (bodies.push(message.bodyString()!) === until) all.resolve();
    });
    await all.promise;
    return bodies;
  });
}

/** Takes everything, and knows how many different ones there are; resolves with all of it. */
async function drainAll(url: string, queue: string, different: number): Promise<string[]> {
  return await onChannel(url, async (channel) => {
    const bodies: string[] = [];
    const seen = new Set<string>();
    await channel.basicConsume(queue, { noAck: true }, (message) => {
      bodies.push(message.bodyString()!);
      seen.add(bodies.at(-1)!);
    });
    await waitUntil(`${different} tasks`, () => seen.size === different, LONG_MS);
    let before = -1;
    await waitUntil("the queue to be empty", async () => {
      const { messageCount } = await channel.queueDeclare(queue, { passive: true });
      const isSame = bodies.length === before;
      before = bodies.length;
      return messageCount === 0 && isSame;
    });
    return bodies;
  });
}

brokerTest("records say what they are, and options what they do not say", async () => {
  const target = { url: node.url, queue: uniqueName("bulk-records") };
  const other = uniqueName("bulk-other");
  const records = [
    { body: "a", id: "own", type: "mine", headers: { size: 3 } },
    // One above 4 would come first from a quorum queue of RabbitMQ 4.
    { body_base64: "/wA=", priority: 4 },
    { json: { n: 12345678901234 }, queue: other, content_encoding: "x" },
  ].map((record) => JSON.stringify(record));
  const stdin = `${records[0]}\r\n \t\n${records.slice(1).join("\n")}`;
  const args = ["--ndjson", "--id", "r", "--type", "common", "--header", "from=here"];
  const sent = await finish("new_task", args, { ...target, stdin });
  assertEquals([sent.code, sent.stdout, sent.stderr], [0, " [x] Sent 3 tasks\n", ""]);
  const tasks = await takeAll(target.url, target.queue);
  tasks.push(...await takeAll(target.url, other));
  assertEquals(tasks.map((task) => [...bytesOf(task)]), [
    [97],
    [255, 0],
    [...TEXT.encode('{"n":12345678901234}')],
  ]);
  assertEquals(
    tasks.map(({ properties }) => {
      const { messageId, type, priority, headers, contentType, contentEncoding } = properties;
      return [messageId, type, priority, ours(headers), contentType, contentEncoding];
    }),
    [
      ["own", "mine", undefined, { from: "here", size: 3 }, "text/plain", undefined],
      ["r-3", "common", 4, { from: "here" }, "application/octet-stream", undefined],
      ["r-4", "common", undefined, { from: "here" }, "application/json", "x"],
    ],
  );
});

brokerTest("records for other queues alone do not make the default one", async () => {
  const target = { url: node.url, queue: uniqueName("bulk-default") };
  const names = Array.from({ length: 8 }, (_, i) => `${target.queue}-${i}`);
  const stdin = Array.from({ length: 400 }, (_, i) => {
    return JSON.stringify({ body: String(i), queue: names[i % names.length] }) + "\n";
  }).join("");
  const args = ["--ndjson", "--queue-type", "classic"];
  const sent = await finish("new_task", args, { ...target, stdin });
  assertEquals([sent.code, sent.stdout, sent.stderr], [0, " [x] Sent 400 tasks\n", ""]);
  for (const [i, name] of names.entries()) {
    const bodies = (await takeAll(target.url, name)).map((task) => Number(task.bodyString()));
    assertEquals(bodies, Array.from({ length: 50 }, (_, k) => k * names.length + i));
  }
  await look(target.url, target.queue).then(() => assert(false, "it is there"), () => {});
});

brokerTest("tasks of all kinds wait for their time", async () => {
  await using dir = await tempDir("bulk-");
  await Deno.writeTextFile(dir.file("a"), "a");
  const queue = uniqueName("bulk-wait");
  const rows = [
    { args: ["--lines"], stdin: "a\nb\n" },
    { args: ["--null"], stdin: "c\0d\0" },
    { args: ["--ndjson"], stdin: '{"body": "e"}\n{"body": "now", "delay": 0}\n' },
    { args: ["--files", dir.file("a")] },
  ];
  for (const { args, stdin } of rows) {
    const { code, stderr } = await finish("new_task", [...args, "--delay", "1h"], {
      url: node.url,
      queue,
      ...(stdin === undefined ? {} : { stdin }),
    });
    assertEquals([code, stderr], [0, ""]);
  }
  assertEquals((await takeAll(node.url, queue)).map((task) => task.bodyString()), ["now"]);
  const waiting = await takeAll(node.url, `${queue}.delay.3600000`);
  assertEquals(waiting.length, 6);
});

brokerTest("--null takes what is between the NULs, byte for byte", async () => {
  const target = { url: node.url, queue: uniqueName("bulk-null") };
  const stdin = Uint8Array.from([97, 10, 98, 13, 0, 0, 255, 0, 99]);
  const { code, stdout } = await finish("new_task", ["--null", "--id", "x"], { ...target, stdin });
  assertEquals([code, stdout], [0, " [x] Sent 3 tasks\n"]);
  const tasks = await takeAll(target.url, target.queue);
  assertEquals(tasks.map((task) => [...bytesOf(task)]), [[97, 10, 98, 13], [255], [99]]);
  assertEquals(tasks.map(({ properties }) => properties.messageId), ["x-1", "x-3", "x-4"]);
});

brokerTest("--files makes a task of each file, with its name", async () => {
  await using dir = await tempDir("bulk-");
  const target = { url: node.url, queue: uniqueName("bulk-files"), cwd: dir.path };
  await Deno.writeFile(dir.file("a"), Uint8Array.from([0, 255]));
  await Deno.writeTextFile(dir.file("b c"), "");
  await Deno.writeTextFile(dir.file("-"), "dash");
  const sent = await finish("new_task", ["--files", "a", "b c", "-"], target);
  assertEquals([sent.code, sent.stdout, sent.stderr], [0, " [x] Sent 3 tasks\n", ""]);
  const tasks = await takeAll(target.url, target.queue);
  assertEquals(tasks.map(({ properties }) => ours(properties.headers)), [
    { "task-file": "a" },
    { "task-file": "b c" },
    { "task-file": "./-" },
  ]);
  assertEquals(tasks.map((task) => [...bytesOf(task)].length), [2, 0, 4]);
  assertEquals(tasks[0]!.properties.contentType, "application/octet-stream");

  const missing = await finish("new_task", ["--files", "a", "nothing", "b c"], target);
  assertEquals([missing.code, missing.stdout], [66, ""]);
  assertMatch(
    missing.stderr,
    /^new_task: file 2: cannot read the file "nothing": .*; confirmed: 1; go on with --skip 1\n$/,
  );
  const rest = await finish("new_task", ["--files", "--skip", "2", "a", "nothing", "b c"], target);
  assertEquals([rest.code, rest.stdout], [0, " [x] Sent 1 task\n"]);
  const args = ["--files", "--rejects", "left", "a", "nothing", ".", "b c"];
  const some = await finish("new_task", args, target);
  assertEquals([some.code, some.stdout, some.stderr], [
    0,
    " [x] Sent 2 tasks, rejected 2\n",
    "",
  ]);
  const left = (await Deno.readTextFile(dir.file("left"))).trimEnd().split("\n")
    .map((line) => JSON.parse(line));
  assertEquals(left.map(({ file, record }) => [file, record]), [[2, "nothing"], [3, "."]]);
});

brokerTest(
  "a record that is none ends it after those before it, with its line and 65",
  async () => {
    const queue = uniqueName("bulk-bad");
    const long = "i".repeat(256);
    const rows: [string | Uint8Array, RegExp][] = [
      ["nonsense", /^a record must be JSON, and is not: /],
      ['{"body": "cut', /^a record must be JSON, and is not: /],
      ["[1]", /^a record must be a JSON object, and is a list$/],
      ["7", /^a record must be a JSON object, and is 7$/],
      ["{}", /^a record must have one of body, body_base64 and json, and has none$/],
      ['{"body": "a", "json": 1}', /^a record must have one of .*, and has body and json$/],
      ['{"body_base64": "a*"}', /^body_base64 must be base64 .*, and is "a\*"$/],
      ['{"body": "a", "delay": 1, "at": "2027-01-31T08:00Z"}', /^a record must have delay or at, /],
      ['{"body": "a", "priority": 256}', /^priority must be .*, and is 256$/],
      ['{"body": "a", "headers": {"n": 18446744073709551616}}', /^headers\.n must be /],
      [`{"body": "a", "id": "${long}"}`, /^id must have 1 to 255 bytes, and has 256$/],
      ['{"body": "a", "cron": "* * * * *"}', /^a record must have no other fields than .*"cron"/],
      [`{"body": "a", "queue": "${long}"}`, /^queue must have 1 to 255 bytes, and has 256$/],
      [Uint8Array.from([123, 255, 125]), /^a record must be UTF-8, and is not$/],
    ];
    await forEachRow(rows, ([record]) => String(record), async ([record, says]) => {
      const bytes = typeof record === "string" ? TEXT.encode(record) : record;
      const stdin = Uint8Array.from([...TEXT.encode('{"body":"b"}\n'), ...bytes, 10, 123, 125]);
      const args = ["--ndjson", "--skip", "0"];
      const { code, stdout, stderr } = await finish("new_task", args, {
        url: node.url,
        queue,
        stdin,
      });
      assertEquals([code, stdout], [65, ""]);
      const [, sentence] = stderr.match(
        /^new_task: line 2: (.*); confirmed: 1; go on with --skip 1\n$/,
      ) ?? [];
      assertMatch(sentence ?? stderr, says);
    });
    // Nothing of what is behind them.
    assertEquals((await takeAll(node.url, queue)).length, rows.length);
  },
);

brokerTest("interrupted ten times and resumed, it sends every number exactly once", async () => {
  const target = { url: node.url, queue: uniqueName("bulk-resume") };
  const part = Math.ceil(TASKS / (INTERRUPTIONS + 1));
  let skip = 0;
  let confirmed = 0;
  for (let i = 1; i <= INTERRUPTIONS; i++) {
    const before = await readyOn(target.url, target.queue);
    await using sender = start("new_task", ["--lines", "--skip", String(skip)], {
      ...target,
      stdin: "open",
    });
    await sender.write(numbers(Math.min(TASKS, skip + part)));
    await waitUntil("a task", async () => await readyOn(target.url, target.queue) > before);
    sender.kill(i % 3 === 0 ? "SIGHUP" : i % 3 === 1 ? "SIGINT" : "SIGTERM");
    const { stderr, code } = await sender.ended();
    assertGreater(code, 128);
    const [, count, next] = stderr.match(
      /^(?:.* tasks confirmed, .*\n)*new_task: ended by a signal; confirmed: (\d+); go on with --skip (\d+)\n$/,
    ) ?? [];
    assert(count !== undefined, stderr);
    confirmed += Number(count);
    skip = Number(next);
    assertEquals(skip, confirmed);
  }
  const last = await finish("new_task", ["--lines", "--skip", String(skip)], {
    ...target,
    stdin: numbers(TASKS),
  });
  assertEquals([last.code, last.stdout], [0, ` [x] Sent ${TASKS - skip} tasks\n`]);
  const bodies = await drain(target.url, target.queue, TASKS);
  assertEquals(bodies, Array.from({ length: TASKS }, (_, i) => String(i + 1)));
  await waitForReady(target.url, target.queue, 0);
});

brokerTest("a signal ends it before it has found its broker", async () => {
  const { server, url } = silentServer();
  try {
    await using sender = start("new_task", ["--lines", "--timeout", "1h"], { url, stdin: "open" });
    const connection = await server.accept();
    sender.kill("SIGTERM");
    const { code, stderr } = await sender.ended();
    connection.close();
    assertEquals([code, stderr], [
      143,
      "new_task: ended by a signal; confirmed: 0; go on with --skip 0\n",
    ]);
  } finally {
    server.close();
  }
});

brokerTest("a second signal ends it at once", async () => {
  await using proxy = await Proxy.start(node.port);
  const target = { url: proxy.url, queue: uniqueName("bulk-second") };
  await using sender = start("new_task", ["--lines", "--timeout", "1h"], {
    ...target,
    stdin: "open",
  });
  await sender.write("a\n");
  await waitUntil("a task", async () => await readyOn(node.url, target.queue) === 1);
  proxy.blackHole("toClient");
  await sender.write("b\n");
  await waitUntil("two tasks", async () => await readyOn(node.url, target.queue) === 2);
  sender.kill("SIGTERM");
  sender.kill("SIGINT");
  const { code, stdout, stderr } = await sender.ended();
  assert(code === 130 || code === 143, `it ended with ${code}`);
  assertEquals([stdout, stderr], ["", ""]);
});

function silentServer() {
  const server = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return { server, url: `amqp://127.0.0.1:${server.addr.port}/` };
}

brokerTest("a broker that is killed twice on the way gets every task", async () => {
  await using own = await startNode();
  const target = { url: own.url, queue: uniqueName("bulk-killed") };
  await using sender = start("new_task", [
    ...["--lines", "--timeout", "2m"],
    // A quorum queue of RabbitMQ 3.10 that is killed soon after it was made may stay without a leader.
    ...["--queue-type", IS_LONG ? "quorum" : "classic"],
  ], {
    ...target,
    stdin: "open",
  });
  const part = Math.ceil(TASKS / 3);
  for (let i = 0; i < 2; i++) {
    const writing = sender.write(numbers((i + 1) * part, i * part + 1));
    const least = i * part + (IS_LONG ? Math.floor(part / 2) : 0);
    await waitUntil(
      "tasks",
      async () => await readyOn(target.url, target.queue) > least,
      LONG_MS,
    );
    await own.kill();
    await own.start();
    await writing;
  }
  await sender.write(numbers(TASKS, 2 * part + 1));
  await sender.endInput();
  const { code, stdout } = await sender.ended(LONG_MS);
  assertEquals([code, stdout], [0, ` [x] Sent ${TASKS} tasks\n`]);
  const all = await drainAll(target.url, target.queue, TASKS);
  // Twice is what was not confirmed at a kill: at most a thousand tasks are on their way.
  assert(all.length <= TASKS + 2 * 1_000, `${all.length - TASKS} are there twice`);
}, SHORT);
