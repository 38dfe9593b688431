import { assertEquals } from "@std/assert";
import {
  decodeHeader,
  encodeFrame,
  encodeHeader,
  encodeMethod,
  FRAME,
} from "../support/methods.ts";
import { Typed, WireReader } from "../support/wire.ts";
import { contract } from "./contract.ts";

contract(
  "A mandatory message without a queue is returned with 312, whole, before its confirm",
  async (t) => {
    const channel = await t.channel();
    await channel.call("confirm.select");
    const body = "x".repeat(300_000);
    const properties = { messageId: "m", headers: { a: 1 }, deliveryMode: 2 };
    await channel.publish(
      { exchange: "amq.direct", routingKey: "nowhere", mandatory: true },
      body,
      properties,
    );
    const message = await channel.expectContent("basic.return");
    assertEquals(message.args, {
      replyCode: 312,
      replyText: "NO_ROUTE",
      exchange: "amq.direct",
      routingKey: "nowhere",
    });
    assertEquals(message.properties, properties);
    assertEquals(message.text, body);
    assertEquals(await channel.expect("basic.ack"), { deliveryTag: 1, multiple: false });
  },
);

contract("A message without a queue and without mandatory is dropped and confirmed", async (t) => {
  const channel = await t.channel();
  await channel.call("confirm.select");
  await channel.publish({ exchange: "amq.direct", routingKey: "nowhere" }, "x");
  assertEquals(await channel.expect("basic.ack"), { deliveryTag: 1, multiple: false });
});

contract("A mandatory message that is routed is not returned", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  await channel.publish({ routingKey: queue, mandatory: true }, "x");
  await t.silent(channel, queue);
  assertEquals(await t.drain(channel, queue), ["x"]);
});

contract(
  "Publishing to an exchange that is not there closes the channel with 404, later",
  async (t) => {
    const channel = await t.channel();
    const exchange = t.name("x");
    await channel.publish({ exchange, routingKey: "k" }, "a");
    const args = await channel.expectClose(
      404,
      `NOT_FOUND - no exchange '${exchange}' in vhost '/'`,
    );
    assertEquals([args.classId, args.methodId], [60, 40]);
    await channel.peer.open(2);
  },
);

contract("immediate closes the connection with 540", async (t) => {
  const channel = await t.channel();
  await channel.publish({ routingKey: "k", immediate: true }, "a");
  await channel.peer.channel(0).expectClose(540, "NOT_IMPLEMENTED - immediate=true");
});

contract("Bodies of every size around a frame's arrive as they were sent", async (t) => {
  const channel = await t.channel({ frameMax: 4096 });
  const queue = await t.queue(channel);
  for (const size of [0, 1, 4087, 4088, 4089, 8175, 8176, 8177, 100_000]) {
    const body = crypto.getRandomValues(new Uint8Array(Math.min(size, 65536)));
    const whole = new Uint8Array(size);
    for (let at = 0; at < size; at += body.length) whole.set(body.subarray(0, size - at), at);
    await channel.publish({ routingKey: queue }, whole);
    await channel.send("basic.get", { queue, noAck: true });
    const message = await channel.expectContent("basic.get-ok");
    assertEquals(message.body, whole, `size ${size}`);
    assertEquals(message.bodyFrames.every((frame) => frame <= 4088), true);
  }
});

contract(
  "A body of 8 MiB is delivered to a client with small frames and to one with large",
  async (t) => {
    const large = await t.channel();
    const small = await t.channel({ frameMax: 4096 });
    const queue = await t.queue(large);
    const body = new Uint8Array(8 << 20).fill(7);
    await t.publish(large, { routingKey: queue }, { body }, { body });
    for (const channel of [large, small]) {
      await channel.send("basic.get", { queue, noAck: true });
      const message = await channel.expectContent("basic.get-ok");
      assertEquals(message.body.length, body.length);
      assertEquals(message.body.every((octet) => octet === 7), true);
    }
  },
);

contract("A body may come in frames of any size, empty ones included", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  const { peer } = channel;
  await channel.send("basic.publish", { routingKey: queue });
  await peer.sendFrame(FRAME.header, 1, encodeHeader(5));
  for (const part of ["a", "", "bcd", "e"]) {
    await peer.sendFrame(FRAME.body, 1, new TextEncoder().encode(part));
  }
  assertEquals(await t.drain(channel, queue), ["abcde"]);
});

contract("A publish may arrive octet by octet", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  const frames = [
    encodeFrame(FRAME.method, 1, encodeMethod("basic.publish", { routingKey: queue })),
    encodeFrame(FRAME.header, 1, encodeHeader(3, { headers: { a: 1 } })),
    encodeFrame(FRAME.body, 1, new TextEncoder().encode("abc")),
  ];
  for (const octet of frames.flatMap((frame) => [...frame])) {
    await channel.peer.sendBytes(Uint8Array.of(octet));
  }
  assertEquals(await t.drain(channel, queue), ["abc"]);
});

contract("Frames of several channels may be mixed within their contents", async (t) => {
  const peer = await t.peer();
  const [one, two] = [await peer.open(1), await peer.open(2)];
  const queue = await t.queue(one);
  for (const channel of [one, two]) await channel.send("basic.publish", { routingKey: queue });
  for (const channel of [two, one]) await peer.sendFrame(FRAME.header, channel.id, encodeHeader(2));
  await peer.sendFrame(FRAME.body, 1, new TextEncoder().encode("a"));
  await peer.sendFrame(FRAME.body, 2, new TextEncoder().encode("xy"));
  await peer.sendFrame(FRAME.body, 1, new TextEncoder().encode("b"));
  await two.call("basic.qos");
  assertEquals((await t.drain(one, queue)).sort(), ["ab", "xy"]);
});

contract("All properties travel unchanged", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  const properties = {
    contentType: "text/plain",
    contentEncoding: "utf-8",
    headers: { k: "v" },
    deliveryMode: 1,
    priority: 9,
    correlationId: "c",
    replyTo: "r",
    expiration: "60000",
    messageId: "m",
    timestamp: 1_700_000_000,
    type: "t",
    userId: "guest",
    appId: "a",
    clusterId: "cl",
  };
  await channel.publish({ routingKey: queue }, "x", properties);
  await channel.publish({ routingKey: queue }, "y", { priority: 0, messageId: "", headers: {} });
  await channel.publish({ routingKey: queue }, "z");
  const seen = [];
  for (let i = 0; i < 3; i++) {
    await channel.send("basic.get", { queue, noAck: true });
    seen.push((await channel.expectContent("basic.get-ok")).properties);
  }
  assertEquals(seen, [properties, { priority: 0, messageId: "", headers: {} }, {}]);
});

contract("Every type of table value travels unchanged", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  const headers = {
    bool: new Typed("t", true),
    int8: new Typed("b", -128),
    uint8: new Typed("B", 255),
    int16: new Typed("s", -32768),
    uint16: new Typed("u", 65535),
    int32: new Typed("I", -(2 ** 31)),
    uint32: new Typed("i", 2 ** 32 - 1),
    int64: new Typed("l", -(2n ** 63n)),
    float: new Typed("f", 1.5),
    double: new Typed("d", Math.PI),
    decimal: new Typed("D", [2, 12345]),
    string: new Typed("S", "gr\u00fc\u00df \u{1f600}"),
    empty: new Typed("S", ""),
    bytes: new Typed("x", Uint8Array.of(0, 255, 128)),
    timestamp: new Typed("T", 1_700_000_000),
    none: new Typed("V", null),
    array: new Typed("A", [
      new Typed("I", 1),
      new Typed("S", "two"),
      new Typed("A", [new Typed("V", null)]),
    ]),
    table: new Typed("F", { deep: new Typed("F", { deeper: new Typed("t", false) }) }),
  };
  await channel.publish({ routingKey: queue }, "x", { headers });
  await channel.send("basic.get", { queue, noAck: true });
  const message = await channel.expectContent("basic.get-ok");
  assertEquals(decodeHeader(message.header, true).properties.headers, headers);
  assertEquals(message.header, encodeHeader(1, { headers }));
});

contract("A header name of 255 octets and 4000 headers travel unchanged", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  const headers: Record<string, unknown> = { ["n".repeat(255)]: "long" };
  for (let i = 0; i < 4000; i++) headers[`h${i}`] = i;
  await channel.publish({ routingKey: queue }, "x", { headers });
  await channel.send("basic.get", { queue, noAck: true });
  assertEquals((await channel.expectContent("basic.get-ok")).properties.headers, headers);
});

contract(
  "A table value of an unknown type ends the connection or the channel, not the broker",
  async (t) => {
    const channel = await t.channel();
    const queue = await t.queue(channel);
    await channel.publish({ routingKey: queue }, "x", { headers: { odd: new Typed("z", null) } });
    await channel.send("basic.qos");
    const ended = await Promise.race([
      channel.frame().then((frame) => new WireReader(frame.payload).short(), () => 0),
      channel.peer.channel(0).frame().then(
        (frame) => new WireReader(frame.payload).short(),
        () => 0,
      ),
    ]);
    assertEquals([0, 10, 20].includes(ended), true);
    await (await t.peer()).open(1);
  },
);

contract("user-id must be the user's own name", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  await t.publish(channel, { routingKey: queue }, { body: "x", properties: { userId: "guest" } });
  await channel.publish({ routingKey: queue }, "y", { userId: "somebody" });
  await channel.expectClose(
    406,
    "PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was 'guest'",
  );
});

contract("delivery-mode must be 1 or 2", async (t) => {
  const channel = await t.channel();
  await channel.publish({ routingKey: "k" }, "x", { deliveryMode: 3 });
  await channel.expectClose(
    406,
    "PRECONDITION_FAILED - invalid message: {delivery_mode_unknown,3}",
  );
});

contract("expiration must be a number of milliseconds", async (t) => {
  const peer = await t.peer();
  for (
    const [expiration, text] of [["soon", "no_integer"], ["-1", "{value_negative,-1}"], [
      "10x",
      '{leftover_string,"x"}',
    ]]
  ) {
    const channel = await peer.open(1);
    await channel.publish({ routingKey: "k" }, "x", { expiration: expiration! });
    await channel.expectClose(
      406,
      `PRECONDITION_FAILED - invalid expiration '${expiration}': ${text}`,
    );
  }
});

contract("The headers CC and BCC route to further queues; BCC is removed", async (t) => {
  const channel = await t.channel();
  const [to, cc, bcc] = [await t.queue(channel), await t.queue(channel), await t.queue(channel)];
  await channel.publish({ routingKey: to }, "x", { headers: { CC: [cc], BCC: [bcc, to], k: 1 } });
  for (const queue of [to, cc, bcc]) {
    await channel.send("basic.get", { queue, noAck: true });
    const message = await channel.expectContent("basic.get-ok");
    assertEquals(message.properties.headers, { CC: [cc], k: 1 });
    assertEquals(message.args.routingKey, to);
  }
  assertEquals(await t.drain(channel, to), []);
});

contract("A CC header that is no array closes the channel with 406", async (t) => {
  const channel = await t.channel();
  await channel.publish({ routingKey: "k" }, "x", { headers: { CC: "text" } });
  await channel.expectClose(406, /^PRECONDITION_FAILED - invalid 'CC' header|^PRECONDITION_FAILED/);
});

contract("Messages of one channel keep their order", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  const bodies = Array.from({ length: 500 }, (_, i) => `${i}`);
  for (const [i, body] of bodies.entries()) {
    await channel.publish({ routingKey: queue }, body, { deliveryMode: i % 3 === 0 ? 1 : 2 });
  }
  assertEquals(await t.drain(channel, queue), bodies);
});
