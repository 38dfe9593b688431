/** Queues that drop duplicates, as the tools use them: each slot of a schedule is done once. */
import { assert, assertEquals } from "@std/assert";
import { brokerTest, sharedNode } from "../support/broker.ts";
import { Random } from "../support/random.ts";
import { tempDir, uniqueName } from "../support/temp.ts";
import { waitUntil } from "../support/wait.ts";
import { Front } from "./http_front.ts";
import { onChannel, takeAll } from "./queue_view.ts";
import { finish, start } from "./tools.ts";

const node = await sharedNode();
/** Long form: SCHEDULE_SECONDS=120. */
const SECONDS = Number(Deno.env.get("SCHEDULE_SECONDS") ?? 4);
const ONLY_OURS = {
  only: "embedded",
  because: "RabbitMQ needs a plugin for that",
} as const;
const ONCE = ["--queue-arg", "x-message-deduplication=true"];

brokerTest(
  "two schedulers, one killed and started again at random, send every slot exactly once",
  async () => {
    await using dir = await tempDir("once-");
    const target = { url: node.url, queue: uniqueName("once") };
    await Deno.writeTextFile(
      dir.file("s"),
      `${JSON.stringify({ cron: "* * * * *", second: "*", id: "slot", body: "a" })}\n`,
    );
    const startOne = () => start("new_task", [...ONCE, "--schedule", dir.file("s")], target);
    await using steady = startOne();
    const sent = () => steady.stdout.filter((line) => line.startsWith(" [x] Sent ")).length;
    await waitUntil("the first slot", () => sent() > 0);
    const random = new Random(Number(Deno.env.get("SEED") ?? 1));
    const begun = performance.now();
    let rounds = 0;
    for (; performance.now() - begun < SECONDS * 1_000; rounds++) {
      await using other = startOne();
      const ofOther = 1 + random.below(3);
      await other.waitForLine(/^ \[x\] Sent /, 30_000, ofOther);
      await other.destroy();
    }
    await using last = startOne();
    await last.waitForLine(/^ \[x\] Sent /);
    for (const each of [steady, last]) {
      each.kill("SIGTERM");
      assertEquals((await each.ended()).code, 0);
    }
    assert(rounds > 0);
    const slots = (await takeAll(node.url, target.queue)).map(({ properties }) =>
      Date.parse(properties.messageId!.slice("slot-".length)) / 1_000
    ).toSorted((a, b) => a - b);
    assert(slots.length >= SECONDS, `${slots}`);
    assertEquals(slots, slots.map((_, i) => slots[0]! + i));
  },
  ONLY_OURS,
);

brokerTest("what is tried again, waits, or is put back is no duplicate of itself", async () => {
  await using dir = await tempDir("once-");
  const target = { url: node.url, queue: uniqueName("once-again") };
  const send = (id: string, ...args: string[]) =>
    finish("new_task", [...ONCE, "--id", id, ...args, id], target);
  // The second of each is dropped, and said to be sent.
  for (const args of [["fails"], ["later", "--delay", "300ms"], ["dies"]]) {
    for (let i = 0; i < 2; i++) {
      assertEquals((await send(args[0]!, ...args.slice(1))).code, 0);
    }
  }
  const ledger = dir.file("ledger");
  await using worker = start("worker", [
    ...[...ONCE, "--backoff", "50ms", "--max-attempts", "2", "--shell"],
    `echo "$TASK_ID $TASK_ATTEMPT" >>${ledger}
     case $TASK_ID in later) ;; dies) exit 65 ;; *) [ $TASK_ATTEMPT = 2 ] ;; esac`,
  ], target);
  const done = async () => (await Deno.readTextFile(ledger).catch(() => "")).trim().split("\n");
  await waitUntil("all of it", async () => (await done()).length === 4);
  assertEquals((await done()).toSorted(), ["dies 1", "fails 1", "fails 2", "later 1"]);
  await waitUntil(
    "the dead one",
    () =>
      onChannel(
        node.url,
        async (channel) =>
          (await channel.queueDeclare(`${target.queue}.dead`, { passive: true })).messageCount ===
            1,
      )
        .catch(() => false),
  );
  const replayed = await finish("worker", ["dead", "replay", "--queue", target.queue, "dies"], {
    url: node.url,
  });
  assertEquals(replayed.code, 0, replayed.stderr);
  await waitUntil("it again", async () => (await done()).length === 5);
  worker.kill("SIGTERM");
  assertEquals((await worker.ended()).code, 0);
}, ONLY_OURS);

brokerTest("whoever chooses an id has the task once, by whatever way it comes", async () => {
  await using dir = await tempDir("once-");
  const target = { url: node.url, queue: uniqueName("once-id") };
  await Deno.writeTextFile(dir.file("lines"), "a\nb\n");
  await Deno.writeTextFile(dir.file("records"), '{"body":"c","id":"record"}\n{"body":"d"}\n');
  const twice = async (...args: string[]) => {
    for (let i = 0; i < 2; i++) {
      const { code, stderr } = await finish("new_task", [...ONCE, ...args], target);
      assertEquals(code, 0, stderr);
    }
  };
  await twice("--lines", "--id", "line", "--file", dir.file("lines"));
  await twice("--ndjson", "--id", "numbered", "--file", dir.file("records"));
  await twice("--files", "--id", "file", dir.file("lines"));
  // Nobody chose these ids.
  await twice("--lines", "--file", dir.file("lines"));
  // A front that was started again knows nothing of the task.
  for (let i = 0; i < 2; i++) {
    await using front = await Front.start(ONCE, target);
    const sent = await front.post("a", { "idempotency-key": "order-17" });
    assertEquals([sent.status, sent.json.id], [202, "order-17"]);
    await front.end();
  }
  const ids = (await takeAll(node.url, target.queue)).map(({ properties }) =>
    properties.messageId!.replace(/^[0-9a-f-]{36}-/, "random-")
  );
  assertEquals(ids, [
    ...["line-1", "line-2", "record", "numbered-2", "file-1"],
    ...["random-1", "random-2", "random-1", "random-2", "order-17"],
  ]);
}, ONLY_OURS);

brokerTest("a call is answered, even of a task that the queue has had", async () => {
  const target = { url: node.url, queue: uniqueName("once-call") };
  await using worker = start("worker", [...ONCE, "--", "cat"], target);
  const call = () => finish("new_task", [...ONCE, "--wait", "--id", "same", "a"], target);
  for (let i = 0; i < 2; i++) assertEquals((await call()).stdout, "a");
  worker.kill("SIGTERM");
  assertEquals((await worker.ended()).code, 0);
}, ONLY_OURS);
