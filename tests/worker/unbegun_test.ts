/** What was delivered to a worker and not begun costs the task nothing, however the worker ends. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { brokerTest, sharedNode } from "../support/broker.ts";
import { tempDir } from "../support/temp.ts";
import { waitUntil } from "../support/wait.ts";
import { QueueBench } from "./bench.ts";

const { url } = await sharedNode();

/** Runs that wrote a line when they began. */
function begun(file: string): string[] {
  return Deno.readTextFileSync(file).trim().split("\n");
}

brokerTest(
  "workers with a limit below their concurrency bury nothing, and lose nothing",
  async () => {
    const rows: [body: string, concurrency: string, maxCrashes: string][] = [
      ["x".repeat(400_000), "10", "3"],
      // The first start is written down, too.
      ["x", "50", "1"],
    ];
    const tasks = 6;
    for (const [body, concurrency, maxCrashes] of rows) {
      await using bench = await QueueBench.open(url);
      for (let i = 0; i < tasks; i++) await bench.send(body, { messageId: `t${i}` });
      let done = 0;
      for (let worker = 0; worker < tasks; worker++) {
        await using process = bench.worker(
          ...["--concurrency", concurrency, "--max-tasks", "1", "--max-crashes", maxCrashes],
          ...["--", "wc", "-c"],
        );
        const { code, stderr } = await process.ended();
        assertEquals(code, 0, stderr);
        done += stderr.match(/ done /g)?.length ?? 0;
      }
      assertEquals(done, tasks);
      await waitUntil("nothing to be left", async () => await bench.ready() === 0);
    }
  },
);

brokerTest("a limit that is near lets no more tasks come than will be run", async () => {
  await using bench = await QueueBench.open(url);
  for (let i = 0; i < 20; i++) await bench.send("x", { messageId: `t${i}` });
  await using process = bench.worker("--concurrency", "10", "--max-tasks", "3", "--", "true");
  assertEquals((await process.ended()).code, 0);
  for (let i = 3; i < 20; i++) {
    const found = await bench.arrival(bench.name);
    assertEquals([found.properties.messageId, count(found.properties.headers)], [`t${i}`, 0]);
  }
});

/** What brokers say of earlier deliveries. */
function count(headers: Record<string, unknown> = {}): number {
  return Number(headers["x-delivery-count"] ?? 0);
}

brokerTest(
  "only the starts of a task count, when workers are killed that had more than that",
  async () => {
    for (const classic of [false, true]) {
      await using dir = await tempDir("unbegun-");
      await using bench = await QueueBench.open(url, classic ? {} : undefined);
      const log = dir.file("log");
      for (const messageId of ["a", "b"]) await bench.send("x", { messageId });
      // The rate keeps the second task here, unbegun, while the first one kills the worker.
      const rate = ["--concurrency", "2", "--rate", "3/h"];
      for (let crash = 0; crash < 3; crash++) {
        await using worker = bench.workerIn(
          { LOG: log },
          ...[...rate, "--", "sh", "-c", 'echo $TASK_ID >>"$LOG"; kill -KILL $PPID'],
        );
        assertEquals((await worker.ended()).signal, "SIGKILL");
      }
      assertEquals(begun(log).length, 3);
      await using survivor = bench.worker("--exit-when-empty", "--", "true");
      const { code, stderr } = await survivor.ended();
      assertEquals(code, 0, stderr);
      for (const id of ["a", "b"]) {
        const starts = begun(log).filter((started) => started === id).length;
        const expected = starts < 3 ? `done id=${id}` : `crash-loop id=${id}`;
        assertStringIncludes(stderr, expected, classic ? "classic" : "quorum");
      }
    }
  },
);

brokerTest("tasks that somebody has only looked at are no crash loops", async () => {
  await using bench = await QueueBench.open(url);
  for (const messageId of ["a", "b", undefined]) {
    await bench.send("x", messageId === undefined ? {} : { messageId });
  }
  for (let look = 0; look < 5; look++) {
    const channel = await bench.transport.openChannel();
    for (let i = 0; i < 3; i++) await channel.basicGet(bench.name, { noAck: false });
    await channel.close();
    await waitUntil("all to be back", async () => await bench.ready() === 3);
  }
  await using worker = bench.worker("--max-tasks", "3", "--max-crashes", "1", "--", "true");
  const { code, stderr } = await worker.ended();
  assertEquals([code, stderr.match(/ done /g)?.length], [0, 3], stderr);
});
