/** A broker of our own, because it is limited, alarmed, killed and started again. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { brokerTest, type OwnNode, startNode } from "../support/broker.ts";
import { RabbitmqNode } from "../support/rabbitmq.ts";
import { tempDir, uniqueName } from "../support/temp.ts";
import { unless } from "../support/unless.ts";
import { waitUntil } from "../support/wait.ts";
import { look, onChannel, takeAll, waitForReady } from "../e2e/queue_view.ts";
import { done, finish, heldWork, received, send, start, stop } from "../e2e/tools.ts";

brokerTest("a broker that refuses, blocks and dies costs no confirmed task", async (t) => {
  await using node = await startNode({ maxMessageSize: 100_000 });
  const target = { url: node.url, queue: uniqueName("troubled") };
  await onChannel(
    target.url,
    (channel) =>
      channel.queueDeclare(target.queue, { durable: true }, { "x-queue-type": "quorum" }),
  );

  await t.step("a body over the broker's limit is bad data, one at the limit is sent", async () => {
    const limit = { ...target, stdin: new Uint8Array(100_000) };
    await send(["-"], limit);
    const refused = await finish("new_task", ["-"], { ...limit, stdin: new Uint8Array(100_001) });
    assertEquals([refused.code, refused.stdout], [65, ""]);
    assertMatch(refused.stderr, /^new_task: the broker refused the task: .*100001.*100000\n$/);
    await waitForReady(target.url, target.queue, 1);
    await takeAll(target.url, target.queue);
  });

  await alarmStep(t, "a memory alarm ends new_task at its --timeout", node, async (node) => {
    await node.setMemoryAlarm(true);
    // On a busy machine it may not come as far in that time.
    for (let seconds = 1, isBlocked = false; !isBlocked; seconds *= 2) {
      const args = ["--timeout", `${seconds}s`, "blocked"];
      const { code, stdout, stderr } = await finish("new_task", args, target);
      assertEquals([code, stdout], [75, ""]);
      isBlocked = stderr.includes("low on memory");
      const why = isBlocked ? "may be on the queue or not; .*low on memory" : ".*";
      assertMatch(stderr, new RegExp(`^new_task: .* within ${seconds} s: .*${why}\n$`));
    }
  });

  await alarmStep(t, "a task sent in the alarm is confirmed when that ends", node, async (node) => {
    await using sender = start("new_task", ["--timeout", "90s", "patient"], target);
    await using worker = start("worker", [], target);
    await worker.waitForLine(/Waiting/);
    assert(sender.running, "new_task did not wait for the end of the alarm");
    await node.setMemoryAlarm(false);
    assertEquals((await sender.ended()).stdout, " [x] Sent patient\n");
    await worker.waitForLine(/Received patient/);
    await stop(worker);
    await takeAll(target.url, target.queue);
  });

  await t.step("a worker outlives its killed broker and does every confirmed task", async () => {
    await using dir = await tempDir();
    const held = await heldWork(dir.path);
    const texts = ["first", "second", "third"];
    for (const text of texts.slice(0, 2)) await send([text], target);
    await using worker = start("worker", held.args, target);
    await worker.waitForLine(/Received first/);
    // Our broker writes that a task was delivered with the next commit: this one.
    await send([texts[2]!], target);
    await node.kill();
    const unsent = await finish("new_task", ["never"], target);
    assertEquals([unsent.code, unsent.stdout], [75, ""]);
    await worker.waitForLog(/trying again in/);
    await held.letGo();
    await worker.waitForLog(/orphaned-result/);
    await node.start();
    await worker.waitForLog(/connected again/, 60_000);
    await waitUntil("the queue to be empty", async () => {
      return received(worker).includes("third") && (await look(node.url, target.queue)).ready === 0;
    });
    await stop(worker);
    // The first one was finished while the broker was dead: it is reported, not done again.
    assertEquals(received(worker), texts);
    assertEquals(done(worker), texts.length);
    assertEquals(await takeAll(node.url, target.queue), []);
  });
});

/** A step with an alarm that can be raised and cleared, which only RabbitMQ has. */
async function alarmStep(
  t: Deno.TestContext,
  name: string,
  node: OwnNode,
  fn: (node: RabbitmqNode) => Promise<void>,
): Promise<void> {
  const possible = node instanceof RabbitmqNode;
  await t.step({
    ...unless(possible ? undefined : "our broker's alarm is its disk", name),
    fn: () => fn(node as RabbitmqNode),
  });
}
