import { assertEquals } from "@std/assert";
import type { PeerChannel } from "../support/protocol_peer.ts";
import type { Table } from "../support/wire.ts";
import { type Case, contract } from "./contract.ts";

/** The queues that the tools use for retries, as src/task/topology.ts describes them. */
async function topology(t: Case, channel: PeerChannel, tiers: readonly number[]): Promise<string> {
  const main = t.name("tasks");
  await channel.call("queue.declare", {
    queue: main,
    durable: true,
    arguments: { "x-queue-type": "quorum" },
  });
  for (const ms of tiers) {
    const queue = t.adopt(`${main}.delay.${ms}`);
    await channel.call("queue.declare", {
      queue,
      durable: true,
      arguments: delayArguments(main, ms),
    });
  }
  const queue = t.adopt(`${main}.dead`);
  await channel.call("queue.declare", {
    queue,
    durable: true,
    arguments: { "x-queue-type": "quorum" },
  });
  return main;
}

function delayArguments(main: string, ms: number): Table {
  return {
    "x-queue-type": "quorum",
    "x-message-ttl": ms,
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": main,
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
  };
}

contract("A task goes through its delay tiers and ends in the dead queue", async (t) => {
  const channel = await t.channel();
  await channel.call("confirm.select");
  const main = await topology(t, channel, [50, 100]);
  const publisher = await channel.peer.open(2);
  await publisher.call("confirm.select");
  const properties = { messageId: "task-1", deliveryMode: 2, contentType: "text/plain" };
  await publisher.publish({ routingKey: main, mandatory: true }, "work", properties);
  await publisher.expect("basic.ack");
  await channel.call("basic.qos", { prefetchCount: 1 });
  await channel.call("basic.consume", { queue: main });
  const hops = [`${main}.delay.50`, `${main}.delay.100`, `${main}.dead`];
  for (const [i, next] of hops.entries()) {
    const task = await channel.expectContent();
    assertEquals([task.text, task.properties.messageId, task.args.routingKey], [
      "work",
      "task-1",
      main,
    ]);
    assertEquals(task.args.redelivered, false);
    assertEquals(task.properties.headers?.["task-attempt"], i === 0 ? undefined : i);
    // Publish, wait for the confirm, then acknowledge.
    await publisher.publish({ routingKey: next, mandatory: true }, task.body, {
      ...properties,
      headers: { "task-attempt": i + 1 },
    });
    await publisher.expect("basic.ack");
    await channel.send("basic.ack", { deliveryTag: task.args.deliveryTag });
  }
  await t.silent(channel, main);
  assertEquals(await t.drain(publisher, `${main}.dead`), ["work"]);
});

contract("A tier returns tasks in order, and a shorter one before a longer one", async (t) => {
  const channel = await t.channel();
  const main = await topology(t, channel, [50, 400]);
  await t.fill(channel, `${main}.delay.400`, "slow 1", "slow 2");
  await t.fill(channel, `${main}.delay.50`, "fast 1", "fast 2");
  await channel.call("basic.consume", { queue: main, noAck: true });
  const seen = [];
  while (seen.length < 4) seen.push((await channel.expectContent()).text);
  assertEquals(seen, ["fast 1", "fast 2", "slow 1", "slow 2"]);
});

contract("A task that is through a tier carries the tier's death and no expiration", async (t) => {
  const channel = await t.channel();
  const main = await topology(t, channel, [20]);
  await t.fill(channel, `${main}.delay.20`, "a");
  await channel.call("basic.consume", { queue: main, noAck: true });
  const { properties, args } = await channel.expectContent();
  const [death, ...more] = properties.headers!["x-death"] as Table[];
  assertEquals([death!.reason, death!.queue, death!.count, more.length], [
    "expired",
    `${main}.delay.20`,
    1,
    0,
  ]);
  assertEquals([args.exchange, args.routingKey], ["", main]);
});

contract(
  "Republished with the received headers a task would be stuck or lost; stripped, it comes back again and again",
  async (t) => {
    const channel = await t.channel();
    const main = await topology(t, channel, [20]);
    await t.fill(channel, `${main}.delay.20`, "a");
    await channel.call("basic.consume", { queue: main, noAck: true });
    for (let round = 0; round < 3; round++) {
      const { text } = await channel.expectContent();
      await t.fill(channel, `${main}.delay.20`, text);
    }
    assertEquals((await channel.expectContent()).text, "a");
  },
);

contract(
  "Declaring the topology again alike is answered, with another delay refused",
  async (t) => {
    const channel = await t.channel();
    const main = await topology(t, channel, [1000]);
    const queue = `${main}.delay.1000`;
    await channel.call("queue.declare", {
      queue,
      durable: true,
      arguments: delayArguments(main, 1000),
    });
    await channel.send("queue.declare", {
      queue,
      durable: true,
      arguments: delayArguments(main, 2000),
    });
    await channel.expectClose(
      406,
      `PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue '${queue}' in vhost '/': received '2000' but current is '1000'`,
    );
  },
);

contract("A tier of 30 days takes a 64-bit integer", async (t) => {
  const channel = await t.channel();
  await topology(t, channel, [30 * 86_400_000]);
});

contract("The tutorial's declaration of the main queue matches the tools'", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel, { "x-queue-type": "quorum" });
  await channel.call("queue.declare", {
    queue,
    durable: true,
    arguments: { "x-queue-type": "quorum" },
  });
});
