/** What a worker keeps of large tasks that are done. */
import { assertEquals } from "@std/assert";
import { parseUrls } from "../../src/amqp/url.ts";
import { createLogger } from "../../src/observe/log.ts";
import { DONE, type Outcome } from "../../src/task/handler.ts";
import type { Task } from "../../src/task/task.ts";
import { Worker } from "../../src/worker/worker.ts";
import { brokerTest, sharedNode } from "../support/broker.ts";
import { within } from "../support/wait.ts";
import { QueueBench } from "./bench.ts";

const { url } = await sharedNode();
const LARGE = "large".repeat(100_000);
const FAILED: Outcome = { kind: "failed", reason: "first" };

for (const freeBodies of [true, false]) {
  const what = freeBodies ? "given back" : "left to a handler that may keep it";
  brokerTest(`the memory of a large body is ${what} when its task is done`, async () => {
    await using bench = await QueueBench.open(url);
    await bench.send("small", { messageId: "small" });
    await bench.send(LARGE, { messageId: "large" });
    const tasks: Task[] = [];
    const bodies: string[] = [];
    const worker = new Worker({
      endpoints: parseUrls(url),
      identity: { name: "test", version: "0" },
      queues: [{
        policy: { name: bench.name, type: "quorum", strict: false, create: true },
        prefetch: 1,
      }],
      handler: (task) => {
        tasks.push(task);
        bodies.push(new TextDecoder().decode(task.body));
        return Promise.resolve(tasks.length === 2 ? FAILED : DONE);
      },
      freeBodies,
      log: createLogger({ name: "test", write: () => {} }),
      retries: { maxAttempts: 2, backoffMs: [10], jitter: 0, maxCrashes: 3 },
      hostname: "test",
      maxTasks: 3,
    });
    assertEquals(await within("the worker to end", worker.run()), 0);
    assertEquals(bodies, ["small", LARGE, LARGE]);
    // Of the copy that is made of the first attempt parts may still be on their way.
    const kept = freeBodies ? 0 : LARGE.length;
    assertEquals(tasks.map(({ body }) => body.length), ["small".length, LARGE.length, kept]);
  });
}
