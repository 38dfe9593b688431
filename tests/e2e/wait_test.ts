/** `new_task --wait` and the worker's answers, also with other makers' clients. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { Buffer } from "node:buffer";
import amqplib from "amqplib";
import { brokerTest, sharedNode, startNode } from "../support/broker.ts";
import { pikaMissing, PYTHON } from "../support/foreign.ts";
import { run, spawn, type TestProcess } from "../support/process.ts";
import { tempDir, uniqueName } from "../support/temp.ts";
import { waitUntil } from "../support/wait.ts";
import { bytesOf, look, onChannel, takeAll } from "./queue_view.ts";
import { finish, start, stop } from "./tools.ts";

const node = await sharedNode();
const missingPika = await pikaMissing();
/** Long form: WAIT_CALLS=1000. */
const CALLS = Number(Deno.env.get("WAIT_CALLS") ?? 60);
const NO_OWN_NODE = Deno.env.has("WAIT_CALLS")
  ? undefined
  : { only: "embedded", because: "RabbitMQ takes long to start; set WAIT_CALLS" } as const;

/** What a task asks for is done by this command. */
const COMMAND = `read -r what
echo "works on $what" >&2
case $what in
  bytes) printf 'a\\0\\377' ;;
  nothing) ;;
  much) head -c 1048580 /dev/zero ;;
  accepted) echo kept; exit 7 ;;
  fails) echo lost; exit 3 ;;
  refuses) exit 65 ;;
  again) [ "$TASK_ATTEMPT" = 2 ] || exit 1; echo "attempt $TASK_ATTEMPT" ;;
  steps) printf '1/4\\nand more\\n' >"$TASK_PROGRESS_FILE"; echo done ;;
  slow) sleep 60 ;;
  *) echo "<$what>" ;;
esac`;

function startWorker(queue: string, ...args: readonly string[]): TestProcess {
  return start("worker", [
    ...["--max-attempts", "2", "--backoff", "10ms", "--ack-on", "7", "--concurrency", "4"],
    ...args,
    ...["--", "sh", "-c", COMMAND],
  ], { url: node.url, queue });
}

brokerTest("--wait prints the answer and ends with the command's status", async () => {
  const target = { url: node.url, queue: uniqueName("wait") };
  await using worker = startWorker(target.queue);
  await worker.waitForLine(/Waiting/);
  const ask = (what: string, ...args: readonly string[]) =>
    finish("new_task", ["--wait", "--id", what, ...args, what], target);
  const [bytes, nothing, much, accepted, again, steps, fails, refuses] = await Promise.all([
    ask("bytes"),
    ask("nothing"),
    ask("much"),
    ask("accepted"),
    ask("again"),
    ask("steps", "--progress"),
    ask("fails"),
    ask("refuses", "--quiet"),
  ]);
  assertEquals([bytes.code, bytes.stdout, bytes.stderr], [0, "a\0\ufffd", ""]);
  assertEquals([nothing.code, nothing.stdout, nothing.stderr], [0, "", ""]);
  assertEquals([much.code, much.stdout.length], [0, 1_048_576]);
  assertEquals(much.stderr, "new_task: the answer is longer than 1 MiB, and its end is cut off\n");
  assertEquals([accepted.code, accepted.stdout], [7, "kept\n"]);
  assertEquals([again.code, again.stdout], [0, "attempt 2\n"]);
  assertEquals([steps.code, steps.stdout], [0, "done\n"]);
  assertEquals(steps.stderr, "new_task: attempt 1 runs\nnew_task: and more\n");
  assertEquals([fails.code, fails.stdout], [3, ""]);
  assertEquals(
    fails.stderr,
    'new_task: the task "fails" is dead (max-attempts): exit 3\nworks on fails\n',
  );
  assertEquals(
    [refuses.code, refuses.stderr],
    [65, 'new_task: the task "refuses" is dead (rejected): exit 65\n'],
  );
  // On a busy machine even a confirm may take that long.
  for (let seconds = 1, isSent = false; !isSent; seconds *= 2) {
    const late = await ask("slow", "--timeout", `${seconds}s`);
    assertEquals([late.code, late.stdout], [75, ""]);
    isSent = !/confirm|connect|on the queue or not/.test(late.stderr);
    if (!isSent) continue;
    assertEquals(
      late.stderr,
      `new_task: no answer came within ${seconds} s: the task "slow" may be done already, or later\n`,
    );
  }
  worker.kill("SIGTERM");
  worker.kill("SIGQUIT");
  await worker.ended();
});

brokerTest("--wait of many tasks prints a line of JSON for each", async () => {
  const target = { url: node.url, queue: uniqueName("wait-many") };
  await using dir = await tempDir("wait-");
  await using worker = startWorker(target.queue);
  const records = [
    { body: "bytes\n" },
    { body: 7 },
    { json: "one", id: "own" },
    { body: "refuses\n" },
    { body: "nothing" },
  ];
  const stdin = records.map((record) => JSON.stringify(record)).join("\n");
  const rejects = dir.file("rejects");
  const args = ["--wait", "--ndjson", "--id", "m", "--rejects", rejects];
  const all = await finish("new_task", args, { ...target, stdin });
  assertEquals([all.code, all.stderr], [1, ""]);
  const lines = all.stdout.trim().split("\n").map((line) => JSON.parse(line));
  assertEquals(lines.toSorted((a, b) => a.number - b.number), [
    {
      number: 1,
      id: "m-1",
      outcome: "done",
      body_base64: "YQD/",
      content_type: "application/octet-stream",
    },
    { number: 3, id: "own", outcome: "done", content_type: "text/plain", body: '<"one">\n' },
    {
      number: 4,
      id: "m-4",
      outcome: "dead",
      content_type: "text/plain",
      exit_code: 65,
      reason: "rejected",
      error: "exit 65",
      stderr_tail: "works on refuses\n",
    },
    { number: 5, id: "m-5", outcome: "done", content_type: "text/plain", body: "" },
  ]);
  assertMatch(await Deno.readTextFile(rejects), /"line":2,.*body must be text/);
  const bad = await finish("new_task", ["--wait", "--ndjson"], { ...target, stdin });
  assertEquals(bad.code, 65);
  assertMatch(
    bad.stderr,
    /^new_task: line 2: body must be text, and is 7; done: 1, dead: 0, .*--skip 1\n/,
  );
  const elsewhere = { ...target, stdin: '{"body": "a", "reply_to": "q"}' };
  const strange = await finish("new_task", ["--wait", "--ndjson"], elsewhere);
  assertEquals(strange.code, 65);
  assertMatch(
    strange.stderr,
    /^new_task: line 1: reply_to must be absent: the answer comes here, /,
  );
  // A signal ends the input, and not what is under way.
  await using open = start("new_task", ["--wait", "--lines"], { ...target, stdin: "open" });
  await open.write("x\n");
  await open.waitForLine(/"body":"<x>\\n"/);
  open.kill("SIGINT");
  const ended = await open.ended();
  assertEquals(ended.code, 130);
  assertMatch(ended.stderr, /^new_task: ended by a signal; done: 1, .*; go on with --skip 1\n/);
  await stop(worker);
});

brokerTest("a call that the broker's limit refuses fails alone", async () => {
  await using own = await startNode({ maxMessageSize: 100_000 });
  await using dir = await tempDir("wait-");
  const target = { url: own.url, queue: uniqueName("wait-limit") };
  const sizes = [10, 3_000, 70_000, 100_001, 90_000, 60_000, 150_000, 99_000, 5, 120_000, 80_000];
  const rejects = dir.file("rejects");
  const refused = async () => (await Deno.readTextFile(rejects)).trim().split("\n");
  const args = ["--wait", "--ndjson", "--rejects", rejects];
  await using sender = start("new_task", args, { ...target, stdin: "open" });
  let ready = 0;
  for (const size of sizes) {
    await sender.write(`${JSON.stringify({ body: "x".repeat(size) })}\n`);
    if (size > 100_000) continue;
    ready++;
    // Confirmed, and not answered.
    await waitUntil("the task", async () => {
      return (await look(own.url, target.queue).catch(() => undefined))?.ready === ready;
    });
  }
  await sender.endInput();
  await waitUntil("the refusals", async () => {
    return (await refused().catch(() => [])).length === 3;
  });
  // Only now are there answers.
  await using worker = start("worker", ["--", "cat"], target);
  const { code, stdout, stderr } = await sender.ended();
  assertEquals([code, stderr], [0, ""]);
  const lines = stdout.trim().split("\n").map((line) => JSON.parse(line));
  assertEquals(
    lines.toSorted((a, b) => a.number - b.number).map(({ number, outcome, body }) => {
      return [number, outcome, body.length];
    }),
    sizes.map((size, i) => [i + 1, "done", size]).filter(([, , size]) => Number(size) <= 100_000),
  );
  assertEquals((await refused()).map((line) => JSON.parse(line).line).toSorted((a, b) => a - b), [
    4,
    7,
    10,
  ]);
  await stop(worker);
}, NO_OWN_NODE);

brokerTest("--wait of many tasks goes on with the first that was not sent", async () => {
  const queue = uniqueName("wait-skip");
  const classic = uniqueName("wait-classic");
  await onChannel(node.url, async (channel) => {
    await channel.queueDeclare(classic, { durable: true }, { "x-queue-type": "classic" });
  });
  await using worker = startWorker(queue);
  const records = [queue, ...Array(20).fill(classic), queue];
  const stdin = records.map((queue) => JSON.stringify({ body: "x\n", queue })).join("\n");
  const args = ["--wait", "--ndjson", "--queue-type", "quorum"];
  const { code, stdout, stderr } = await finish("new_task", args, { url: node.url, stdin });
  assertEquals(code, 73);
  assertMatch(
    stderr,
    /^new_task: line 2: .*; done: \d, .*; go on with --skip 1 \(line 2 was not sent; .*\)\n$/,
  );
  const numbers = stdout.trim().split("\n").map((line) => JSON.parse(line).number);
  assertEquals(numbers.includes(1), true);
  await stop(worker);
});

brokerTest(
  "a worker with --no-reply says nothing; a queue gets what its task asks for",
  async () => {
    const queue = uniqueName("wait-queue");
    const replies = uniqueName("wait-replies");
    await onChannel(node.url, async (channel) => {
      await channel.queueDeclare(replies, { durable: true });
    });
    const target = { url: node.url, queue };
    const send = () =>
      finish("new_task", ["--reply-to", replies, "--correlation-id", "c", "x"], target);
    await send();
    await using silent = startWorker(queue, "--no-reply", "--exit-when-empty");
    assertEquals((await silent.ended()).code, 0);
    await send();
    await using worker = startWorker(queue, "--exit-when-empty", "--output", "null");
    assertEquals((await worker.ended()).code, 0);
    const [answer, ...more] = await takeAll(node.url, replies);
    assertEquals([answer && [...bytesOf(answer)], more], [
      [...new TextEncoder().encode("<x>\n")],
      [],
    ]);
    assertEquals([answer?.properties.correlationId, answer?.properties.deliveryMode], ["c", 2]);
  },
);

brokerTest(
  `pika's and amqplib's RPC clients get the body as it is, and new_task a pika server's` +
    (missingPika ? ` (ignored: ${missingPika})` : ""),
  async () => {
    const queue = uniqueName("wait-rpc");
    await using worker = startWorker(queue);
    await worker.waitForLine(/Waiting/);
    const script = (name: string) => new URL(`../interop/pika/${name}`, import.meta.url).pathname;
    const env = { AMQP_URL: node.url, QUEUE: queue };
    const theirs = missingPika ? [] : ["queue", "direct"].map(async (REPLY_TO) => {
      const args = [script("rpc_client.py"), "a\n", "b\n"];
      const { stdout, code } = await run(PYTHON, { args, env: { ...env, REPLY_TO } });
      assertEquals([stdout, code], ["<a>\n\n<b>\n\n", 0]);
    });
    await Promise.all([...theirs, askWithAmqplib(queue)]);
    await stop(worker);
    if (missingPika) return;
    await using server = spawn(PYTHON, {
      args: [script("rpc_server.py")],
      env,
      killOnDispose: true,
    });
    const answer = await finish("new_task", ["--wait", "--timeout", "20s", "10"], {
      url: node.url,
      queue,
    });
    assertEquals([answer.code, answer.stdout, answer.stderr, server.running], [0, "55", "", true]);
  },
);

async function askWithAmqplib(queue: string): Promise<void> {
  const connection = await amqplib.connect(node.url);
  const channel = await connection.createChannel();
  const answer = Promise.withResolvers<string>();
  await channel.consume("amq.rabbitmq.reply-to", (message) => {
    answer.resolve(`${message!.properties.correlationId} ${message!.content}`);
  }, { noAck: true });
  const options = { replyTo: "amq.rabbitmq.reply-to", correlationId: "7" };
  channel.sendToQueue(queue, Buffer.from("z\n"), options);
  assertEquals(await answer.promise, "7 <z>\n");
  await connection.close();
}

brokerTest(`${CALLS} calls through 4 workers that are killed have ${CALLS} answers`, async () => {
  const target = { url: node.url, queue: uniqueName("wait-kills") };
  await using dir = await tempDir("wait-");
  const handler = dir.file("square.js");
  await Deno.writeTextFile(
    handler,
    `export default async (task) => {
      await new Promise((resolve) => setTimeout(resolve, 200));
      return Number(task.text()) ** 2;
    };`,
  );
  const startOne = () =>
    start("worker", ["--handler", handler, "--concurrency", "4", "--max-crashes", "50"], target);
  const workers = [startOne(), startOne(), startOne(), startOne()];
  const stdin = Array.from({ length: CALLS }, (_, i) => `${i}\n`).join("");
  await using calls = start("new_task", ["--wait", "--lines"], { ...target, stdin });
  let kills = 0;
  // One for every sixteen answers: about one a second.
  for (let seen = 8; seen < CALLS - 16; seen += 16, kills++) {
    await calls.waitForLine(/.*/, 60_000, seen);
    await workers[kills % 4]!.destroy();
    workers[kills % 4] = startOne();
  }
  const { code, stdout, stderr } = await calls.ended(300_000);
  assertEquals([code, stderr], [0, ""]);
  assert(kills >= 2, String(kills));
  const answers = stdout.trim().split("\n").map((line) => JSON.parse(line));
  assertEquals(
    answers.map(({ number, json }) => [number, json]).toSorted(([a], [b]) => a - b),
    Array.from({ length: CALLS }, (_, i) => [i + 1, i ** 2]),
  );
  await Promise.all(workers.map(stop));
});
