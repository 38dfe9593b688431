/** Pauses between attempts are random. */
import { assertGreaterOrEqual } from "@std/assert";
import { brokerTest, sharedNode } from "../support/broker.ts";
import { tempDir } from "../support/temp.ts";
import { waitUntil } from "../support/wait.ts";
import { QueueBench } from "./bench.ts";

const { url } = await sharedNode();

brokerTest("tasks that fail together come back apart", async () => {
  await using dir = await tempDir("jitter-");
  await using bench = await QueueBench.open(url);
  const log = dir.file("log");
  for (let i = 0; i < 20; i++) await bench.send("x", { messageId: `t${i}` });
  const command = 'date +%s%3N >>"$LOG.$TASK_ATTEMPT"; exit 1';
  await using worker = bench.workerIn(
    { LOG: log },
    ...["--concurrency", "20", "--backoff", "5s", "--max-attempts", "2"],
    ...["--", "sh", "-c", command],
  );
  await waitUntil("all to be dead", async () => {
    try {
      return await bench.ready(`${bench.name}.dead`) === 20;
    } catch {
      return false; // not there yet
    }
  });
  worker.kill();
  await worker.ended();
  const [first, second] = [1, 2].map((attempt) => times(`${log}.${attempt}`));
  const spread = second!.at(-1)! - second![0]!;
  assertGreaterOrEqual(second![0]! - first![0]!, 5_000);
  // 20 numbers from 0 to 1 are never all within 0.4 (once in 10^6).
  assertGreaterOrEqual(spread, 400);
});

function times(file: string): number[] {
  return Deno.readTextFileSync(file).trim().split("\n").map(Number).sort();
}
