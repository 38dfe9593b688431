/** How a worker takes, does, finishes and gives back tasks, with signals at every moment. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { run, type TestProcess } from "../support/process.ts";
import { Proxy } from "../support/proxy.ts";
import { brokerTest, sharedNode } from "../support/broker.ts";
import { tempDir, uniqueName } from "../support/temp.ts";
import { waitUntil } from "../support/wait.ts";
import {
  bytesOf,
  look,
  onChannel,
  takeAll,
  takeOne,
  waitForNothing,
  waitForReady,
} from "./queue_view.ts";
import {
  done,
  finishInShell,
  forEachRow,
  heldWork,
  received,
  send,
  start,
  stop,
  type ToolOptions,
} from "./tools.ts";

/** A task that outlives every test: a dot is a second. */
const LONG_TASK = `long ${".".repeat(600)}`;
const SIGNALS = [["SIGINT", 130], ["SIGTERM", 143]] as const;

const node = await sharedNode();

function freshQueue(name: string): ToolOptions & { url: string; queue: string } {
  return { url: node.url, queue: uniqueName(name) };
}

/** Publishes tasks without one process for each. */
async function put(queue: string, bodies: readonly (string | Uint8Array)[]): Promise<void> {
  await onChannel(node.url, async (channel) => {
    await channel.queueDeclare(queue, { durable: true }, { "x-queue-type": "quorum" });
    await channel.confirmSelect();
    for (const body of bodies) await channel.basicPublish("", queue, body, { deliveryMode: 2 });
  });
}

/** A worker in the middle of a task. */
async function busyWorker(
  target: ToolOptions & { queue: string },
  args: readonly string[] = [],
): Promise<TestProcess> {
  await put(target.queue, [LONG_TASK]);
  const worker = start("worker", args, target);
  await worker.waitForLine(/Received long/);
  return worker;
}

brokerTest("an idle worker ends with 0 at the first signal", async () => {
  await forEachRow(SIGNALS, ([signal]) => signal, async ([signal]) => {
    const target = freshQueue("idle");
    await using worker = start("worker", [], target);
    await worker.waitForLine(/Waiting/);
    worker.kill(signal);
    const { code, stdout, stderr } = await worker.ended();
    assertEquals({ code, stderr }, { code: 0, stderr: "" });
    assertEquals(stdout, " [*] Waiting for messages. To exit press CTRL+C\n");
    await waitForNothing(target.url, target.queue);
  });
});

Deno.test("a worker without a broker keeps trying, and ends with 0 at the first signal", async () => {
  using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const urls = ["amqp://u:sekret@127.0.0.1:1/", `amqp://u:sekret@127.0.0.1:${silent.addr.port}/`];
  await forEachRow(SIGNALS, ([signal]) => signal, async ([signal]) => {
    await using refused = start("worker", [], { url: urls[0]! });
    await refused.waitForLog(/connection refused; trying again in .*s$/);
    refused.kill(signal);
    const { code, stdout, stderr } = await refused.ended();
    assertEquals({ code, stdout }, { code: 0, stdout: "" });
    assert(!stderr.includes("sekret"), stderr);
  });
  await using waiting = start("worker", [], { url: `${urls[1]!}?connection_timeout=60000` });
  using _conn = await silent.accept();
  waiting.kill("SIGTERM");
  const { code, stdout } = await waiting.ended();
  assertEquals({ code, stdout }, { code: 0, stdout: "" });
});

brokerTest("the first signal lets the running task finish, and takes no other", async () => {
  await using dir = await tempDir("drain-");
  const held = await heldWork(dir.path);
  const target = freshQueue("drain");
  await put(target.queue, ["running", "next"]);
  await using worker = start("worker", held.args, target);
  await worker.waitForLine(/Received running/);
  worker.kill("SIGTERM");
  await worker.waitForLog(/^\S+ worker: no more tasks; waiting up to 25 s for 1 running$/);
  await held.letGo();
  assertEquals((await worker.ended()).code, 0);
  assertEquals([received(worker), done(worker)], [["running"], 1]);
  await waitForReady(target.url, target.queue, 1);
  assertEquals((await takeOne(target.url, target.queue)).bodyToString(), "next");
});

brokerTest("the second signal ends a worker at once, and its task goes to another", async () => {
  await forEachRow(SIGNALS, ([signal]) => signal, async ([signal, status]) => {
    const target = freshQueue("second");
    await using worker = await busyWorker(target);
    worker.kill(signal);
    await worker.waitForLog(/no more tasks/);
    // A signal that follows its equal at once is taken for an echo of it.
    await waitUntil("the worker to end", () => {
      worker.kill(signal);
      return !worker.running;
    });
    const { code, stdout } = await worker.ended();
    assertEquals([code, stdout.includes("Done")], [status, false]);
    await waitForReady(target.url, target.queue, 1);
    assertEquals((await takeOne(target.url, target.queue)).redelivered, true);
  });
});

brokerTest(
  "a task that outlasts --grace goes back, and the worker still ends with 0",
  async () => {
    await forEachRow(["0", "150ms"], (grace) => grace, async (grace) => {
      const target = freshQueue("grace");
      await using worker = await busyWorker(target, ["--grace", grace]);
      assert(!(await stop(worker)).stdout.includes("Done"));
      const task = await takeOne(target.url, target.queue);
      assertEquals([task.bodyToString(), task.redelivered], [LONG_TASK, true]);
    });
  },
);

brokerTest("kill -9 in the middle of a task loses nothing: another worker does it", async () => {
  await using dir = await tempDir("killed-");
  const target = freshQueue("killed");
  await put(target.queue, ["first.", "second", "third"]);
  await using victim = start("worker", (await heldWork(dir.path)).args, target);
  await victim.waitForLine(/Received first/);
  await using heir = start("worker", [], target);
  await heir.waitForLine(/Received third/);
  victim.kill("SIGKILL");
  assertEquals((await victim.ended()).signal, "SIGKILL");
  await heir.waitForLine(/Received first/);
  await waitUntil("three tasks to be done", () => done(heir) === 3);
  await stop(heir);
  assertEquals(received(heir).sort(), ["first.", "second", "third"]);
  assertEquals(await takeAll(target.url, target.queue), []);
});

brokerTest("a slow task does not hold back the 29 others, which two workers share", async () => {
  const target = freshQueue("fair");
  const slow = start("worker", ["--grace", "0"], target);
  await using _slow = slow;
  await put(target.queue, [LONG_TASK]);
  await slow.waitForLine(/Received long/);
  await using second = start("worker", [], target);
  await using third = start("worker", [], target);
  const fast = [second, third];
  for (const worker of fast) await worker.waitForLine(/Waiting/);
  const bodies = Array.from({ length: 29 }, (_, i) => `fast ${i}`);
  await put(target.queue, bodies);
  await waitUntil("29 tasks to be done", () => done(...fast) === 29);
  for (const worker of fast) {
    await stop(worker);
    // How many is a matter of which process the machine lets run.
    assert(done(worker) >= 1, `a worker did ${done(worker)} of 29`);
  }
  assertEquals(fast.flatMap(received).sort(), bodies.toSorted());
  assertEquals(done(slow), 0);
  await stop(slow);
  assertEquals((await takeOne(target.url, target.queue)).bodyToString(), LONG_TASK);
});

brokerTest("--concurrency 5 holds exactly five tasks, and gives all of them back", async () => {
  const target = freshQueue("five");
  const bodies = Array.from({ length: 7 }, (_, i) => `${LONG_TASK}${i}`);
  await put(target.queue, bodies);
  await using worker = start("worker", ["--concurrency", "5", "--grace", "0"], target);
  await waitUntil("five tasks to run", () => received(worker).length === 5);
  await waitForReady(target.url, target.queue, 2);
  const { stderr } = await stop(worker);
  assertMatch(stderr, /waiting up to 0 ms for 5 running/);
  assertEquals(received(worker).length, 5);
  await waitForReady(target.url, target.queue, 7);
  const back = await takeAll(target.url, target.queue);
  assertEquals(back.map((task) => task.bodyToString()).sort(), bodies.toSorted());
});

brokerTest("an orderly end loses no acknowledgement, however many come at once", async () => {
  const target = freshQueue("settled");
  const count = 150;
  await put(target.queue, Array.from({ length: count }, (_, i) => `${i}.`));
  await using worker = start("worker", ["--concurrency", `${count}`], target);
  await waitUntil("all tasks to run", () => received(worker).length === count);
  await stop(worker);
  assertEquals(done(worker), count);
  await waitForNothing(target.url, target.queue);
});

brokerTest("bodies of any bytes and size are done, and shown without harm", async () => {
  const target = freshQueue("bodies");
  await put(target.queue, [
    "",
    "two\nlines\x1b[2J\u202e",
    Uint8Array.of(0xff, 0xfe, 0x00),
    new Uint8Array(5_000_000).fill(0x61),
  ]);
  await using worker = start("worker", [], target);
  await waitUntil("four tasks to be done", () => done(worker) === 4);
  await stop(worker);
  assertEquals(received(worker), [
    "",
    "two\\nlines\\u{1b}[2J\\u{202e}",
    "3 bytes that are not UTF-8: ff fe 00",
    `5000000 bytes: ${"a".repeat(4096)}...`,
  ]);
  await waitForNothing(target.url, target.queue);
});

brokerTest("a worker makes a deleted queue anew and goes on", async () => {
  const target = freshQueue("deleted");
  await using worker = start("worker", [], target);
  await worker.waitForLine(/Waiting/);
  await onChannel(target.url, (channel) => channel.queueDelete(target.queue));
  await worker.waitForLog(/cancelled the consumer of the queue .*; trying again in/);
  await worker.waitForLog(/connected again/);
  await send(["after"], target);
  await worker.waitForLine(/Received after/);
  await stop(worker);
});

brokerTest(
  "with --no-declare a worker waits until somebody else makes the queue again",
  async () => {
    const target = freshQueue("undeclared");
    await put(target.queue, []);
    await using worker = start("worker", ["--no-declare"], target);
    await worker.waitForLine(/Waiting/);
    await onChannel(target.url, (channel) => channel.queueDelete(target.queue));
    await worker.waitForLog(/cannot use the queue .*NOT_FOUND.*; trying again in/);
    await put(target.queue, ["after"]);
    await worker.waitForLine(/Received after/);
    await stop(worker);
  },
);

brokerTest(
  "a classic queue that exists is used, with the older tutorials' declaration",
  async () => {
    const target = freshQueue("classic");
    await onChannel(target.url, (channel) => channel.queueDeclare(target.queue, { durable: true }));
    await send(["old"], target);
    await using worker = start("worker", [], target);
    await worker.waitForLine(/Received old/);
    assertEquals((await stop(worker)).stderr, "");
  },
);

brokerTest(
  "a worker started before its broker, or cut off from it, comes back by itself",
  async () => {
    await using dir = await tempDir("cut-");
    const held = await heldWork(dir.path);
    await using proxy = await Proxy.start(node.port);
    const target = { url: proxy.url, queue: uniqueName("cut") };
    proxy.refuse();
    await using worker = start("worker", held.args, target);
    await worker.waitForLog(/trying again in/);
    proxy.heal();
    await worker.waitForLine(/Waiting/);

    await put(target.queue, ["cut off"]);
    await worker.waitForLine(/Received cut off/);
    await proxy.cut();
    await worker.waitForLog(/connected again/);
    await held.letGo();
    // The broker gives the task to the next connection; the finished first run cannot be reported.
    await worker.waitForLog(/orphaned-result: a task is finished, but the connection/);
    await waitUntil("the task to be done again", () => done(worker) === 2);
    await stop(worker);
    assertEquals(received(worker), ["cut off", "cut off"]);
    assertEquals(await takeAll(node.url, target.queue), []);
  },
);

brokerTest(
  "a finished task with an id that comes back after a cut is not done again",
  async () => {
    await using dir = await tempDir("once-");
    const held = await heldWork(dir.path);
    await using proxy = await Proxy.start(node.port);
    const target = { url: proxy.url, queue: uniqueName("once") };
    await send(["once"], { url: node.url, queue: target.queue });
    await using worker = start("worker", held.args, target);
    await worker.waitForLine(/Received once/);
    proxy.refuse();
    await proxy.cut();
    await worker.waitForLog(/trying again in/);
    await held.letGo();
    await worker.waitForLog(/orphaned-result/);
    proxy.heal();
    await send(["last"], { url: node.url, queue: target.queue });
    await worker.waitForLine(/Received last/);
    await stop(worker);
    assertEquals(received(worker), ["once", "last"]);
    assertEquals(await takeAll(node.url, target.queue), []);
  },
);

brokerTest(
  "cuts in the middle of a task start no second run beside it",
  async () => {
    await forEachRow(["1", "3"], (concurrency) => concurrency, async (concurrency) => {
      await using proxy = await Proxy.start(node.port);
      const target = { url: proxy.url, queue: uniqueName("flapping") };
      await send(["flapping ..."], { url: node.url, queue: target.queue });
      await using worker = start("worker", ["--concurrency", concurrency], target);
      await worker.waitForLine(/Received flapping/);
      for (let cut = 1; cut <= 2; cut++) {
        await proxy.cut();
        await waitUntil("the worker to be back", () => {
          return worker.stderr.filter((line) => line.endsWith("connected again")).length === cut;
        });
      }
      await worker.waitForLine(/Done/);
      await send(["last"], { url: node.url, queue: target.queue });
      await worker.waitForLine(/Received last/);
      await stop(worker);
      assertEquals(received(worker), ["flapping ...", "last"]);
      assertEquals(await takeAll(node.url, target.queue), []);
    });
  },
);

brokerTest("with --ack early a worker holds the tasks that run, and no other", async () => {
  const target = freshQueue("early");
  await put(target.queue, [LONG_TASK, "short .", LONG_TASK, LONG_TASK]);
  const args = ["--ack", "early", "--concurrency", "2", "--grace", "0"];
  await using worker = start("worker", args, target);
  await waitUntil("three tasks to be taken", () => received(worker).length === 3);
  await waitUntil("the last one to be left alone", async () => {
    const { ready, consumers } = await look(target.url, target.queue);
    return ready === 1 && consumers === 0;
  });
  await stop(worker);
  assertEquals(received(worker).length, 3);
  // The interrupted ones were acknowledged, and are published again.
  await waitForReady(target.url, target.queue, 3);
});

brokerTest(
  "a task in the drain is finished, even when its connection is lost meanwhile",
  async () => {
    await using dir = await tempDir("drain-");
    const held = await heldWork(dir.path);
    await using proxy = await Proxy.start(node.port);
    const target = { url: proxy.url, queue: uniqueName("drain-cut") };
    await put(target.queue, ["finish me"]);
    await using worker = start("worker", held.args, target);
    await worker.waitForLine(/Received finish/);
    worker.kill("SIGTERM");
    await worker.waitForLog(/no more tasks/);
    await proxy.cut();
    await waitForReady(node.url, target.queue, 1);
    await held.letGo();
    const { code, stdout } = await worker.ended();
    assertEquals([code, stdout.split("\n").at(-2)], [0, " [x] Done"]);
    await waitForReady(node.url, target.queue, 1);
  },
);

brokerTest("a worker whose stdout is closed or full goes on working", async () => {
  await forEachRow([">&-", ">/dev/full"], (redirection) => redirection, async (redirection) => {
    const target = freshQueue("stdout");
    await put(target.queue, ["a", "b"]);
    const line = `"$@" ${redirection}`;
    const args = ["--max-tasks", "2"];
    const { code, stderr } = await finishInShell(line, "worker", args, target.url, target.queue);
    assertEquals(code, 0, stderr);
    await waitForReady(target.url, target.queue, 0);
  });
});

brokerTest(
  "a worker whose stdout nobody reads waits with its tasks, and still ends",
  async () => {
    const target = freshQueue("stalled");
    const bodies = Array.from({ length: 100 }, (_, i) => `${i} ${"x".repeat(3_900)}`);
    await put(target.queue, bodies);
    await using dir = await tempDir("stalled-");
    const fifo = `${dir.path}/stdout`;
    assertEquals((await run("mkfifo", { args: [fifo] })).code, 0);
    // Opened for reading too: a pipe with a reader who does not read. It takes 64 KiB, 16 tasks.
    const line = `"$@" --grace 1s 1<>${fifo} & pid=$!; read -r go; kill $pid; wait $pid`;
    const ready = async () => (await look(target.url, target.queue)).ready;
    const url = `${target.url}?heartbeat=1`;
    const worker = finishInShell(line, "worker", [], url, target.queue, async () => {
      let before = bodies.length;
      await waitUntil("more tasks than the pipe holds to be taken, and no more", async () => {
        const [last, now] = [before, await ready()];
        before = now;
        return now < bodies.length - 16 && now === last;
      });
    });
    const { code, stderr } = await worker;
    assertEquals(code, 0, stderr);
    assert(await ready() >= 40, "it kept more than three times 64 KiB for nobody");
  },
);

brokerTest("exactly the bytes that new_task sent are what a worker gets", async () => {
  const target = freshQueue("exact");
  const body = Uint8Array.from({ length: 256 }, (_, i) => i === 0x2e ? 0 : i);
  await send(["-"], { ...target, stdin: body });
  await using worker = start("worker", ["--grace", "0"], target);
  await worker.waitForLine(/256 bytes that are not UTF-8: 00 01 02/);
  await stop(worker);
  await send(["-"], { ...target, stdin: body });
  assertEquals(bytesOf(await takeOne(target.url, target.queue)), body);
});
