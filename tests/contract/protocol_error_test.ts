/** What a client that breaks the protocol is told before its connection is closed. */
import { assertEquals } from "@std/assert";
import {
  type Arguments,
  encodeFrame,
  encodeHeader,
  encodeMethod,
  FRAME,
  methodIds,
} from "../support/methods.ts";
import { openPeer } from "../support/protocol_peer.ts";
import { Typed, WireWriter } from "../support/wire.ts";
import { waitUntil } from "../support/wait.ts";
import { type BrokerName, contract } from "./contract.ts";

type Bytes = Uint8Array<ArrayBuffer>;

interface Row {
  what: string;
  frames: Bytes[];
  code: number;
  text: RegExp;
  /** The method that connection.close names; "" for none. */
  method: string;
  only?: BrokerName;
}

/** The method in a frame that `method` made. */
const methodNames = new WeakMap<Bytes, string>();

const publish = method(1, "basic.publish", { routingKey: "nowhere" });
const unknownFrame = /^FRAME_ERROR - type \d+, all octets = <<[\d,]*>>: unknown_frame$/;
const noMethodExpected = /^UNEXPECTED_FRAME - expected method frame, got non method frame instead$/;
const noHeader =
  /^UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead$/;
const noBody = /^UNEXPECTED_FRAME - expected content body, got non content body frame instead$/;
const unreadable = /frame_too_large|invalid_frame_end/;
const wrongState = /^CHANNEL_ERROR - unexpected method in connection state running$/;
const notOpen = /^CHANNEL_ERROR - expected 'channel\.open'$/;
const unimplemented = /^COMMAND_INVALID - unimplemented method$/;
const internal = { code: 541, text: /^INTERNAL_ERROR/, method: "", only: "RabbitMQ" } as const;
const frameError = { code: 501, text: /^FRAME_ERROR - \w/, method: "", only: "broker" } as const;

const rows: Row[] = [
  // frames
  row("A frame of an unknown type", [frame(4, 1, [1])], 501, unknownFrame),
  row("A frame of type 0 on channel 0", [frame(0, 0, [1])], 501, unknownFrame),
  row("A heartbeat with a payload", [frame(8, 0, [1])], 501, unknownFrame),
  row("A heartbeat on a channel", [frame(8, 1, [])], 505, /^UNEXPECTED_FRAME - type 8, all/),
  row(
    "A frame without its end",
    [frame(1, 1, [0, 20, 0, 10, 0]).fill(0, -1)],
    501,
    /^FRAME_ERROR - type 1, all octets = <<0,20,0,10,0>>: \{invalid_frame_end_marker,0\}$/,
  ),
  row(
    "A frame of four gigabytes",
    [Uint8Array.of(3, 0, 1, 255, 255, 255, 255)],
    501,
    /^FRAME_ERROR - type 3, all octets = <<>>: \{frame_too_large,4294967295,131064\}$/,
  ),
  row(
    "A frame one octet over the limit and the eight that are granted",
    [frame(3, 1, new Uint8Array(131_073))],
    501,
    /^FRAME_ERROR - type 3, all octets = <<>>: \{frame_too_large,131073,131064\}$/,
  ),
  row("A frame just within them", [frame(3, 1, new Uint8Array(131_072))], 505, noMethodExpected),
  row(
    "A second protocol header",
    [new TextEncoder().encode("AMQP\0\0\x09\x01")],
    501,
    /^FRAME_ERROR - type 65, all octets = <<>>: \{frame_too_large,1342177289,131064\}$/,
  ),
  // methods
  row("A method frame without a method", [frame(1, 1, [])], 501, unknownFrame),
  row("Half a method id", [frame(1, 1, [0, 50])], 501, unknownFrame),
  row(
    "A method with octets behind its arguments",
    [frame(1, 1, [...encodeMethod("queue.declare"), 1])],
    501,
    /^FRAME_ERROR - cannot decode <<0,0,0,0,0,0,0,0,1>>$/,
    "queue.declare",
  ),
  row(
    "A method that ends early",
    [frame(1, 1, encodeMethod("queue.declare").subarray(0, -1))],
    501,
    /^FRAME_ERROR - cannot decode <<0,0,0,0,0,0,0>>$/,
    "queue.declare",
  ),
  row(
    "basic.publish that ends early",
    [frame(1, 1, encodeMethod("basic.publish").subarray(0, -1))],
    501,
    /^FRAME_ERROR - cannot decode <<0,0,0,0>>$/,
    "basic.publish",
  ),
  row(
    "basic.publish with octets behind its arguments",
    [frame(1, 1, [...encodeMethod("basic.publish"), 7])],
    501,
    /^FRAME_ERROR - cannot decode <<0,0,0,0,0,7>>$/,
    "basic.publish",
  ),
  row(
    "A name that is not UTF-8",
    [frame(1, 1, [0, 50, 0, 10, 0, 0, 2, 255, 254, 0, 0, 0, 0, 0])],
    501,
    /^FRAME_ERROR - Malformed UTF-8 in shortstr$/,
  ),
  row("A method of the server's", [method(1, "queue.declare-ok")], 503, unimplemented, "same"),
  row("connection.open on a channel", [method(1, "connection.open")], 503, unimplemented, "same"),
  row("connection.close on a channel", [method(1, "connection.close")], 503, unimplemented, "same"),
  row("channel.close-ok unasked", [method(1, "channel.close-ok")], 503, unimplemented, "same"),
  row(
    "channel.open twice",
    [method(1, "channel.open")],
    504,
    /^CHANNEL_ERROR - second 'channel\.open' seen$/,
    "same",
  ),
  row("connection.start-ok late", [method(0, "connection.start-ok")], 504, wrongState, "same"),
  row("connection.tune-ok late", [method(0, "connection.tune-ok")], 504, wrongState, "same"),
  row("A channel's method on channel 0", [method(0, "queue.declare")], 504, wrongState, "same"),
  row("channel.open on channel 0", [method(0, "channel.open")], 504, wrongState, "same"),
  row("A method on a channel not open", [method(7, "queue.declare")], 504, notOpen, "same"),
  row("channel.close on one not open", [method(7, "channel.close")], 504, notOpen, "same"),
  row("channel.close-ok on one not open", [method(7, "channel.close-ok")], 504, notOpen, "same"),
  row(
    "A method on a channel that is closed",
    [method(1, "channel.close"), method(1, "basic.ack", { deliveryTag: 1 })],
    504,
    notOpen,
    "same",
    "broker", // RabbitMQ may still be closing it, and then ignores the method
  ),
  row(
    "An unknown class",
    [frame(1, 1, [0, 99, 0, 1])],
    503,
    /^COMMAND_INVALID - unknown method$/,
    "",
    "broker", // RabbitMQ resets the connection
  ),
  // content
  row("A header unasked", [header(encodeHeader(1))], 505, noMethodExpected),
  row("A body unasked", [frame(3, 1, [1])], 505, noMethodExpected),
  row("A body on a channel not open", [frame(3, 9, [1])], 505, noMethodExpected),
  row(
    "A header on channel 0",
    [frame(2, 0, encodeHeader(1))],
    505,
    /^UNEXPECTED_FRAME - type 2, all octets/,
  ),
  row("A body on channel 0", [frame(3, 0, [1])], 505, /^UNEXPECTED_FRAME - type 3, all octets/),
  row("A body before its header", [publish, frame(3, 1, [1])], 505, noHeader, "basic.publish"),
  row(
    "A method before the header",
    [publish, method(1, "queue.declare")],
    505,
    noHeader,
    "basic.publish",
  ),
  row(
    "A second header",
    [publish, header(encodeHeader(4)), header(encodeHeader(4))],
    505,
    noBody,
    "basic.publish",
  ),
  row(
    "A method before the end of the body",
    [publish, header(encodeHeader(4)), frame(3, 1, [1]), method(1, "queue.declare")],
    505,
    noBody,
    "basic.publish",
  ),
  row(
    "A body longer than announced",
    // RabbitMQ notices with the frame behind it
    [publish, header(encodeHeader(4)), frame(3, 1, [1, 2, 3, 4, 5]), method(1, "tx.select")],
    505,
    noBody,
    "basic.publish",
  ),
  row(
    "A header of another class",
    [publish, header(encodeHeader(1, {}, 50))],
    505,
    /^UNEXPECTED_FRAME - expected content header for class 60, got one for class 50 instead$/,
    "basic.publish",
  ),
  row(
    "A header with a weight",
    [publish, header(encodeHeader(1).fill(1, 3, 4))],
    505,
    noHeader,
    "basic.publish",
  ),
];

/** Headers that break in their properties: RabbitMQ's channel crashes on them. */
const brokenHeaders: [what: string, payload: Bytes][] = [
  ["no property flags", encodeHeader(0).slice(0, 12)],
  ["a property cut short", encodeHeader(0, { contentType: "text" }).slice(0, -1)],
  ["octets behind the properties", Uint8Array.of(...encodeHeader(0), 1)],
  ["a table longer than the frame", encodeHeader(0, { headers: { a: 1 } }).fill(255, 14, 15)],
];
for (const [what, payload] of brokenHeaders) {
  for (const answer of [internal, frameError]) {
    rows.push({ what: `A header with ${what}`, frames: [publish, header(payload)], ...answer });
  }
}

for (const { what, frames, code, text, method, only } of rows) {
  contract(`${what} closes the connection with ${code}`, async (t) => {
    const channel = await t.channel();
    const { peer } = channel;
    for (const bytes of frames) await peer.sendBytes(bytes);
    const close = await peer.channel(0).expectClose(code, text);
    const { classId, methodId } = method === "" ? { classId: 0, methodId: 0 } : methodIds(method);
    assertEquals([close.classId, close.methodId], [classId, methodId]);
    // Where a broker cannot find the next frame it does not see close-ok, and waits some seconds.
    if (!unreadable.test(text.source)) await peer.ended();
    await using _next = await openPeer(t.port);
  }, only ? { only } : {});
}

contract("A routing key may be any octets: they arrive as they were sent", async (t) => {
  const channel = await t.channel();
  const exchange = await t.exchange(channel, "fanout");
  const queue = await t.queue(channel);
  await channel.call("queue.bind", { queue, exchange });
  const sent = encodeMethod("basic.publish", { exchange, routingKey: "XY" });
  sent.set([200, 255], sent.length - 3);
  await channel.peer.sendFrame(FRAME.method, 1, sent);
  await channel.peer.sendFrame(FRAME.header, 1, encodeHeader(0));
  await waitUntil("it to be routed", async () => (await t.counts(channel, queue)).ready === 1);
  await channel.send("basic.get", { queue, noAck: true });
  const { payload } = await channel.frame();
  assertEquals(payload.slice(-6), Uint8Array.of(200, 255, 0, 0, 0, 0));
});

contract("Both letters of a long integer are read, and every octet but 0 is true", async (t) => {
  const channel = await t.channel();
  const queue = t.name();
  const args = { l: new Typed("l", -1n), L: new Typed("L", 5n) };
  await channel.call("queue.declare", { queue, arguments: args });
  const truth = new WireWriter();
  for (const part of encodeMethod("queue.declare", { queue }).subarray(0, -4)) truth.octet(part);
  truth.longstr(Uint8Array.of(1, 97, 0x74, 7));
  await channel.peer.sendFrame(FRAME.method, 1, truth.take());
  await channel.expect("queue.declare-ok");
});

contract(
  "Names may be 255 octets long, begin with a byte order mark, and differ in one",
  async (t) => {
    const channel = await t.channel();
    const names = ["x".repeat(255), "\ufeffx", "x", "\u00e9".repeat(127)].map((name) =>
      t.adopt(name)
    );
    for (const [index, queue] of names.entries()) {
      assertEquals((await channel.call("queue.declare", { queue })).queue, queue);
      await t.fill(channel, queue, `${index}`);
    }
    for (const [index, queue] of names.entries()) {
      assertEquals(await t.drain(channel, queue), [`${index}`]);
    }
  },
);

function row(
  what: string,
  frames: Bytes[],
  code: number,
  text: RegExp,
  method = "",
  only?: BrokerName,
): Row {
  const named = method === "same" ? nameOf(frames.at(-1)!) : method;
  return { what, frames, code, text, method: named, ...(only ? { only } : {}) };
}

function nameOf(frame: Bytes): string {
  return methodNames.get(frame)!;
}

function method(channel: number, name: string, args: Arguments = {}): Bytes {
  const bytes = encodeFrame(FRAME.method, channel, encodeMethod(name, args));
  methodNames.set(bytes, name);
  return bytes;
}

function header(payload: Bytes): Bytes {
  return encodeFrame(FRAME.header, 1, payload);
}

function frame(type: number, channel: number, payload: ArrayLike<number>): Bytes {
  return encodeFrame(type, channel, Uint8Array.from(payload));
}
