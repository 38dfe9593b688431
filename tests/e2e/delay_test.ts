/** Tasks that are sent now and not to be run before their time. */
import { assertEquals, assertGreaterOrEqual, assertMatch } from "@std/assert";
import { brokerTest, sharedNode } from "../support/broker.ts";
import { uniqueName } from "../support/temp.ts";
import { onChannel, takeAll, takeOne, waitForReady } from "./queue_view.ts";
import { finish, send } from "./tools.ts";

const node = await sharedNode();

brokerTest("a task with --delay waits, is not run early, and runs once", async () => {
  const target = { url: node.url, queue: uniqueName("delay") };
  const sentAt = Date.now();
  await send(["--delay", "1500ms", "--id", "later", "Hello"], target);
  const command = ["sh", "-c", "date +%s%3N; cat; echo; echo $TASK_ID $TASK_ATTEMPT"];
  const worker = await finish("worker", ["--max-tasks", "1", "--", ...command], target);
  assertEquals(worker.code, 0, worker.stderr);
  const [, ranAt, ...rest] = /(\d+)\n.*?(Hello)\n.*?(later 1)/s.exec(
    worker.stdout + worker.stderr,
  )!;
  assertGreaterOrEqual(Number(ranAt), sentAt + 1_500);
  assertEquals(rest, ["Hello", "later 1"]);
  assertEquals(await takeAll(target.url, target.queue), []);
});

brokerTest(
  "a time that has passed is now; a later one waits in the longest step before it",
  async () => {
    const target = { url: node.url, queue: uniqueName("at") };
    await send(["--at", "2020-01-01T00:00:00Z", "overdue"], target);
    assertEquals((await takeOne(target.url, target.queue)).bodyString(), "overdue");
    const now = Date.now();
    const dueAt = now + 100 * 60_000;
    await send(["--at", new Date(dueAt).toISOString(), "--expiration", "1m", "later"], target);
    const waiting = await takeOne(target.url, `${target.queue}.delay.3600000`);
    // What the sender's clock says is left, less the hour.
    const left = Number(waiting.properties.headers?.["task-wait"]);
    assertGreaterOrEqual(40 * 60_000, left);
    assertGreaterOrEqual(left, 40 * 60_000 - (Date.now() - now));
    assertEquals(waiting.properties.headers?.["task-expires-in"], left + 60_000);
    assertEquals(waiting.properties.expiration, undefined);
  },
);

brokerTest("a task does not wait for a queue that is missing and must be there", async () => {
  const target = { url: node.url, queue: uniqueName("delay-missing") };
  const missing = await finish("new_task", ["--no-declare", "--delay", "1h", "x"], target);
  assertEquals(missing.code, 69);
  assertMatch(missing.stderr, /^new_task: .*no queue '.*'.*\n$/);
  await onChannel(node.url, (channel) => channel.queueDeclare(target.queue, { durable: true }));
  const nowhere = await finish("new_task", ["--no-declare", "--delay", "1h", "x"], target);
  assertEquals(nowhere.code, 69);
  assertMatch(nowhere.stderr, /^new_task: .*there is no queue ".*\.delay\.3600000" .*\n$/);
});

brokerTest("a queue that does not give tasks back is no delay queue", async () => {
  const target = { url: node.url, queue: uniqueName("delay-odd") };
  await onChannel(
    node.url,
    (channel) => channel.queueDeclare(`${target.queue}.delay.1000`, { durable: true }),
  );
  const refused = await finish("new_task", ["--delay", "1s", "x"], target);
  assertEquals(refused.code, 73);
  assertMatch(
    refused.stderr,
    /^new_task: the queue ".*\.delay\.1000" must be durable, have x-message-ttl=1000, .*\n$/,
  );
  await waitForReady(node.url, `${target.queue}.delay.1000`, 0);
});

brokerTest(
  "a task whose worker vanishes while it waits is not run early, and is no crash",
  async () => {
    for (const type of ["classic", "quorum"]) {
      const target = { url: node.url, queue: uniqueName(`delay-vanished-${type}`) };
      const headers = { "task-wait": 100 * 60_000 };
      await onChannel(node.url, async (channel) => {
        await channel.queueDeclare(target.queue, { durable: true }, { "x-queue-type": type });
        await channel.confirmSelect();
        await channel.basicPublish("", target.queue, "x", { deliveryMode: 2, headers });
      });
      await onChannel(node.url, (channel) => channel.basicGet(target.queue, { noAck: false }));
      await waitForReady(node.url, target.queue, 1);
      const args = ["--exit-when-empty", "--max-crashes", "1", "--max-attempts", "1"];
      const worker = await finish("worker", [...args, "--", "cat"], target);
      assertEquals([worker.code, worker.stdout], [
        0,
        ` [*] Waiting for messages. To exit press CTRL+C\n`,
      ]);
      const { properties } = await takeOne(target.url, `${target.queue}.delay.3600000`);
      assertEquals(properties.headers?.["task-wait"], 40 * 60_000);
      assertEquals(properties.headers?.["task-crashes"], undefined);
    }
  },
);
