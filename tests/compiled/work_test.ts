/** The compiled worker does real work: commands, modules, the dead queue. */
import { assertEquals, assertMatch } from "@std/assert";
import { brokerTest, sharedNode } from "../support/broker.ts";
import { spawn, type TestProcess } from "../support/process.ts";
import { tempDir } from "../support/temp.ts";
import { QueueBench } from "../worker/bench.ts";

const worker = new URL("../../dist/worker", import.meta.url).pathname;
const { url } = await sharedNode();

/** Starts dist/worker in a folder, with nothing in its environment but PATH and the broker. */
function start(folder: string, ...args: string[]): TestProcess {
  const env = [`PATH=/usr/bin:/bin`, `TMPDIR=${folder}`, `AMQP_URL=${url}`];
  return spawn("/usr/bin/env", { args: ["-i", "-C", folder, ...env, worker, ...args] });
}

brokerTest("compiled worker runs commands, retries them and ends them in time", async () => {
  await using temp = await tempDir();
  await using bench = await QueueBench.open(url);
  await bench.send("body of a", { messageId: "a" });
  await bench.send("", { messageId: "b" });
  await bench.send("", { messageId: "c" });
  await using process = start(
    temp.path,
    ...["--queue", bench.name, "--max-tasks", "4", "--backoff", "100ms", "--max-attempts", "2"],
    ...["--timeout", "1s", "--dedupe-file", "done.db", "--output", "file:.", "--", "sh", "-c"],
    // The first one is done, the second one at its second attempt, the third one takes too long.
    "cat; case $TASK_ID in b) exit $((2 - TASK_ATTEMPT));; c) sleep 600 & wait;; esac",
  );
  const { code, stderr } = await process.ended();
  assertEquals(code, 0, stderr);
  assertMatch(stderr, /done id=a attempt=1[^]*done id=b attempt=2/);
  assertMatch(stderr, /failed \(timeout\), waits 100 ms id=c attempt=1/);
  assertEquals(await Deno.readTextFile(temp.file("a.1.stdout")), "body of a");
  const left = Array.from(Deno.readDirSync(temp.path), ({ name }) => name);
  assertEquals(left.filter((name) => name.startsWith("worker-")), []);
});

brokerTest("compiled worker calls a JavaScript module, with what that imports", async () => {
  await using temp = await tempDir();
  await using bench = await QueueBench.open(url);
  await Deno.writeTextFile(temp.file("greet.mjs"), "export const greet = (to) => `hello ${to}`;");
  await Deno.writeTextFile(
    temp.file("handler.mjs"),
    `import { greet } from "./greet.mjs";
    import { basename } from "node:path";
    export default (task, { log }) => log(greet(basename(task.text())));`,
  );
  await bench.send("/some/body", { messageId: "a" });
  const args = ["--queue", bench.name, "--max-tasks", "1", "--handler"];
  await using process = start(temp.path, ...args, "handler.mjs");
  const { code, stderr } = await process.ended();
  assertEquals(code, 0, stderr);
  assertMatch(stderr, /hello body id=a/);

  await Deno.writeTextFile(temp.file("handler.ts"), "export default (task: unknown): void => {};");
  await using typed = start(temp.path, ...args, "handler.ts");
  const refused = await typed.ended();
  assertEquals(refused.code, 65);
  assertMatch(refused.stderr, /takes JavaScript only/);
});

brokerTest("compiled worker lists and replays the dead, and shows its queues", async () => {
  await using temp = await tempDir();
  await using bench = await QueueBench.open(url);
  await bench.send("x", { messageId: "a" });
  await using process = start(
    temp.path,
    ...["--queue", bench.name, "--max-tasks", "1", "--shell", "exit 65"],
  );
  assertEquals((await process.ended()).code, 0);
  await using listed = start(temp.path, "dead", "ls", "--queue", bench.name);
  assertMatch((await listed.ended()).stdout, /^a dead-reason="rejected"/);
  await using replayed = start(temp.path, "dead", "replay", "--queue", bench.name);
  assertMatch((await replayed.ended()).stdout, /replayed 1\n$/);
  await using queues = start(temp.path, "queues", "--queue", bench.name);
  assertMatch((await queues.ended()).stdout, new RegExp(`^${bench.name} +1 +0$`, "m"));
});

brokerTest("compiled worker ends by SIGUSR1 and opens no debugger", async () => {
  await using temp = await tempDir();
  await using bench = await QueueBench.open(url);
  await using process = start(temp.path, "--queue", bench.name, "--", "true");
  await process.waitForLine(/Waiting/);
  process.kill("SIGUSR1");
  const { code, stderr } = await process.ended();
  assertEquals(code, 138, stderr);
  assertEquals(stderr.includes("Debugger listening"), false);
});
