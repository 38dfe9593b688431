/** What other tools are known to fail at, with the whole worker on a real broker. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { RabbitmqClient, sharedRabbitmq } from "../support/rabbitmq.ts";
import { brokerTest, sharedNode } from "../support/broker.ts";
import { isAlive } from "../support/descendants.ts";
import { installed, spawn } from "../support/process.ts";
import { tempDir, uniqueName } from "../support/temp.ts";
import { toolCommand } from "../support/tools.ts";
import { waitUntil } from "../support/wait.ts";
import { declareQueue } from "../../src/amqp/declare.ts";
import { delayQueue, type QueueSpec } from "../../src/task/topology.ts";
import { QueueBench } from "./bench.ts";

const { url } = await sharedNode();

async function waitForEnd(pid: string): Promise<void> {
  await waitUntil(`process ${pid} to end`, () => !isAlive(Number(pid)));
}

brokerTest("a command that ignores TERM is killed with its children and tried again", async () => {
  await using bench = await QueueBench.open(url);
  await using dir = await tempDir();
  await bench.send("x", { messageId: "t" });
  // On a busy machine its time may be over before it has said anything.
  const command = `trap "" TERM; test -e ${dir.path}/hung && exit
    sleep 600 & echo pids $$ $!; : >${dir.path}/hung; sleep 600; sleep 600`;
  await using worker = bench.worker(
    ...["--timeout", "300ms", "--kill-after", "100ms", "--backoff", "100ms"],
    ...["--max-attempts", "1000", "--", "sh", "-c", command],
  );
  const [, ...pids] = await worker.waitForLog(/pids (\d+) (\d+)/);
  await worker.waitForLog(/done id=t attempt=\d/);
  worker.kill();
  assertEquals((await worker.ended()).code, 0);
  assertMatch(worker.stderr.join("\n"), /failed \(timeout\)[^]*done id=t attempt=/);
  for (const pid of pids) await waitForEnd(pid);
});

brokerTest("a grandchild that holds stdout holds up neither its task nor the next", async () => {
  await using bench = await QueueBench.open(url);
  await bench.send("", { messageId: "a" });
  await bench.send("", { messageId: "b" });
  await using worker = bench.worker(
    "--max-tasks",
    "2",
    "--",
    "sh",
    "-c",
    "sleep 600 & echo pid $!",
  );
  assertEquals((await worker.ended()).code, 0);
  const pids = worker.stderr.map((line) => line.match(/pid (\d+)$/)?.[1]).filter(Boolean);
  assertEquals(pids.length, 2);
  for (const pid of pids) await waitForEnd(pid!);
});

brokerTest("5 MB that a command does not read are no failure", async () => {
  await using bench = await QueueBench.open(url);
  await bench.send("x".repeat(5_000_000), { messageId: "t" });
  await using worker = bench.worker("--max-tasks", "1", "--", "true");
  assertEquals((await worker.ended()).code, 0);
  assertMatch(worker.stderr.join("\n"), /done id=t attempt=1/);
});

brokerTest("exit status 79 waits as long as it asks, and counts no attempt", async () => {
  await using bench = await QueueBench.open(url);
  await bench.send("", { messageId: "t" });
  await using worker = bench.worker(
    "--max-attempts",
    "1",
    "--max-tasks",
    "2",
    "--backoff",
    "100ms",
    "--",
    "sh",
    "-c",
    'grep -q task-hops "$TASK_META_FILE" && echo again $TASK_ATTEMPT && exit; ' +
      'echo 100ms >"$TASK_SNOOZE_FILE"; exit 79',
  );
  assertEquals((await worker.ended()).code, 0);
  assertMatch(worker.stderr.join("\n"), /waits 100 ms id=t attempt=1[^]*again 1[^]*done id=t/);
});

brokerTest("delay and dead queues may be classic, and dead tasks may expire", async () => {
  await using bench = await QueueBench.open(url);
  await bench.send("", { messageId: "t" });
  await using worker = bench.worker(
    "--delay-queue-type",
    "classic",
    "--dead-ttl",
    "1h",
    "--backoff",
    "50ms",
    "--max-attempts",
    "2",
    "--max-tasks",
    "2",
    "--",
    "false",
  );
  assertEquals((await worker.ended()).code, 0);
  const channel = await bench.transport.openChannel();
  // Refused if the queue is there with other arguments.
  const { messageCount } = await channel.queueDeclare(`${bench.name}.dead`, { durable: true }, {
    "x-message-ttl": 3_600_000,
  });
  assertEquals(messageCount, 1);
  await channel.queueDeclare(`${bench.name}.delay.50`, { durable: true }, {
    "x-message-ttl": 50,
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": bench.name,
  });
  await channel.close();
});

brokerTest("a delay queue may differ in what does no harm", async () => {
  await using bench = await QueueBench.open(url);
  // Of another type than wanted, and with a bound.
  await declareQueue(bench.transport, {
    name: `${bench.name}.delay.50`,
    arguments: { ...delayQueue(bench.name, 50, "classic").arguments, "x-max-length": 1_000 },
  });
  await bench.send("x", { messageId: "t" });
  await using worker = bench.worker(
    "--backoff",
    "50ms",
    "--max-tasks",
    "2",
    "--",
    "sh",
    "-c",
    "test $TASK_ATTEMPT = 2",
  );
  assertEquals((await worker.ended()).code, 0);
  assertMatch(worker.stderr.join("\n"), /waits 50 ms id=t attempt=1[^]*done id=t attempt=2/);
});

brokerTest("a delay queue that would lose tasks or keep them ends the worker with 73", async () => {
  const wrongs: [string, QueueSpec["arguments"]][] = [
    ["x-message-ttl", { "x-message-ttl": 60_000 }],
    ["x-dead-letter-routing-key", { "x-dead-letter-routing-key": "elsewhere" }],
    ["x-expires", { "x-expires": 3_600_000 }],
    ["durable", {}],
  ];
  for (const [argument, wrong] of wrongs) {
    await using bench = await QueueBench.open(url);
    const right = delayQueue(bench.name, 50, "classic");
    const { name } = right;
    await declareQueue(
      bench.transport,
      { name, arguments: { ...right.arguments, ...wrong } },
      { durable: argument !== "durable", autoDelete: false },
    );
    await bench.send("x", { messageId: "t" });
    // A supervisor starts it again and again; the task is not to blame, however often. What is
    // wrong with the queue makes no difference to that.
    for (let starts = argument === "durable" ? 4 : 1; starts > 0; starts--) {
      await using worker = bench.worker("--backoff", "50ms", "--", "false");
      const { code, stderr } = await worker.ended();
      assertEquals(code, 73, argument);
      assertMatch(
        stderr,
        new RegExp(
          `error: the worker ends: .*"${name}" must be durable, have x-message-ttl=50, have ` +
            `x-dead-letter-exchange="", have x-dead-letter-routing-key="${bench.name}", have no ` +
            `x-expires, and is another .*'${argument}'`,
        ),
      );
      assertEquals(stderr.match(/failed \(exit 1\)/g)?.length, 1, "it ran more than once");
      await waitUntil("the task to be back", async () => await bench.ready() === 1);
    }
    await bench.holds(0, name);
    const { properties } = (await bench.take())!;
    assertEquals([properties.messageId, properties.headers?.["task-dead-reason"]], [
      "t",
      undefined,
    ]);
  }
});

brokerTest("a worker that acknowledged early keeps a task that no delay queue takes", async () => {
  await using bench = await QueueBench.open(url);
  const name = `${bench.name}.delay.50`;
  await declareQueue(bench.transport, { name, arguments: { "x-queue-type": "quorum" } });
  await bench.send("x", { messageId: "t" });
  await using worker = bench.worker("--ack", "early", "--backoff", "50ms", "--", "false");
  assertEquals((await worker.ended()).code, 73);
  assertEquals((await bench.arrival(bench.name)).properties.messageId, "t");
});

brokerTest(
  "a worker that may not create the queues of failing tasks ends with 77",
  async () => {
    const node = await sharedRabbitmq();
    assert(node instanceof RabbitmqClient);
    await using bench = await QueueBench.open(url);
    const user = uniqueName("user");
    await node.eval(
      `rabbit_auth_backend_internal:add_user(<<"${user}">>, <<"secret">>, <<"tests">>),
        rabbit_auth_backend_internal:set_permissions(
          <<"${user}">>, <<"/">>, <<"^$">>, <<".*">>, <<".*">>, <<"tests">>).`,
    );
    const limited = new URL(url.replace("guest:guest", `${user}:secret`));
    for (const [status, fate] of [["1", "delay.50"], ["65", "dead"]] as const) {
      for (let start = 0; start < 4; start++) {
        if (start === 0) await bench.send("x", { messageId: "t" });
        await using worker = bench.workerIn(
          { AMQP_URL: limited.href },
          "--backoff",
          "50ms",
          "--",
          "sh",
          "-c",
          `exit ${status}`,
        );
        const { code, stderr } = await worker.ended();
        assertEquals(code, 77, stderr);
        assertMatch(
          stderr,
          new RegExp(`the worker ends: .*${bench.name}.${fate}".*ACCESS_REFUSED`),
        );
        await waitUntil("the task to be back", async () => await bench.ready() === 1);
      }
      assertEquals((await bench.take())?.properties.messageId, "t");
    }
    await node.eval(`rabbit_auth_backend_internal:delete_user(<<"${user}">>, <<"tests">>).`);
  },
  { only: "rabbitmq", because: "our broker has no permissions" },
);

brokerTest(
  "an operator's dead-letter policy on the work queue does not disturb retries",
  async () => {
    const node = await sharedRabbitmq();
    assert(node instanceof RabbitmqClient);
    await using bench = await QueueBench.open(url);
    const policy = {
      "dead-letter-exchange": "",
      "dead-letter-routing-key": `${bench.name}.dead`,
      "delivery-limit": 50,
    };
    const pattern = `^${bench.name.replaceAll(".", "\\.")}$`;
    const [name, regexp, rules] = [bench.name, pattern, JSON.stringify(policy)]
      .map((text) => `<<${JSON.stringify(text)}>>`);
    const put = `${name}, ${regexp}, ${rules}, 0, <<"queues">>, <<"tests">>`;
    assertEquals(await node.eval(`rabbit_policy:parse_set(<<"/">>, ${put}).`), "ok");
    await bench.send("", { messageId: "good" });
    await bench.send("", { messageId: "bad" });
    await using worker = bench.worker(
      "--backoff",
      "100ms",
      "--max-attempts",
      "2",
      "--max-tasks",
      "4",
      "--",
      "sh",
      "-c",
      'test "$TASK_ID$TASK_ATTEMPT" = good2',
    );
    assertEquals((await worker.ended()).code, 0);
    assertEquals((await bench.arrival(`${bench.name}.dead`)).properties.messageId, "bad");
    await bench.holds(0);
    await node.eval(`rabbit_policy:delete(<<"/">>, ${name}, <<"tests">>).`);
  },
  { only: "rabbitmq", because: "our broker has no policies" },
);

const noScript = installed("script") ? undefined : "script(1) is not installed";
(noScript ? Deno.test.ignore : brokerTest)(
  `worker queues --watch keeps its place on a terminal, and gives it back${
    noScript ? ` (ignored: ${noScript})` : ""
  }`,
  async () => {
    await using bench = await QueueBench.open(url);
    // exec: a shell that waits would end by the Ctrl-C itself, with 130.
    const command = ["exec", ...toolCommand("worker", ["queues", "--watch", "--queue"])];
    await using terminal = spawn("script", {
      args: ["-qec", `stty cols 80 rows 24; ${command.join(" ")} ${bench.name}`, "/dev/null"],
      env: { AMQP_URL: url, NO_COLOR: "1", TERM: "xterm" },
      stdin: "open",
    });
    const row = (numbers: string) => new RegExp(`^${bench.name} +${numbers} +0  \\S+\x1b\\[K\r?$`);
    await terminal.waitForLine(row("0( +0)?"));
    await bench.send("");
    await terminal.waitForLine(row("1 +\\+0\\.\\d"));
    await terminal.write("\x03");
    const { code, stdout } = await terminal.ended();
    assertEquals(code, 0);
    // deno-lint-ignore no-control-regex
    const [before, screen, after] = stdout.split(/\x1b\[\?1049[hl]/);
    assertEquals([before, after?.trim()], ["", ""]);
    assert(screen!.startsWith("\x1b[?25l") && screen!.endsWith("\x1b[?25h"), "the cursor");
    // deno-lint-ignore no-control-regex
    assert(!/\x1b\[(?:\d|;)*m|\x1b\[2J/.test(screen!), "a color, or a flicker");
    // deno-lint-ignore no-control-regex
    const lines = screen!.split("\r\n").map((line) => line.replace(/\x1b\[[?\d]*[A-Za-z]/g, ""));
    assert(lines.length > 2 && lines.every((line) => line.length < 80), "a line wraps");
  },
);

brokerTest("worker queues --watch ends when nobody reads it any more", async () => {
  await using bench = await QueueBench.open(url);
  const watch = toolCommand("worker", ["queues", "--watch", "--queue", bench.name]);
  await using pipe = spawn("sh", {
    args: ["-c", `${watch.join(" ")} | head -n 1`],
    env: { AMQP_URL: url },
  });
  const { stdout, stderr } = await pipe.ended();
  assertMatch(stdout, /^queue +ready +consumers\n$/);
  assertMatch(stderr, /^worker: stdout cannot be written any more: .*\n$/);
});
