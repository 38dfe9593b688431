/** Promises about limits that are configured: each with a broker of its own. */
import { assertEquals } from "@std/assert";
import { startBroker } from "../support/embedded.ts";
import { encodeHeader, FRAME } from "../support/methods.ts";
import { rabbitmqMissing, type RabbitmqOptions, startRabbitmq } from "../support/rabbitmq.ts";
import { Case } from "./contract.ts";

interface Configured {
  /** For RabbitMQ. */
  rabbitmq: RabbitmqOptions;
  /** For our broker. */
  args: string[];
}

function configured(
  promise: string,
  { rabbitmq, args }: Configured,
  test: (t: Case) => Promise<void>,
): void {
  for (
    const [name, missing, start] of [
      ["RabbitMQ", rabbitmqMissing, () => startRabbitmq(rabbitmq)],
      ["broker", undefined, () => startBroker({ args })],
    ] as const
  ) {
    Deno.test({
      name: `${name}: ${promise}${missing ? ` (ignored: ${missing})` : ""}`,
      ignore: missing !== undefined || (Deno.env.get("CONTRACT_BROKER") ?? name) !== name,
      fn: async () => {
        await using broker = await start();
        await using t = new Case(name, broker.port);
        await test(t);
      },
    });
  }
}

configured(
  "A delivery that is not acknowledged in time closes its channel with 406 and is given again",
  {
    rabbitmq: {
      config: { consumer_timeout: 1000 },
      advanced: "[{rabbit, [{channel_tick_interval, 200}]}].",
    },
    args: ["--consumer-timeout", "1"],
  },
  async (t) => {
    const channel = await t.channel();
    const queue = await t.queue(channel);
    await t.fill(channel, queue, "slow");
    await channel.call("basic.consume", { queue });
    await channel.expectContent();
    await channel.expectClose(
      406,
      "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: " +
        "1000 ms. This timeout value can be configured, see consumers doc guide to learn more",
    );
    const other = await channel.peer.open(2);
    await other.call("basic.consume", { queue });
    const { args } = await other.expectContent();
    assertEquals(args.redelivered, true);
    await other.send("basic.ack", { deliveryTag: args.deliveryTag });
  },
);

configured(
  "A message over the configured size closes its channel with 406",
  { rabbitmq: { config: { max_message_size: 1000 } }, args: ["--max-message-size", "1000"] },
  async (t) => {
    const channel = await t.channel();
    const queue = await t.queue(channel);
    await channel.publish({ routingKey: queue }, new Uint8Array(1000));
    await channel.send("basic.publish", { routingKey: queue });
    await channel.peer.sendFrame(FRAME.header, 1, encodeHeader(1001));
    await channel.peer.sendFrame(FRAME.body, 1, new Uint8Array(1001));
    await channel.expectClose(
      406,
      "PRECONDITION_FAILED - message size 1001 is larger than configured max size 1000",
    );
    assertEquals((await t.counts(await channel.peer.open(2), queue)).ready, 1);
  },
);

configured(
  "An alarm blocks who publishes and tells those who can hear it; others go on",
  {
    rabbitmq: { config: { "vm_memory_high_watermark.absolute": "1MB" } },
    args: ["--disk-free-limit", "100000000000000"],
  },
  async (t) => {
    const publisher = await t.channel();
    const queue = await t.queue(publisher);
    await publisher.publish({ routingKey: queue }, "a");
    const { reason } = await publisher.peer.channel(0).expect("connection.blocked");
    // Ours has no alarm for memory: it keeps no more than its window of messages there.
    assertEquals(reason, t.broker === "RabbitMQ" ? "low on memory" : "low on disk");
    await publisher.send("basic.qos");

    const deaf = await t.channel({ capabilities: {} });
    await deaf.publish({ routingKey: queue }, "b");

    const consumer = await t.channel();
    await consumer.call("basic.consume", { queue });
    // Nothing of theirs got in, not even what they had sent before they heard of it.
    assertEquals((await t.counts(consumer, queue)).ready, 0);
    assertEquals([consumer.unread, consumer.peer.channel(0).unread], [0, 0]);
    assertEquals(publisher.unread, 0);
    assertEquals(deaf.peer.channel(0).unread, 0);
  },
);
