import { assert, assertEquals, assertMatch } from "@std/assert";
import { waitUntil } from "../support/wait.ts";
import { contract } from "./contract.ts";

contract("A queue can be declared, declared again alike, found, and deleted", async (t) => {
  const channel = await t.channel();
  const queue = t.name();
  const args = { queue, durable: true, arguments: { "x-expires": 60_000 } };
  assertEquals(await channel.call("queue.declare", args), {
    queue,
    messageCount: 0,
    consumerCount: 0,
  });
  await t.fill(channel, queue, "a", "b");
  assertEquals(await channel.call("queue.declare", args), {
    queue,
    messageCount: 2,
    consumerCount: 0,
  });
  assertEquals(await channel.call("queue.declare", { queue, passive: true }), {
    queue,
    messageCount: 2,
    consumerCount: 0,
  });
  assertEquals(await channel.call("queue.delete", { queue }), { messageCount: 2 });
  await channel.send("queue.declare", { queue, passive: true });
  await channel.expectClose(404, `NOT_FOUND - no queue '${queue}' in vhost '/'`);
});

contract("Deleting a queue that is not there is answered", async (t) => {
  const channel = await t.channel();
  assertEquals(await channel.call("queue.delete", { queue: t.name() }), { messageCount: 0 });
});

contract("A server-named queue begins with amq.gen- and is different each time", async (t) => {
  const channel = await t.channel();
  const one = await channel.call("queue.declare", { exclusive: true });
  const two = await channel.call("queue.declare", { exclusive: true });
  assertMatch(one.queue, /^amq\.gen-.{16,}/);
  assert(one.queue !== two.queue);
});

contract("The empty name means the queue declared last on the channel", async (t) => {
  const peer = await t.peer();
  const channel = await peer.open(1);
  const { queue } = await channel.call("queue.declare", { exclusive: true });
  await channel.call("queue.bind", { exchange: "amq.direct", routingKey: queue });
  await channel.publish({ exchange: "amq.direct", routingKey: queue }, "a");
  assertEquals((await t.drain(channel, "")).length, 1);
  await channel.call("basic.consume", { consumerTag: "c" });
  await channel.call("basic.cancel", { consumerTag: "c" });
  await channel.call("queue.unbind", { exchange: "amq.direct", routingKey: queue });
  await channel.call("queue.purge");
  await channel.call("queue.delete");
  const fresh = await peer.open(2);
  await fresh.send("queue.purge");
  await fresh.expectClose(404, "NOT_FOUND - no previously declared queue");
});

contract(
  "An empty name and an empty key bind the queue declared last by its own name",
  async (t) => {
    const channel = await t.channel();
    const { queue } = await channel.call("queue.declare", { exclusive: true });
    await channel.call("queue.bind", { exchange: "amq.direct" });
    await channel.publish({ exchange: "amq.direct", routingKey: queue }, "a");
    assertEquals(await t.drain(channel, queue), ["a"]);
  },
);

contract("A queue named amq.* can be deleted but not declared", async (t) => {
  const channel = await t.channel();
  await channel.call("queue.delete", { queue: "amq.mine" });
  await channel.send("queue.declare", { queue: "amq.mine" });
  await channel.expectClose(
    403,
    "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'",
  );
});

contract("An exclusive queue is locked for other connections and goes with its own", async (t) => {
  const owner = await t.channel();
  const queue = await t.queue(owner, {}, { exclusive: true });
  const text =
    `RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '${queue}' in vhost '/'. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration.`;
  const other = await t.peer();
  for (
    const [method, args] of [
      ["queue.declare", { queue, durable: true, exclusive: true }],
      ["queue.declare", { queue, passive: true }],
      ["queue.bind", { queue, exchange: "amq.fanout" }],
      ["queue.purge", { queue }],
      ["queue.delete", { queue }],
      ["basic.consume", { queue }],
      ["basic.get", { queue }],
    ] as const
  ) {
    const channel = await other.open(1);
    await channel.send(method, args);
    await channel.expectClose(405, text);
  }
  await owner.peer.close();
  const channel = await other.open(1);
  await channel.send("queue.declare", { queue, passive: true });
  await channel.expectClose(404, /no queue/);
});

contract("An exclusive queue goes when its connection is cut", async (t) => {
  const owner = await t.channel();
  const queue = await t.queue(owner, {}, { exclusive: true });
  owner.peer.cut();
  const other = await t.peer();
  for (let gone = false; !gone;) {
    const channel = await other.open(1);
    await channel.send("queue.declare", { queue, passive: true });
    const { replyCode } = await channel.expect("channel.close");
    await channel.send("channel.close-ok");
    gone = replyCode === 404; // until then 405
  }
});

contract("Declaring one's exclusive queue again as not exclusive is 405", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel, {}, { exclusive: true });
  await channel.send("queue.declare", { queue, durable: true });
  await channel.expectClose(
    405,
    /^RESOURCE_LOCKED - cannot obtain exclusive access to locked queue/,
  );
});

contract("An auto-delete queue goes with its last consumer, not before its first", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel, {}, { autoDelete: true });
  await t.fill(channel, queue, "a");
  await channel.send("basic.get", { queue, noAck: true });
  await channel.expectContent("basic.get-ok");
  for (const consumerTag of ["one", "two"]) {
    await channel.call("basic.consume", { queue, consumerTag });
  }
  await channel.call("basic.cancel", { consumerTag: "one" });
  assertEquals(await t.counts(channel, queue), { ready: 0, consumers: 1 });
  await channel.call("basic.cancel", { consumerTag: "two" });
  await channel.send("queue.declare", { queue, passive: true });
  await channel.expectClose(404, /no queue/);
});

for (
  const [field, flags, texts] of [
    ["durable", { durable: false }, "received 'false' but current is 'true'"],
    ["auto_delete", { autoDelete: true }, "received 'true' but current is 'false'"],
  ] as const
) {
  contract(`Declaring a queue again with another ${field} is 406`, async (t) => {
    const channel = await t.channel();
    const queue = await t.queue(channel);
    await channel.send("queue.declare", { queue, durable: true, ...flags });
    await channel.expectClose(
      406,
      `PRECONDITION_FAILED - inequivalent arg '${field}' for queue '${queue}' in vhost '/': ${texts}`,
    );
  });
}

contract("Declaring a queue again as exclusive is 405", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  await channel.send("queue.declare", { queue, durable: true, exclusive: true });
  await channel.expectClose(
    405,
    /^RESOURCE_LOCKED - cannot obtain exclusive access to locked queue/,
  );
});

for (
  const [argument, declared, again, text] of [
    ["x-message-ttl", 1000, 2000, "received '2000' but current is '1000'"],
    [
      "x-message-ttl",
      1000,
      undefined,
      "received none but current is the value '1000' of type 'signedint'",
    ],
    [
      "x-message-ttl",
      undefined,
      1000,
      "received the value '1000' of type 'signedint' but current is none",
    ],
    ["x-expires", 60000, 70000, "received '70000' but current is '60000'"],
    ["x-max-length", 10, 20, "received '20' but current is '10'"],
    ["x-max-length-bytes", 10, 20, "received '20' but current is '10'"],
    [
      "x-overflow",
      "drop-head",
      "reject-publish",
      "received 'reject-publish' but current is 'drop-head'",
    ],
    ["x-dead-letter-exchange", "a", "b", "received 'b' but current is 'a'"],
    [
      "x-dead-letter-exchange",
      undefined,
      "b",
      "received the value 'b' of type 'longstr' but current is none",
    ],
    ["x-max-priority", 5, 6, "received '6' but current is '5'"],
    [
      "x-single-active-consumer",
      true,
      undefined,
      "received none but current is the value 'true' of type 'bool'",
    ],
    ["x-queue-type", "classic", "quorum", "received 'quorum' but current is 'classic'"],
    [
      "x-queue-type",
      undefined,
      "quorum",
      "received the value 'quorum' of type 'longstr' but current is none",
    ],
    [
      "x-queue-type",
      "quorum",
      undefined,
      "received none but current is the value 'quorum' of type 'longstr'",
    ],
  ] as const
) {
  contract(
    `Declaring a queue again with ${argument} ${again} after ${declared} is 406 with both values`,
    async (t) => {
      const channel = await t.channel();
      const queue = await t.queue(channel, declared === undefined ? {} : { [argument]: declared });
      await channel.send("queue.declare", {
        queue,
        durable: true,
        arguments: again === undefined ? {} : { [argument]: again },
      });
      await channel.expectClose(
        406,
        `PRECONDITION_FAILED - inequivalent arg '${argument}' for queue '${queue}' in vhost '/': ${text}`,
      );
    },
  );
}

contract(
  "Arguments that RabbitMQ does not know, and another integer type, are no inequality",
  async (t) => {
    const channel = await t.channel();
    const queue = await t.queue(channel, { "x-message-ttl": 1000 });
    await channel.call("queue.declare", {
      queue,
      durable: true,
      arguments: { "x-message-ttl": 1000n, "x-what": 1, other: "y" },
    });
  },
);

for (
  const [args, text] of [
    [
      { "x-message-ttl": -1 },
      "invalid arg 'x-message-ttl' for queue 'QUEUE' in vhost '/': {value_negative,-1}",
    ],
    [
      { "x-message-ttl": "1000" },
      "invalid arg 'x-message-ttl' for queue 'QUEUE' in vhost '/': \"expected integer, got longstr\"",
    ],
    [
      { "x-message-ttl": 2 ** 40 },
      "invalid arg 'x-message-ttl' for queue 'QUEUE' in vhost '/': {value_too_large,1099511627776}",
    ],
    [
      { "x-expires": 2 ** 40 },
      "invalid arg 'x-expires' for queue 'QUEUE' in vhost '/': {value_too_large,1099511627776}",
    ],
    [{ "x-expires": 0 }, "invalid arg 'x-expires' for queue 'QUEUE' in vhost '/': {value_zero,0}"],
    [
      { "x-expires": "soon" },
      "invalid arg 'x-expires' for queue 'QUEUE' in vhost '/': \"expected integer, got longstr\"",
    ],
    [
      { "x-max-length": -5 },
      "invalid arg 'x-max-length' for queue 'QUEUE' in vhost '/': {value_negative,-5}",
    ],
    [
      { "x-max-length-bytes": "many" },
      "invalid arg 'x-max-length-bytes' for queue 'QUEUE' in vhost '/': \"expected integer, got longstr\"",
    ],
    [
      { "x-overflow": "explode" },
      "invalid arg 'x-overflow' for queue 'QUEUE' in vhost '/': invalid_overflow",
    ],
    [
      { "x-max-priority": 256 },
      "invalid arg 'x-max-priority' for queue 'QUEUE' in vhost '/': {max_value_exceeded,256}",
    ],
    [
      { "x-max-priority": -1 },
      "invalid arg 'x-max-priority' for queue 'QUEUE' in vhost '/': {value_negative,-1}",
    ],
    [
      { "x-dead-letter-exchange": 1 },
      "invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'QUEUE' in vhost '/'",
    ],
    [
      { "x-dead-letter-routing-key": "k" },
      "invalid arg 'x-dead-letter-routing-key' for queue 'QUEUE' in vhost '/': routing_key_but_no_dlx_defined",
    ],
    [
      { "x-single-active-consumer": "yes" },
      "invalid arg 'x-single-active-consumer' for queue 'QUEUE' in vhost '/': {unacceptable_type,longstr}",
    ],
    [
      { "x-queue-type": "odd" },
      "invalid arg 'x-queue-type' for queue 'QUEUE' in vhost '/': \"unsupported queue type 'odd'\"",
    ],
  ] as const
) {
  contract(`A queue with ${JSON.stringify(args)} is refused with 406`, async (t) => {
    const channel = await t.channel();
    const queue = t.name();
    await channel.send("queue.declare", { queue, durable: true, arguments: args });
    await channel.expectClose(406, `PRECONDITION_FAILED - ${text.replace("QUEUE", queue)}`);
  });
}

for (
  const [flags, args, text] of [
    [{ durable: false }, {}, "invalid property 'non-durable' for queue 'QUEUE' in vhost '/'"],
    [{ exclusive: true }, {}, "invalid property 'exclusive-owner' for queue 'QUEUE' in vhost '/'"],
    [{ autoDelete: true }, {}, "invalid property 'auto-delete' for queue 'QUEUE' in vhost '/'"],
    [
      {},
      { "x-max-priority": 3 },
      "invalid arg 'x-max-priority' for queue 'QUEUE' in vhost '/' of queue type rabbit_quorum_queue",
    ],
  ] as const
) {
  contract(
    `A quorum queue with ${JSON.stringify({ ...flags, ...args })} is refused with 406`,
    async (t) => {
      const channel = await t.channel();
      const queue = t.name();
      await channel.send("queue.declare", {
        queue,
        durable: true,
        ...flags,
        arguments: { "x-queue-type": "quorum", ...args },
      });
      await channel.expectClose(406, `PRECONDITION_FAILED - ${text.replace("QUEUE", queue)}`);
    },
  );
}

for (
  const args of [{ "x-delivery-limit": 3 }, { "x-dead-letter-strategy": "at-least-once" }] as const
) {
  contract(`A classic queue with ${JSON.stringify(args)} is refused with 406`, async (t) => {
    const channel = await t.channel();
    const queue = t.name();
    await channel.send("queue.declare", { queue, durable: true, arguments: args });
    await channel.expectClose(
      406,
      `PRECONDITION_FAILED - invalid arg '${
        Object.keys(args)[0]
      }' for queue '${queue}' in vhost '/' of queue type rabbit_classic_queue`,
    );
  });
}

contract("Purging gives the number of ready messages and leaves the unacknowledged", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  await t.fill(channel, queue, "a", "b", "c");
  await channel.send("basic.get", { queue });
  const { args } = await channel.expectContent("basic.get-ok");
  assertEquals(await channel.call("queue.purge", { queue }), { messageCount: 2 });
  await channel.send("basic.nack", { deliveryTag: args.deliveryTag, requeue: true });
  assertEquals(await t.drain(channel, queue), ["a"]);
});

for (const method of ["queue.purge", "basic.get", "basic.consume"]) {
  contract(`${method} on a queue that is not there is 404`, async (t) => {
    const channel = await t.channel();
    const queue = t.name();
    await channel.send(method, { queue });
    await channel.expectClose(404, `NOT_FOUND - no queue '${queue}' in vhost '/'`);
  });
}

contract("if-empty keeps a queue with messages, if-unused one with consumers", async (t) => {
  const peer = await t.peer();
  const channel = await peer.open(1);
  const queue = await t.queue(channel);
  await t.fill(channel, queue, "a");
  await channel.send("queue.delete", { queue, ifEmpty: true });
  await channel.expectClose(406, `PRECONDITION_FAILED - queue '${queue}' in vhost '/' not empty`);
  await peer.open(1);
  await channel.call("queue.purge", { queue });
  await channel.call("basic.consume", { queue, consumerTag: "c" });
  await channel.send("queue.delete", { queue, ifUnused: true });
  await channel.expectClose(406, `PRECONDITION_FAILED - queue '${queue}' in vhost '/' in use`);
  await peer.open(1);
  await channel.call("queue.delete", { queue, ifUnused: true, ifEmpty: true });
});

contract(
  "x-expires deletes a queue without consumers and what it holds, not one with consumers",
  async (t) => {
    const channel = await t.channel();
    const [unused, used] = [
      await t.queue(channel, { "x-expires": 200 }),
      await t.queue(channel, { "x-expires": 200 }),
    ];
    await channel.call("basic.consume", { queue: used });
    await t.fill(channel, unused, "a");
    // Goes with its last binding: tells that the queue is gone without renewing the queue's lease.
    const sign = await t.exchange(channel, "fanout", {}, { autoDelete: true });
    await channel.call("queue.bind", { queue: unused, exchange: sign });
    const peer = await t.peer();
    await waitUntil("the queue to expire", async () => {
      const probe = await peer.open(2);
      await probe.send("exchange.declare", { exchange: sign, passive: true });
      const { name } = await probe.method();
      if (name === "channel.close") await probe.send("channel.close-ok");
      else await probe.call("channel.close");
      return name === "channel.close";
    });
    assertEquals((await t.counts(channel, used)).consumers, 1);
    await channel.send("queue.declare", { queue: unused, passive: true });
    await channel.expectClose(404, `NOT_FOUND - no queue '${unused}' in vhost '/'`);
  },
);
