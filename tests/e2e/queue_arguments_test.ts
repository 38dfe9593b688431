/** Queues with arguments of their own, and workers that come second. */
import { assertEquals, assertMatch } from "@std/assert";
import { brokerTest, sharedNode } from "../support/broker.ts";
import { uniqueName } from "../support/temp.ts";
import { waitUntil } from "../support/wait.ts";
import { look, waitForReady } from "./queue_view.ts";
import { done, finish, received, send, start, stop } from "./tools.ts";

const node = await sharedNode();

brokerTest("a priority queue is made by either tool, and gives the urgent task first", async () => {
  const priority = ["--queue-type", "classic", "--queue-arg", "x-max-priority=5"];
  const target = { url: node.url, queue: uniqueName("priority") };
  await send([...priority, "--priority", "1", "low"], target);
  await send([...priority, "--priority", "5", "high"], target);
  await waitForReady(target.url, target.queue, 2);
  await using worker = start("worker", [...priority, "--max-tasks", "2"], target);
  assertEquals((await worker.ended()).code, 0);
  assertEquals(received(worker), ["high", "low"]);
  // As it is for whoever asks for nothing.
  await send(["again"], target);
});

brokerTest("a queue without what is asked for is a conflict, for either tool", async () => {
  const target = { url: node.url, queue: uniqueName("priority") };
  await send(["--queue-type", "classic", "x"], target);
  const args = ["--queue-type", "classic", "--queue-arg", "x-max-priority=5"];
  for (const tool of ["new_task", "worker"] as const) {
    const { code, stderr } = await finish(tool, args, target);
    assertEquals(code, 73, stderr);
    assertMatch(stderr, /must have x-max-priority=5, and is another/);
    const quorum = await finish(tool, ["--queue-arg", "x-max-priority=5"], target);
    assertEquals([quorum.code, quorum.stderr], [
      64,
      `${tool}: a queue with x-max-priority must be classic, and would be quorum: ` +
      "--queue-type classic\n",
    ]);
  }
  const missing = { ...target, queue: uniqueName("priority") };
  const bad = ["--queue-type", "classic", "--queue-arg", "x-max-priority=hundreds", "x"];
  const { code, stderr } = await finish("new_task", bad, missing);
  assertEquals(code, 73, stderr);
  assertMatch(stderr, /cannot create the queue .*x-max-priority/);
});

brokerTest("a standby worker gets tasks only while the others are busy", async () => {
  const target = { url: node.url, queue: uniqueName("standby") };
  await send(["first"], target);
  await using standby = start("worker", ["--consumer-priority=-1"], target);
  await standby.waitForLine(/Received first/);
  await waitUntil("its end", () => done(standby) === 1);
  await using main = start("worker", ["--concurrency", "3"], target);
  await waitUntil("two workers", async () => {
    return (await look(target.url, target.queue)).consumers === 2;
  });
  for (const text of ["a", "b", "c"]) await send([`${text}${".".repeat(60)}`], target);
  await waitUntil("all to be with the first", () => received(main).length === 3);
  await send(["spill"], target);
  await standby.waitForLine(/Received spill/);
  assertEquals(received(standby), ["first", "spill"]);
  await stop(standby);
  main.kill("SIGQUIT");
  await main.ended();
});
