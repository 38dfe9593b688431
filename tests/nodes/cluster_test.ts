/** A cluster of three nodes loses the leader of the queue while tasks flow. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { Connector } from "../../src/amqp/connection.ts";
import type { Delivery } from "../../src/amqp/consumption.ts";
import { ensureWorkQueue } from "../../src/amqp/declare.ts";
import { Publisher } from "../../src/amqp/publisher.ts";
import { parseUrls } from "../../src/amqp/url.ts";
import { EXIT, ToolError } from "../../src/errors.ts";
import { finish } from "../e2e/tools.ts";
import { rabbitmqTest, startCluster } from "../support/rabbitmq.ts";
import { waitUntil } from "../support/wait.ts";
import { IDENTITY, policy, task, TestConsumer, TestLog, toolError } from "../amqp/harness.ts";

/** Milliseconds for what includes the election of a leader on a slow machine. */
const ELECTION_MS = 90_000;
const TASKS = 3000;
/** Tasks confirmed when the leader is killed. */
const KILL_AT = 1000;
const WINDOW = 100;

rabbitmqTest(
  "the leader of a three-node cluster is killed while tasks flow: every confirmed task is done",
  async () => {
    await using cluster = await startCluster(3);
    assertEquals(await cluster.nodes[0]!.eval("length([node() | nodes()])."), "3");
    const queue = policy("flow", "quorum");
    const setup = await connectorOf(cluster.urls.join(",")).connect();
    await ensureWorkQueue(setup, queue);
    await setup.shutdown();
    const leader = await cluster.leaderOf(queue.name);
    // Everybody's first address is the node that dies.
    const classic = policy("at home on the leader", "classic");
    const local = await connectorOf(leader.url).connect();
    await ensureWorkQueue(local, classic);
    await local.shutdown();
    const urls = [leader.url, ...cluster.urls.filter((url) => url !== leader.url)].join(",");

    const done = new Map<string, number>();
    const options = {
      prefetch: 20,
      random: () => 0.2,
      onDelivery: (delivery: Delivery) => {
        // The work itself takes no time; it is done again when the acknowledgement comes too late.
        done.set(delivery.task.id, (done.get(delivery.task.id) ?? 0) + 1);
        delivery.ack();
      },
    };
    await using one = new TestConsumer(urls, queue, options);
    await using two = new TestConsumer(urls, queue, options);
    for (const consumer of [one, two]) await consumer.ready.next(ELECTION_MS);

    const confirmed = new Set<string>();
    const waiting = Array.from({ length: TASKS }, (_, i) => `task ${i}`);
    let killing: Promise<void> | undefined;
    /**
     * Publishes with a window until something fails or nothing is left; what failed is sent again.
     * On another channel: one opened while the queue had no leader is refused (basic.nack) for ever.
     */
    async function flow(): Promise<void> {
      const transport = await connectorOf(urls).connectForever(new AbortController().signal, true);
      try {
        await ensureWorkQueue(transport!, queue);
        const publisher = await Publisher.open(transport!);
        const pending = new Set<Promise<void>>();
        let failed = false;
        while (waiting.length > 0 && !failed) {
          const messageId = waiting.pop()!;
          const sent = publisher.publish(task(queue.name, "x", { messageId }))
            .then(() => void confirmed.add(messageId), () => {
              waiting.push(messageId);
              failed = true;
            })
            .finally(() => pending.delete(sent));
          pending.add(sent);
          if (confirmed.size >= KILL_AT) killing ??= leader.kill();
          if (pending.size >= WINDOW) await Promise.race(pending);
        }
        await Promise.all(pending);
      } catch (error) {
        assert(error instanceof ToolError, Deno.inspect(error));
      } finally {
        await transport!.shutdown();
      }
    }
    while (waiting.length > 0) {
      await flow();
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    await killing;
    assertEquals([confirmed.size, leader.running], [TASKS, false]);
    const survivor = await connectorOf(urls).connect();
    // RabbitMQ 3 says 404 with a reason, RabbitMQ 4 ends the connection.
    const refusal = await toolError(ensureWorkQueue(survivor, classic));
    assertEquals(refusal.exitCode, EXIT.temporary, refusal.message);
    await survivor.shutdown();
    const { code, stderr } = await finish(
      "new_task",
      ["--queue", classic.name, "--no-declare", "--timeout", "30s", "x"],
      { url: cluster.nodes.find((node) => node !== leader)!.url },
    );
    assertEquals(code, EXIT.temporary, stderr);
    const shown = await finish(
      "worker",
      ["queues", "--queue", `${classic.name},${queue.name}`],
      { url: cluster.nodes.find((node) => node !== leader)!.url },
    );
    assertEquals(shown.code, EXIT.temporary, shown.stderr);
    assertMatch(shown.stdout, new RegExp(`^${classic.name} +unavailable +-$`, "m"));
    assertMatch(shown.stdout, new RegExp(`^${queue.name} +\\d+ +\\d+$`, "m"));
    const lost = () => [...confirmed].filter((id) => !done.has(id)).length;
    await waitUntil("every confirmed task to be done", () => lost() === 0, ELECTION_MS);
    const twice = [...done.values()].filter((times) => times > 1).length;
    const said = `${confirmed.size} confirmed, ${done.size} done, ${lost()} lost, ${twice} twice\n`;
    await Deno.stderr.write(new TextEncoder().encode(said));
  },
);

function connectorOf(urls: string): Connector {
  const endpoints = parseUrls(urls);
  return new Connector({ endpoints, identity: IDENTITY, log: new TestLog(), random: () => 0.2 });
}
