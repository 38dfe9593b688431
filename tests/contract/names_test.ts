import { assertEquals } from "@std/assert";
import { contract } from "./contract.ts";

contract("Line breaks are taken out of names that are declared, bound and deleted", async (t) => {
  const channel = await t.channel();
  const name = t.name();
  const broken = name.replace("-", "-\r\n");
  const { queue } = await channel.call("queue.declare", { queue: broken });
  assertEquals(queue, name);
  await channel.call("queue.declare", { queue: broken, passive: true });
  await channel.call("queue.bind", { queue: broken, exchange: "amq.\ndirect", routingKey: name });
  await channel.publish({ exchange: "amq.direct", routingKey: name, mandatory: true }, "a");
  assertEquals(await t.drain(channel, name), ["a"]);
  await channel.call("queue.unbind", { queue: broken, exchange: "amq.\ndirect", routingKey: name });
  await channel.call("exchange.declare", { exchange: broken, type: "fanout" });
  await channel.call("exchange.declare", { exchange: name, passive: true });
  await channel.call("exchange.delete", { exchange: broken });
  await channel.call("queue.delete", { queue: broken });
  await channel.send("basic.get", { queue: broken });
  await channel.expectClose(404, `NOT_FOUND - no queue '${broken}' in vhost '/'`);
});

contract("A line break does not hide a reserved name", async (t) => {
  const channel = await t.channel();
  await channel.send("queue.declare", { queue: "am\nq.tasks" });
  await channel.expectClose(
    403,
    "ACCESS_REFUSED - queue name 'amq.tasks' contains reserved prefix 'amq.*'",
  );
});

contract("A server-named queue cannot be declared again by its name, only found", async (t) => {
  const channel = await t.channel();
  const { queue } = await channel.call("queue.declare", { exclusive: true });
  await channel.call("queue.declare", { queue, passive: true });
  await channel.send("queue.declare", { queue, exclusive: true });
  await channel.expectClose(
    403,
    `ACCESS_REFUSED - queue name '${queue}' contains reserved prefix 'amq.*'`,
  );
});

contract("A passive declaration of the empty name looks for a queue called so", async (t) => {
  const channel = await t.channel();
  await channel.call("queue.declare", { exclusive: true });
  await channel.send("queue.declare", { passive: true });
  await channel.expectClose(404, "NOT_FOUND - no queue '' in vhost '/'");
});

contract("A quorum queue must be given a name", async (t) => {
  const channel = await t.channel();
  await channel.send("queue.declare", {
    durable: true,
    arguments: { "x-queue-type": "quorum", "x-message-ttl": "wrong as well" },
  });
  await channel.expectClose(
    406,
    "PRECONDITION_FAILED - Cannot declare a server-named queue for type rabbit_quorum_queue",
  );
});

const unknownType = { arguments: { "x-queue-type": "odd" } };

contract(
  "A server-named queue of an unknown type is refused with 406, as a named one is",
  async (t) => {
    const channel = await t.channel();
    await channel.send("queue.declare", unknownType);
    await channel.expectClose(
      406,
      /^PRECONDITION_FAILED - invalid arg 'x-queue-type' for queue 'amq\.gen-[^']+' in vhost '\/': "unsupported queue type 'odd'"$/,
    );
  },
  { only: "broker" },
);

contract(
  "A server-named queue of an unknown type crashes the channel before it is looked at",
  async (t) => {
    const channel = await t.channel();
    await channel.send("queue.declare", unknownType);
    await channel.peer.channel(0).expectClose(541, /^INTERNAL_ERROR/);
  },
  { only: "RabbitMQ" },
);

contract("Names may hold 255 octets of any text", async (t) => {
  const channel = await t.channel();
  const prefix = t.name();
  const name = t.adopt(prefix + "\u00e9".repeat((255 - prefix.length) >> 1));
  await channel.call("queue.declare", { queue: name });
  await channel.call("exchange.declare", { exchange: name, type: "topic" });
  await channel.call("queue.bind", { queue: name, exchange: name, routingKey: "\u20ac.*" });
  const mandatory = { exchange: name, routingKey: "\u20ac.'\"\\", mandatory: true };
  await channel.publish(mandatory, "a");
  const consumerTag = "\u00fc".repeat(127);
  await channel.call("basic.consume", { queue: name, consumerTag });
  const { args } = await channel.expectContent();
  assertEquals(
    [args.consumerTag, args.exchange, args.routingKey],
    [consumerTag, name, mandatory.routingKey],
  );
});

contract("amq.rabbitmq.trace is there and internal", async (t) => {
  const channel = await t.channel();
  const exchange = "amq.rabbitmq.trace";
  await channel.call("exchange.declare", { exchange, passive: true });
  await channel.publish({ exchange });
  await channel.expectClose(
    403,
    `ACCESS_REFUSED - cannot publish to internal exchange '${exchange}' in vhost '/'`,
  );
});

contract("A reply text that would be too long ends in three dots", async (t) => {
  const channel = await t.channel();
  const queue = "\u00fc".repeat(125);
  await channel.send("queue.declare", { queue, passive: true });
  await channel.expectClose(404, `NOT_FOUND - no queue '${"\u00fc".repeat(115)}...`);
});
