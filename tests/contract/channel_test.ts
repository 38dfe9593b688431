import { assertEquals } from "@std/assert";
import { encodeHeader, encodeMethod, FRAME } from "../support/methods.ts";
import { contract } from "./contract.ts";

contract("A channel number can be used again after channel.close", async (t) => {
  const peer = await t.peer();
  for (let round = 0; round < 3; round++) {
    const channel = await peer.open(7);
    await channel.call("channel.close", { replyCode: 200, replyText: "done" });
  }
});

contract("A channel that is closed has no consumers left, of however many queues", async (t) => {
  const peer = await t.peer();
  const [channel, next] = [await peer.open(1), await peer.open(2)];
  const queues = Array.from({ length: 300 }, () => t.name());
  for (const queue of queues) {
    await channel.send("queue.declare", { queue, noWait: true });
    await channel.send("basic.consume", {
      queue,
      exclusive: true,
      noWait: true,
      consumerTag: queue,
    });
  }
  await channel.call("channel.close", { replyCode: 200 });
  for (const queue of queues.toReversed()) {
    await next.call("basic.consume", { queue, exclusive: true });
  }
});

contract(
  "After a close by the server the channel is deaf until close-ok, then free again",
  async (t) => {
    const peer = await t.peer();
    const channel = await peer.open(1);
    const queue = t.name();
    await channel.send("queue.declare", { queue, passive: true });
    await channel.send("queue.declare", { queue, durable: true }); // must be ignored
    const args = await channel.expect("channel.close");
    assertEquals(args.replyCode, 404);
    assertEquals([args.classId, args.methodId], [50, 10]);
    await channel.send("queue.declare", { queue, durable: true }); // this too
    await channel.send("channel.close-ok");
    await peer.open(1);
    await channel.send("queue.declare", { queue, passive: true });
    await channel.expectClose(404, `NOT_FOUND - no queue '${queue}' in vhost '/'`);
  },
);

contract("A close by the server leaves the other channels alone", async (t) => {
  const peer = await t.peer();
  const [bad, good] = [await peer.open(1), await peer.open(2)];
  await bad.send("queue.delete", { queue: "amq.gone" });
  await bad.expect("queue.delete-ok");
  await bad.send("basic.ack", { deliveryTag: 1 });
  await bad.expectClose(406, "PRECONDITION_FAILED - unknown delivery tag 1");
  await good.call("basic.qos", { prefetchCount: 1 });
});

contract("Closing both sides at once is answered on both sides", async (t) => {
  const peer = await t.peer();
  const channel = await peer.open(1);
  await channel.send("basic.ack", { deliveryTag: 9 });
  await channel.send("channel.close", { replyCode: 200 });
  await channel.expect("channel.close");
  await channel.send("channel.close-ok");
  await peer.open(2);
});

contract("Opening a channel twice closes the connection with 504", async (t) => {
  const peer = await t.peer();
  const channel = await peer.open(1);
  await channel.send("channel.open");
  await peer.channel(0).expectClose(504, "CHANNEL_ERROR - second 'channel.open' seen");
  await peer.ended();
});

contract("A method on a channel that is not open closes the connection with 504", async (t) => {
  const peer = await t.peer();
  await peer.channel(5).send("basic.qos");
  await peer.channel(0).expectClose(504, "CHANNEL_ERROR - expected 'channel.open'");
  await peer.ended();
});

contract("channel-max is the number of channels that can be open at once", async (t) => {
  const peer = await t.peer({ channelMax: 3 });
  for (const id of [1, 2, 3]) await peer.open(id);
  await peer.channel(3).call("channel.close");
  await peer.open(3);
  await peer.channel(4).send("channel.open");
  await peer.channel(0).expectClose(
    530,
    "NOT_ALLOWED - number of channels opened (3) has reached the negotiated channel_max (3)",
  );
  await peer.ended();
});

contract("channel.flow(true) is answered", async (t) => {
  const channel = await t.channel();
  assertEquals(await channel.call("channel.flow", { active: true }), { active: true });
});

contract("channel.flow(false) closes the connection with 540", async (t) => {
  const channel = await t.channel();
  await channel.send("channel.flow", { active: false });
  await channel.peer.channel(0).expectClose(540, "NOT_IMPLEMENTED - active=false");
});

contract("A content header without its method closes the connection with 505", async (t) => {
  const channel = await t.channel();
  await channel.peer.sendFrame(FRAME.header, 1, encodeHeader(0));
  await channel.peer.channel(0).expectClose(
    505,
    "UNEXPECTED_FRAME - expected method frame, got non method frame instead",
  );
});

contract("A method where a content header must come closes the connection with 505", async (t) => {
  const channel = await t.channel();
  await channel.send("basic.publish", { routingKey: "x" });
  await channel.send("basic.qos");
  await channel.peer.channel(0).expectClose(
    505,
    "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead",
  );
});

contract("A content header of another class closes the connection with 505", async (t) => {
  const channel = await t.channel();
  await channel.send("basic.publish", { routingKey: "x" });
  await channel.peer.sendFrame(FRAME.header, 1, encodeHeader(0, {}, 50));
  await channel.peer.channel(0).expectClose(
    505,
    "UNEXPECTED_FRAME - expected content header for class 60, got one for class 50 instead",
  );
});

contract("A method where a content body must come closes the connection with 505", async (t) => {
  const channel = await t.channel();
  await channel.send("basic.publish", { routingKey: "x" });
  await channel.peer.sendFrame(FRAME.header, 1, encodeHeader(10));
  await channel.send("basic.qos");
  await channel.peer.channel(0).expectClose(
    505,
    "UNEXPECTED_FRAME - expected content body, got non content body frame instead",
  );
});

contract("A frame without its end octet closes the connection with 501", async (t) => {
  const peer = await t.peer();
  const payload = encodeMethod("channel.open");
  await peer.sendBytes(Uint8Array.of(FRAME.method, 0, 1, 0, 0, 0, payload.length, ...payload, 0));
  await peer.channel(0).expectClose(501, /^FRAME_ERROR - /);
});

contract("A frame larger than tuned closes the connection with 501", async (t) => {
  const channel = await t.channel({ frameMax: 4096 });
  await channel.send("basic.publish", { routingKey: "x" });
  await channel.peer.sendFrame(FRAME.header, 1, encodeHeader(5000));
  await channel.peer.sendFrame(FRAME.body, 1, new Uint8Array(4097));
  await channel.peer.channel(0).expectClose(501, /^FRAME_ERROR - type 3, .*frame_too_large/);
});

contract("A body frame may be eight octets over frame-max minus its overhead", async (t) => {
  const channel = await t.channel({ frameMax: 4096 });
  const queue = await t.queue(channel);
  await channel.send("basic.publish", { routingKey: queue });
  await channel.peer.sendFrame(FRAME.header, 1, encodeHeader(4096));
  await channel.peer.sendFrame(FRAME.body, 1, new Uint8Array(4096));
  assertEquals((await t.drain(channel, queue)).length, 1);
});

contract("An unknown frame type closes the connection with 501", async (t) => {
  const peer = await t.peer();
  await peer.sendFrame(5, 1, new Uint8Array(3));
  await peer.channel(0).expectClose(501, /^FRAME_ERROR - /);
});

for (
  const [what, payload] of [
    ["An unknown class", Uint8Array.of(0, 77, 0, 10)],
    ["An unknown method", Uint8Array.of(0, 50, 0, 99)],
  ] as const
) {
  contract(`${what} ends the connection (RabbitMQ: without a word)`, async (t) => {
    const peer = await t.peer();
    await peer.open(1);
    await peer.sendFrame(FRAME.method, 1, payload);
    const control = peer.channel(0);
    if (t.broker === "RabbitMQ") {
      assertEquals(await control.method().catch(() => undefined), undefined);
    } else {
      await control.expect("connection.close");
      await control.send("connection.close-ok");
    }
    await peer.ended();
  });
}

for (const name of ["basic.qos-ok", "connection.open"]) {
  contract(`${name} on a channel closes the connection with 503`, async (t) => {
    const channel = await t.channel();
    await channel.send(name);
    await channel.peer.channel(0).expectClose(503, "COMMAND_INVALID - unimplemented method");
  });
}

contract("A method of a channel on channel 0 closes the connection with 504", async (t) => {
  const peer = await t.peer();
  await peer.channel(0).send("channel.open");
  await peer.channel(0).expectClose(
    504,
    "CHANNEL_ERROR - unexpected method in connection state running",
  );
});

contract("A method frame that is cut short closes the connection with 501", async (t) => {
  const channel = await t.channel();
  const payload = encodeMethod("queue.declare", { queue: "x" }).subarray(0, 8);
  await channel.peer.sendFrame(FRAME.method, 1, payload);
  await channel.peer.channel(0).expectClose(501, "FRAME_ERROR - cannot decode <<0,0,1,120>>");
});

contract("A heartbeat on another channel than 0 closes the connection with 505", async (t) => {
  const peer = await t.peer();
  await peer.sendFrame(FRAME.heartbeat, 1, new Uint8Array());
  await peer.channel(0).expectClose(505, "UNEXPECTED_FRAME - type 8, all octets = <<>>");
});

contract("Several channels are answered in their own order", async (t) => {
  const peer = await t.peer();
  const channels = await Promise.all([1, 2, 3, 4, 5].map((id) => peer.open(id)));
  await Promise.all(channels.map(async (channel) => {
    const queue = await t.queue(channel);
    assertEquals(await t.counts(channel, queue), { ready: 0, consumers: 0 });
  }));
});
