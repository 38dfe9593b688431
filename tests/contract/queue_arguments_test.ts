import { contract } from "./contract.ts";

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

for (
  const [argument, declared, again, text] of [
    ["x-message-ttl", 1000, 2000, "received '2000' but current is '1000'"],
    ["x-message-ttl", 1000, "soon", "received 'soon' but current is '1000'"],
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

contract("No queue type is the default type", async (t) => {
  const channel = await t.channel();
  const classic = await t.queue(channel, { "x-queue-type": "classic" });
  await channel.call("queue.declare", { queue: classic, durable: true });
  const plain = await t.queue(channel);
  const args = { queue: plain, durable: true, arguments: { "x-queue-type": "classic" } };
  await channel.call("queue.declare", args);
});

contract("Arguments of other queue types are no inequality", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  await channel.call("queue.declare", {
    queue,
    durable: true,
    arguments: { "x-delivery-limit": 3, "x-dead-letter-strategy": "at-least-once" },
  });
});

contract("Of several wrong arguments the value is refused before the unknown one", async (t) => {
  const channel = await t.channel();
  const queue = t.name();
  const args = { "x-delivery-limit": 3, "x-max-length": -1, "x-message-ttl": "soon" };
  await channel.send("queue.declare", { queue, durable: true, arguments: args });
  await channel.expectClose(406, /invalid arg 'x-message-ttl'/);
});
