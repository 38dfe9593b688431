/** Promises about limits that are configured: on brokers of their own. */
import { assertEquals } from "@std/assert";
import { encodeHeader, FRAME } from "../support/methods.ts";
import type { RabbitmqNode } from "../support/rabbitmq.ts";
import { waitUntil } from "../support/wait.ts";
import type { Case } from "./case.ts";

interface Configured {
  readonly promise: string;
  /** Our broker's options. */
  readonly args: string[];
  /** Configures RabbitMQ beyond what its node was started with. */
  readonly prepare?: (node: RabbitmqNode) => Promise<unknown>;
  readonly test: (t: Case) => Promise<void>;
}

const AT_LEAST_ONCE = {
  "x-queue-type": "quorum",
  "x-dead-letter-strategy": "at-least-once",
  "x-overflow": "reject-publish",
};

/** The alarm is the last: nothing can be published after it. */
export const PROMISES: readonly Configured[] = [
  {
    promise:
      "A delivery that is not acknowledged in time closes its channel with 406 and is given again",
    args: ["--consumer-timeout", "1"],
    async test(t) {
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
  },
  {
    promise: "A message over the configured size closes its channel with 406",
    args: ["--max-message-size", "1000"],
    async test(t) {
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
  },
  {
    promise: "A letter that a queue has taken is not given to it again for another that is full",
    args: [],
    async test(t) {
      const channel = await t.channel();
      const dlx = await t.exchange(channel, "fanout");
      const open = await t.queue(channel);
      const full = await t.queue(channel, { "x-max-length": 1, "x-overflow": "reject-publish" });
      for (const queue of [open, full]) await channel.call("queue.bind", { queue, exchange: dlx });
      const queue = await t.queue(channel, { ...AT_LEAST_ONCE, "x-dead-letter-exchange": dlx });
      await t.fill(channel, full, "first");
      await t.fill(channel, queue, "a");
      await channel.send("basic.get", { queue });
      const { args } = await channel.expectContent("basic.get-ok");
      await channel.send("basic.reject", { deliveryTag: args.deliveryTag });
      await channel.call("basic.consume", { queue: open, noAck: true });
      assertEquals((await channel.expectContent()).text, "a");

      const beside = await channel.peer.open(2);
      const take = async () => (await t.drain(beside, full))[0];
      assertEquals(await waitUntil("what filled the queue", take), "first");
      assertEquals(await waitUntil("the letter", take), "a");
      await t.silent(channel, open);
    },
  },
  {
    promise: "A letter that must be kept is not dropped for coming back to its queue",
    args: [],
    async test(t) {
      const channel = await t.channel();
      const dlx = await t.exchange(channel, "fanout");
      const queue = await t.queue(channel, { ...AT_LEAST_ONCE, "x-dead-letter-exchange": dlx });
      await channel.call("queue.bind", { queue, exchange: dlx });
      const properties = { expiration: "1", deliveryMode: 2 };
      await t.publish(channel, { routingKey: queue }, { body: "a", properties });
      const gone = async () => (await t.counts(channel, queue)).ready === 0 || undefined;
      await waitUntil("the message to expire", gone);
      const dead = await t.queue(channel);
      await channel.call("queue.bind", { queue: dead, exchange: dlx });
      await channel.call("queue.unbind", { queue, exchange: dlx });
      await channel.call("basic.consume", { queue: dead, noAck: true });
      assertEquals((await channel.expectContent()).text, "a");
    },
  },
  {
    promise: "An alarm blocks who publishes and tells those who can hear it; others go on",
    args: ["--disk-free-limit", "100000000000000"],
    prepare: (node) => node.setMemoryAlarm(true),
    async test(t) {
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
  },
];
