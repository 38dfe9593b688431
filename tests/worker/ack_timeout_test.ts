/** Tasks that may run longer than the broker waits for their acknowledgement. */
import { assertEquals, assertMatch } from "@std/assert";
import { ackTimeoutRemedy } from "../../src/amqp/ack_timeout.ts";
import { brokerTest, sharedNode } from "../support/broker.ts";
import { run } from "../support/process.ts";
import { QueueBench } from "./bench.ts";

brokerTest("what may take longer than RabbitMQ's half hour is warned of at the start", async () => {
  await using bench = await QueueBench.open((await sharedNode()).url);
  const rows: [string[], RegExp | undefined][] = [
    [["--timeout", "29m", "--rate", "1/s"], undefined],
    [["--timeout", "2h", "--ack", "early"], undefined],
    [["--timeout", "30m"], /--timeout is 30 min, and .*"consumer-timeout":2100000/],
    [["--timeout", "15m", "--rate", "4/h"], /--timeout is 15 min and by --rate .* up to 15 min,/],
    [["--rate", "3/h", "--concurrency", "2"], /--timeout is 25 min and by --rate .* up to 40 min,/],
  ];
  for (const [args, warning] of rows) {
    await using worker = bench.worker(...args, "--", "true");
    await worker.waitForLine(/Waiting/);
    worker.kill();
    const { stderr } = await worker.ended();
    if (warning === undefined) assertEquals(stderr, "");
    else assertMatch(stderr, warning);
  }
});

Deno.test("the remedy can be given to a shell as it is", async () => {
  const remedy = ackTimeoutRemedy("it's a.queue", "/", 7_500_000);
  assertMatch(remedy, /consumer_timeout = 7500000 in rabbitmq.conf, or use --ack early/);
  const [, command] = remedy.match(/with (rabbitmqctl .*) \(RabbitMQ/)!;
  const { stdout } = await run("/bin/sh", {
    args: ["-c", `rabbitmqctl() { printf '%s\\n' "$@"; }; ${command}`],
  });
  assertEquals(stdout.split("\n"), [
    ...["set_policy", "-p", "/", "it's a.queue.ack-timeout", "^it's a\\.queue$"],
    ...['{"consumer-timeout":7500000}', "--apply-to", "queues", ""],
  ]);
});
