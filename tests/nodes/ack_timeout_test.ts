/** Tasks that run longer than the broker waits for their acknowledgement. */
import { assertEquals } from "@std/assert";
import { ackTimeoutRemedy } from "../../src/amqp/ack_timeout.ts";
import { brokerTest, startNode } from "../support/broker.ts";
import { RabbitmqNode } from "../support/rabbitmq.ts";
import { run } from "../support/process.ts";
import { tempDir } from "../support/temp.ts";
import { QueueBench } from "../worker/bench.ts";

brokerTest("tasks that outlast the broker's acknowledgement timeout", async (t) => {
  await using node = await startNode({ consumerTimeout: 1 });
  await using dir = await tempDir();

  await t.step("run once here, and the log says what to do", async () => {
    await using bench = await QueueBench.open(node.url);
    await bench.send("long", { messageId: "long" });
    await using worker = bench.worker(
      ...["--", "sh", "-c", `echo begun; while [ ! -e ${dir.file("go")} ]; do sleep 0.02; done`],
    );
    await worker.waitForLog(/begun/);
    await worker.waitForLog(/delivery acknowledgement on channel \d+ timed out.*trying again in/);
    await worker.waitForLog(
      /ran longer than the broker waits .* keep --timeout below .* --ack early/,
    );
    await worker.waitForLog(/connected again/);
    await Deno.writeTextFile(dir.file("go"), "");
    await worker.waitForLog(/orphaned-result/);
    await bench.send("next", { messageId: "next" });
    await worker.waitForLog(/done id=next/);
    worker.kill();
    assertEquals((await worker.ended()).code, 0);
    assertEquals(worker.stderr.filter((line) => line === "[long] begun").length, 1);
    await bench.holds(0);
  });

  await t.step("are not delivered twice with --ack early", async () => {
    await using bench = await QueueBench.open(node.url);
    await bench.send("long", { messageId: "long" });
    await bench.send("short", { messageId: "short" });
    await using worker = bench.worker(
      ...["--ack", "early", "--max-tasks", "2"],
      ...["--", "sh", "-c", 'echo begun; test "$TASK_ID" = short || sleep 3'],
    );
    const { code, stderr } = await worker.ended();
    assertEquals(code, 0, stderr);
    assertEquals(stderr.match(/begun$/gm)?.length, 2);
    assertEquals(stderr.includes("timed out"), false, stderr);
    await bench.holds(0);
  });

  await t.step("have longer on the queue that the policy in the log is set for", async () => {
    if (!(node instanceof RabbitmqNode)) return;
    const version = await node.rabbitmqctl("version");
    if (/^3\.([0-9]|1[01])\./.test(version)) return;
    await using bench = await QueueBench.open(node.url);
    const remedy = ackTimeoutRemedy(bench.name, "/", 600_000);
    const [, command] = remedy.match(/with (rabbitmqctl .*) \(RabbitMQ/)!;
    const { stdout } = await run("/bin/sh", {
      args: ["-c", `rabbitmqctl() { printf '%s\\n' "$@"; }; ${command}`],
    });
    await node.rabbitmqctl(...stdout.trimEnd().split("\n"));
    await bench.send("long", { messageId: "long" });
    await using worker = bench.worker("--max-tasks", "1", "--", "sleep", "4");
    assertEquals((await worker.ended()).stderr.includes("timed out"), false);
  });
});
