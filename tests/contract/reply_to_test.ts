import { assertEquals, assertMatch } from "@std/assert";
import { contract } from "./contract.ts";

const REPLY_TO = "amq.rabbitmq.reply-to";

contract("Direct reply-to: a reply reaches the requester's channel without a queue", async (t) => {
  const client = await t.channel();
  const server = await t.channel();
  const queue = await t.queue(server);
  await server.call("basic.consume", { queue, noAck: true });
  await client.call("basic.consume", { queue: REPLY_TO, noAck: true, consumerTag: "replies" });
  await client.publish({ routingKey: queue }, "ping", { replyTo: REPLY_TO, correlationId: "1" });
  const request = await server.expectContent();
  assertMatch(request.properties.replyTo!, /^amq\.rabbitmq\.reply-to\..+/);
  await server.publish({ routingKey: request.properties.replyTo! }, "pong", { correlationId: "1" });
  const reply = await client.expectContent();
  assertEquals(reply.text, "pong");
  assertEquals(reply.args.consumerTag, "replies");
  assertEquals(reply.args.routingKey, request.properties.replyTo);
  assertEquals(reply.properties, { correlationId: "1" });
});

contract(
  "A reply to a requester that is gone is dropped, or returned when mandatory",
  async (t) => {
    const client = await t.channel();
    const server = await t.channel();
    const queue = await t.queue(server);
    await client.call("basic.consume", { queue: REPLY_TO, noAck: true });
    await client.publish({ routingKey: queue }, "ping", { replyTo: REPLY_TO });
    await server.send("basic.get", { queue, noAck: true });
    for (let empty = true; empty;) {
      const { name, args } = await server.method();
      empty = name === "basic.get-empty";
      if (empty) await server.send("basic.get", { queue, noAck: true });
      else {
        const request = await server.readContent(args);
        await client.peer.close();
        await server.call("confirm.select");
        await server.publish({ routingKey: request.properties.replyTo! }, "pong");
        assertEquals((await server.expect("basic.ack")).deliveryTag, 1);
        await server.publish({ routingKey: request.properties.replyTo!, mandatory: true }, "pong");
        assertEquals((await server.expectContent("basic.return")).args.replyCode, 312);
        assertEquals((await server.expect("basic.ack")).deliveryTag, 2);
      }
    }
  },
);

contract("A requester must consume before it publishes", async (t) => {
  const client = await t.channel();
  await client.publish({ routingKey: "any" }, "ping", { replyTo: REPLY_TO });
  await client.expectClose(406, "PRECONDITION_FAILED - fast reply consumer does not exist");
});

contract("The reply-to consumer must be no-ack and only one per channel", async (t) => {
  const peer = await t.peer();
  const channel = await peer.open(1);
  await channel.send("basic.consume", { queue: REPLY_TO });
  await channel.expectClose(406, "PRECONDITION_FAILED - reply consumer cannot acknowledge");
  await peer.open(1);
  await channel.call("basic.consume", { queue: REPLY_TO, noAck: true, consumerTag: "a" });
  await channel.send("basic.consume", { queue: REPLY_TO, noAck: true, consumerTag: "b" });
  await channel.expectClose(406, "PRECONDITION_FAILED - reply consumer already set");
});

contract("Declaring the reply-to queue tells whether the requester is there", async (t) => {
  const client = await t.channel();
  const server = await t.channel();
  const queue = await t.queue(server);
  await server.call("basic.consume", { queue, noAck: true });
  assertEquals(await client.call("queue.declare", { queue: REPLY_TO, passive: true }), {
    queue: REPLY_TO,
    messageCount: 0,
    consumerCount: 1,
  });
  await client.call("basic.consume", { queue: REPLY_TO, noAck: true });
  await client.publish({ routingKey: queue }, "ping", { replyTo: REPLY_TO });
  const { properties } = await server.expectContent();
  await server.call("queue.declare", { queue: properties.replyTo, passive: true });
  await client.peer.close();
  await server.send("queue.declare", { queue: properties.replyTo, passive: true });
  await server.expectClose(404, /^NOT_FOUND - no queue 'amq\.rabbitmq\.reply-to\./);
});

contract("A cancelled reply-to consumer can be set again", async (t) => {
  const channel = await t.channel();
  await channel.call("basic.consume", { queue: REPLY_TO, noAck: true, consumerTag: "a" });
  await channel.call("basic.cancel", { consumerTag: "a" });
  await channel.call("basic.consume", { queue: REPLY_TO, noAck: true, consumerTag: "b" });
});

contract("The name of a requester has two parts in base64", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  await channel.call("basic.consume", { queue: REPLY_TO, noAck: true });
  await channel.publish({ routingKey: queue }, "", { replyTo: REPLY_TO });
  await channel.send("basic.get", { queue, noAck: true });
  const { properties } = await channel.expectContent("basic.get-ok");
  assertMatch(properties.replyTo!, /^amq\.rabbitmq\.reply-to\.[\w+/=]+\.[\w+/]{22}==$/);
});
