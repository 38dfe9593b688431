/** What a command that a worker runs can rely on. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { brokerTest, sharedNode } from "../support/broker.ts";
import { isAlive } from "../support/descendants.ts";
import { writeExecutable, writerOf } from "../support/executable.ts";
import { tempDir, uniqueName } from "../support/temp.ts";
import { waitUntil } from "../support/wait.ts";
import { takeAll, waitForReady } from "./queue_view.ts";
import { commandOf, finish, finishInShell, send, start } from "./tools.ts";

const node = await sharedNode();

function freshQueue(name: string): { url: string; queue: string } {
  return { url: node.url, queue: uniqueName(name) };
}

/** Arguments of a worker that does what is there and ends; it runs a text of sh. */
function once(text: string, ...args: string[]): string[] {
  return ["--exit-when-empty", "--output", "inherit", ...args, "--", "sh", "-c", text, "sh"];
}

brokerTest("a command sends the next task to the worker's broker with --pass-url", async () => {
  await using dir = await tempDir("chain-");
  const password = dir.file("password");
  await Deno.writeTextFile(password, "guest\n");
  // Its file is found from another directory, too.
  const broker = new URL(node.url);
  broker.password = "wrong";
  const first = freshQueue("first");
  const next = uniqueName("next");
  await send(["one"], first);
  const args = once('cd / && "$@"', "--pass-url", "--password-file", password);
  const { code, stderr } = await finish("worker", [
    ...args,
    ...commandOf("new_task", ["--queue", next, "two"]),
  ], { ...first, url: broker.href });
  assertEquals(code, 0, stderr);
  const sent = await takeAll(node.url, next);
  assertEquals(sent.map((task) => task.bodyToString()), ["two"]);
});

brokerTest("a command sees neither the worker's broker nor its queue", async () => {
  const target = freshQueue("unseen");
  await send(["one"], target);
  const { code, stdout } = await finish("worker", once("env"), target);
  assertEquals(code, 0);
  assertStringIncludes(stdout, `TASK_QUEUE=${target.queue}\n`);
  for (const name of ["AMQP_URL", "WORK_QUEUE", "TASK_COLOUR"]) {
    assertEquals(stdout.split("\n").filter((line) => line.startsWith(`${name}=`)), [], name);
  }
});

brokerTest("a variable that is not UTF-8 reaches commands as it is", async () => {
  const target = freshQueue("bytes");
  await send(["one"], target);
  const line = `LATIN=$(printf 'gr\\374n') TASK_COLOUR=blue exec "$@"`;
  const command = 'printf %s "$LATIN" | od -An -tx1; echo "[$TASK_COLOUR]"';
  const { code, stdout } = await finishInShell(
    line,
    "worker",
    once(command),
    target.url,
    target.queue,
  );
  assertEquals(code, 0);
  // The worker's own line may come before theirs, or behind.
  const lines = stdout.trimEnd().split("\n").filter((line) => !line.includes("Waiting"));
  assertEquals(lines, [" 67 72 fc 6e", "[]"]);
});

brokerTest("signals that end a worker at once end its command, too", async () => {
  for (const [signal, status] of [["SIGQUIT", 131], ["SIGUSR1", 138]] as const) {
    const target = freshQueue("abrupt");
    await send(["one"], target);
    await using worker = start("worker", ["--", "sh", "-c", "echo is $$; sleep 600"], target);
    const [, pid] = await worker.waitForLog(/is (\d+)$/);
    await waitUntil("the worker to end", () => {
      worker.kill(signal);
      return !worker.running;
    });
    assertEquals((await worker.ended()).code, status);
    await waitUntil("the command to end", () => !isAlive(Number(pid)));
    await waitForReady(node.url, target.queue, 1);
  }
});

brokerTest(
  "what is no program, or cannot be executed now, ends the worker and no task",
  async () => {
    await using dir = await tempDir("unable-");
    const target = freshQueue("unable");
    const job = dir.file("job");
    const worker = (...args: string[]) =>
      finish("worker", ["--exit-when-empty", "--max-attempts", "1", ...args], target);
    await finish("new_task", ["--lines"], { ...target, stdin: "1\n2\n3\n" });

    // Before the first task: a copy that a full disk has cut off.
    writeExecutable(job, "");
    const empty = await worker("--", job);
    assertEquals(empty.code, 126);
    assertStringIncludes(empty.stderr, "it is empty");

    // Between two tasks: the first one empties the file behind it.
    const run =
      `#!/bin/sh\ncat >>${dir.path}/done; mv ${job} ${job}.old; : >${job}; chmod +x ${job}\n`;
    writeExecutable(job, run);
    await Deno.writeTextFile(`${dir.path}/done`, "");
    const changed = await worker("--concurrency", "1", "--", job);
    assertEquals(changed.code, 126, changed.stderr);
    await waitForReady(node.url, target.queue, 3);

    // While somebody writes it; with a launcher, and without.
    writeExecutable(job, await Deno.readFile("/bin/true"));
    for (const output of ["prefix", "inherit"]) {
      await using _writer = await writerOf(job);
      const busy = await worker("--output", output, "--concurrency", "2", "--", job);
      assertEquals(busy.code, 126, busy.stderr);
      assertStringIncludes(busy.stderr, "text file busy");
    }
    await waitForReady(node.url, target.queue, 3);
    const good = await worker("--", job);
    assertEquals(good.code, 0, good.stderr);
    assertEquals(good.stderr.split("\n").filter((line) => / done id=/.test(line)).length, 3);
  },
);
