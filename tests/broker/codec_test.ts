/** Properties of the codec: what goes in comes out, and nothing but a refusal comes of damage. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { AMQPView } from "@cloudamqp/amqp-client/amqp-view";
import { ByteReader, ByteWriter, copyBytes, MalformedError } from "../../src/broker/wire/bytes.ts";
import { ContentHeader } from "../../src/broker/message/content_header.ts";
import { deliveredHeader } from "../../src/broker/message/deaths.ts";
import {
  encodeTable,
  type Field,
  MAX_DEPTH,
  readTable,
  type Table,
  writeField,
} from "../../src/broker/wire/fields.ts";
import { FrameError, FrameSource } from "../../src/broker/net/inbox.ts";
import { FrameWriter } from "../../src/broker/wire/frames.ts";
import {
  decodeArguments,
  encodeMethod,
  readMethodName,
} from "../../src/broker/wire/method_codec.ts";
import { METHOD_NAMES, type MethodName } from "../../src/broker/wire/methods.ts";
import { decodeMethod, encodeFrame, encodeHeader, type Properties } from "../support/methods.ts";
import { Random } from "../support/random.ts";

import { Typed, WireWriter } from "../support/wire.ts";
import { concat, sendAll } from "./strangers.ts";

/** The same on every run; TEST_SEED tries others. */
const SEED = Number(Deno.env.get("TEST_SEED") ?? 1);

/** Runs a property many times; a failure names the seed that repeats it (TEST_SEED). */
function property(name: string, times: number, check: (random: Random) => void): void {
  Deno.test(name, () => {
    for (let run = 0; run < times; run++) {
      const seed = (SEED + run) >>> 0;
      try {
        check(new Random(seed));
      } catch (error) {
        throw new Error(`with TEST_SEED=${seed}: ${(error as Error).message}`, { cause: error });
      }
    }
  });
}

// -- tables --

property("a table of every type is read as it was written", 500, (random) => {
  const table = randomTable(random, 3);
  const bytes = encodeTable(table);
  const read = readTable(new ByteReader(bytes));
  assertEquals(read, table);
  assertEquals(encodeTable(read), bytes);
});

property("the client package's tables are read and written byte for byte", 500, (random) => {
  const plain = randomPlainTable(random, 3);
  const bytes = new Uint8Array(64 * 1024);
  const length = new AMQPView(bytes.buffer).setTable(0, plain as never);
  const table = readTable(new ByteReader(bytes, 0, length));
  const written = encodeTable(table);
  assertEquals(written, bytes.slice(0, length));
  assertEquals(new AMQPView(written.buffer).getTable(0), [plain, length]);
});

property("a table that is cut short is refused, at every byte", 100, (random) => {
  const bytes = encodeTable(randomTable(random, 2));
  for (let end = 0; end < bytes.length; end++) {
    assertThrows(() => readTable(new ByteReader(bytes, 0, end)), MalformedError);
  }
});

property("a damaged table is refused or read, and nothing else", 300, (random) => {
  const bytes = encodeTable(randomTable(random, 2));
  for (let at = 0; at < bytes.length; at++) {
    const damaged = bytes.slice();
    damaged[at]! ^= 1 << random.below(8);
    readOrRefuse(() => encodeTable(readTable(new ByteReader(damaged))));
  }
});

Deno.test("tables nest as deep as the limit, in arguments and in headers alike, and no deeper", () => {
  for (const letter of ["F", "A"]) {
    for (let depth = MAX_DEPTH - 2; depth <= MAX_DEPTH + 2; depth++) {
      const bytes = nested(letter, depth);
      const readable = isReadable(() => readTable(new ByteReader(bytes)));
      assertEquals(readable, depth <= MAX_DEPTH, `${letter} ${depth} deep`);
      assertEquals(isReadable(() => scan(headerWith(bytes))), readable, `header ${depth} deep`);
    }
    assert(!isReadable(() => readTable(new ByteReader(nested(letter, 10_000)))));
    assert(!isReadable(() => scan(headerWith(nested(letter, 10_000)))));
  }
});

Deno.test("lengths that lie are refused before memory is taken for them", () => {
  for (const letter of ["S", "x", "F", "A"]) {
    for (const length of [5, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]) {
      const inner = new WireWriter();
      inner.shortstr("a");
      inner.octet(letter.charCodeAt(0));
      inner.long(length);
      inner.raw(Uint8Array.of(1, 2, 3, 4));
      const table = new WireWriter();
      table.longstr(inner.take());
      assert(!isReadable(() => readTable(new ByteReader(table.take()))), `${letter} ${length}`);
      assert(!isReadable(() => scan(headerWith(table.take()))), `${letter} ${length}`);
    }
  }
});

// -- methods --

Deno.test("every method is written as an independent codec reads it, and read as it was written", () => {
  const random = new Random(SEED);
  for (const name of METHOD_NAMES) {
    for (let run = 0; run < 20; run++) {
      const args = randomArguments(random, name);
      const writer = new ByteWriter();
      encodeMethod(writer, name, args as never);
      const reader = new ByteReader(writer.copy());
      assertEquals(readMethodName(reader), name);
      assertEquals(decodeArguments(name, reader).args as unknown, args, `TEST_SEED=${SEED}`);
      if (name.startsWith("access.")) continue; // the other codec has no such class
      const other = decodeMethod(writer.copy());
      assertEquals(other.name, name);
      assertEquals(plainValues(Object.values(other.args)), plainValues(Object.values(args)));
    }
  }
});

Deno.test("a method that is cut short or too long is refused, at every byte", () => {
  const random = new Random(SEED);
  for (const name of METHOD_NAMES) {
    const writer = new ByteWriter();
    encodeMethod(writer, name, randomArguments(random, name) as never);
    const bytes = Uint8Array.of(...writer.copy(), 0);
    for (let end = 4; end <= bytes.length; end++) {
      if (end === bytes.length - 1) continue;
      const reader = new ByteReader(bytes, 4, end);
      assertThrows(() => decodeArguments(name, reader), MalformedError, undefined, name);
    }
  }
});

property("a damaged method is refused or read, and nothing else", 20, (random) => {
  for (const name of METHOD_NAMES) {
    const writer = new ByteWriter();
    encodeMethod(writer, name, randomArguments(random, name) as never);
    const bytes = writer.copy();
    for (let at = 4; at < bytes.length; at++) {
      const damaged = bytes.slice();
      damaged[at]! ^= 1 << random.below(8);
      readOrRefuse(() => decodeArguments(name, new ByteReader(damaged, 4)));
    }
  }
});

Deno.test("a short string holds 255 bytes and is never cut inside a character", () => {
  const rows: [text: string, expected: string][] = [
    ["", ""],
    ["x".repeat(255), "x".repeat(255)],
    ["x".repeat(256), "x".repeat(255)],
    ["\u00e9".repeat(128), "\u00e9".repeat(127)],
    ["\u{1f407}".repeat(64), "\u{1f407}".repeat(63)],
    ["\ufeffmark", "\ufeffmark"],
    ["\ufeff".repeat(20), "\ufeff".repeat(20)],
  ];
  for (const [text, expected] of rows) {
    const writer = new ByteWriter(8);
    writer.shortstr(text);
    assertEquals(new ByteReader(writer.copy()).shortstr(), expected);
  }
});

// -- content headers --

property(
  "a content header is understood as it was written, and rewritten around it",
  500,
  (random) => {
    const properties = randomProperties(random);
    const bodySize = random.below(2 ** 32) * random.below(2 ** 20);
    const bytes = encodeHeader(bodySize, properties);
    const header = scan(bytes);
    assertEquals(header.bodySize, bodySize);
    assertEquals(header.text("contentType"), properties.contentType);
    assertEquals(header.text("userId"), properties.userId);
    assertEquals(header.text("clusterId"), properties.clusterId);
    assertEquals(header.deliveryMode, properties.deliveryMode);
    assertEquals(header.priority, properties.priority);
    assertEquals(header.rewrite({}), bytes);

    const counted = deliveredHeader(bytes, 7);
    const rescanned = scan(counted);
    assertEquals(rescanned.headers().get("x-delivery-count"), { type: "long", value: 7n });
    assertEquals(rescanned.text("appId"), properties.appId);
    const back = rescanned.rewrite({ drop: ["x-delivery-count"] });
    assertEquals(scan(back).headers(), scan(bytes).headers());
  },
);

property("a content header that is cut short or damaged is refused or usable", 100, (random) => {
  const bytes = encodeHeader(5, randomProperties(random));
  for (let end = 0; end < bytes.length; end++) {
    assertThrows(() => new ContentHeader().scan(bytes, 0, end), MalformedError);
  }
  for (let at = 12; at < bytes.length; at++) {
    const damaged = bytes.slice();
    damaged[at]! ^= 1 << random.below(8);
    // What passes must never fail later, when the message is dead-lettered or delivered again.
    if (!isReadable(() => scan(damaged))) continue;
    scan(damaged).headers();
    scan(deliveredHeader(damaged, 1)).headers();
    const header = scan(damaged);
    for (const [name, field] of header.headers()) {
      assertEquals(header.field(name), field);
      header.hasInArray(name, Uint8Array.of(0));
      scan(scan(damaged).shortened(name, 10)).headers();
    }
    scan(scan(damaged).rewrite({ dropExpiration: true, replyTo: "r", drop: ["a", "BCC"] }));
  }
});

// -- frames --

Deno.test("frames arrive whole however the stream is cut, and as an independent codec writes them", async () => {
  const random = new Random(SEED);
  const frames = Array.from({ length: 300 }, () => ({
    type: random.pick([1, 2, 3, 8]),
    channel: random.below(65_536),
    payload: randomBytes(random, random.pick([0, 1, 7, 8, 300, 5_000, 131_072])),
  }));
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const [client, server] = await Promise.all([
    Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port }),
    listener.accept(),
  ]);
  const sending = (async () => {
    for (const { type, channel, payload } of frames) {
      const bytes = encodeFrame(type, channel, payload);
      for (let at = 0; at < bytes.length;) {
        const step = random.pick([1, 2, 3, 8, 100, 70_000]);
        at += await client.write(bytes.subarray(at, at + step));
      }
    }
    client.closeWrite();
  })();
  const source = new FrameSource(server);
  for (const { type, channel, payload } of frames) {
    while (!source.next(131_072)) assert(await source.fill(), `TEST_SEED=${SEED}`);
    const received = source.bytes.slice(source.payloadStart, source.payloadEnd);
    assertEquals([source.type, source.channel], [type, channel], `TEST_SEED=${SEED}`);
    assertEquals(received, payload, `TEST_SEED=${SEED}`);
  }
  assert(!source.next(131_072));
  assert(!await source.fill());
  await sending;
  client.close();
  server.close();
});

Deno.test("the buffer of a connection never grows beyond twice the largest frame", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const [client, server] = await Promise.all([
    Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port }),
    listener.accept(),
  ]);
  const source = new FrameSource(server);
  const frame = encodeFrame(3, 1, new Uint8Array(131_072));
  const sending = (async () => {
    for (let round = 0; round < 50; round++) {
      for (let at = 0; at < frame.length;) at += await client.write(frame.subarray(at));
    }
    client.closeWrite();
  })();
  let largest = 0;
  do {
    while (source.next(131_072));
    largest = Math.max(largest, source.bytes.length);
  } while (await source.fill());
  await sending;
  assert(largest <= 2 * 131_072, `${largest} bytes`);
  client.close();
  server.close();
});

Deno.test("before the login nothing that a client sends makes its buffer large", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  using client = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
  using server = await listener.accept();
  const source = new FrameSource(server);
  const heartbeats = concat(Array.from({ length: 100_000 }, () => {
    return encodeFrame(8, 0, new Uint8Array());
  }));
  const sending = sendAll(client, heartbeats).then(() => client.closeWrite());
  let frames = 0;
  while (await source.fill()) while (source.next(4_096)) frames++;
  await sending;
  assertEquals(frames, 100_000);
  assert(source.bytes.length <= 8_192, `${source.bytes.length} bytes`);
});

Deno.test("the buffer of a connection that became quiet is small again", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  using client = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
  using server = await listener.accept();
  const source = new FrameSource(server);
  const receive = async (frame: Uint8Array) => {
    const sending = (async () => {
      for (let at = 0; at < frame.length;) at += await client.write(frame.subarray(at));
    })();
    while (!source.next(131_072)) await source.fill();
    await sending;
  };
  await receive(encodeFrame(3, 1, new Uint8Array(131_072)));
  assert(source.bytes.length > 100_000, `${source.bytes.length} bytes`);
  for (let i = 0; i < 30; i++) await receive(encodeFrame(8, 0, new Uint8Array()));
  assert(source.bytes.length <= 1_024, `${source.bytes.length} bytes`);
});

Deno.test("content is cut into frames of the negotiated size", () => {
  for (const [size, frameMax] of [[0, 4096], [4088, 4096], [4089, 4096], [300_000, 131_072]]) {
    const writer = new FrameWriter();
    const body = new Uint8Array(size!).fill(7);
    const header = encodeHeader(size!);
    writer.header(3, header, 0, header.length);
    writer.body(3, body, 0, body.length, frameMax!);
    const expected = new WireWriter();
    expected.raw(encodeFrame(2, 3, encodeHeader(size!)));
    for (let at = 0; at < size!; at += frameMax! - 8) {
      expected.raw(encodeFrame(3, 3, body.subarray(at, at + frameMax! - 8)));
    }
    assertEquals(writer.copy(), expected.take());
  }
});

// -- random values --

function randomTable(random: Random, depth: number): Table {
  const entries = random.list(6, () => [random.text(), randomField(random, depth)] as const);
  return new Map(entries);
}

function randomField(random: Random, depth: number): Field {
  const simple = [
    "bool",
    "byte",
    "unsignedbyte",
    "short",
    "unsignedshort",
    "signedint",
    "unsignedint",
    "long",
    "timestamp",
    "float",
    "double",
    "decimal",
    "longstr",
    "binary",
    "void",
  ] as const;
  const type = random.pick(depth > 0 ? [...simple, "table", "array"] as const : simple);
  switch (type) {
    case "bool":
      return { type, value: random.below(2) === 1 };
    case "byte":
      return { type, value: random.below(256) - 128 };
    case "unsignedbyte":
      return { type, value: random.below(256) };
    case "short":
      return { type, value: random.below(65_536) - 32_768 };
    case "unsignedshort":
      return { type, value: random.below(65_536) };
    case "signedint":
      return { type, value: random.below(2 ** 32) - 2 ** 31 };
    case "unsignedint":
      return { type, value: random.below(2 ** 32) };
    case "long":
    case "timestamp":
      return { type, value: BigInt.asIntN(64, randomBig(random)) };
    case "float":
      return { type, value: Math.fround(random.next() * 1e10) };
    case "double":
      return { type, value: random.pick([random.next(), -0, Infinity, NaN, 5e-324]) };
    case "decimal":
      return { type, scale: random.below(256), value: random.below(2 ** 32) };
    case "longstr":
      return { type, value: random.text(random.pick([3, 40, 400])) };
    case "binary":
      return { type, value: randomBytes(random, random.below(100)) };
    case "void":
      return { type, value: null };
    case "table":
      return { type, value: randomTable(random, depth - 1) };
    case "array":
      return { type, value: random.list(5, () => randomField(random, depth - 1)) };
  }
}

/** What AMQPView can both write and read back without losing the type. */
function randomPlainTable(random: Random, depth: number): Record<string, unknown> {
  return Object.fromEntries(
    random.list(6, () => [random.text(), randomPlain(random, depth)] as const),
  );
}

function randomPlain(random: Random, depth: number): unknown {
  switch (random.below(depth > 0 ? 9 : 7)) {
    case 0:
      return random.text(60);
    case 1:
      return random.below(2) === 1;
    case 2:
      return random.below(2 ** 32) - 2 ** 31;
    case 3:
      return 2 ** 33 + random.below(2 ** 30);
    case 4:
      return Math.fround(random.next());
    case 5:
      return randomBytes(random, random.below(20));
    case 6:
      return new Date(random.below(2 ** 32) * 1000);
    case 7:
      return randomPlainTable(random, depth - 1);
    default:
      return random.list(4, () => randomPlain(random, depth - 1));
  }
}

function randomArguments(random: Random, name: MethodName): Record<string, unknown> {
  const fields = fieldsOf(name);
  return Object.fromEntries(
    Object.entries(fields).map(([field, type]) => [field, randomArgument(random, type)]),
  );
}

/** The fields of a method: decoding zeros shows their types. */
function fieldsOf(name: MethodName): Record<string, unknown> {
  for (let length = 0;; length++) {
    try {
      const reader = new ByteReader(new Uint8Array(length));
      return decodeArguments(name, reader).args as Record<string, unknown>;
    } catch (error) {
      if (length > 64) throw error;
    }
  }
}

function randomArgument(random: Random, sample: unknown): unknown {
  if (typeof sample === "boolean") return random.below(2) === 1;
  if (typeof sample === "number") return random.below(256); // fits every width
  if (typeof sample === "string") return random.text();
  if (sample instanceof Uint8Array) return new TextEncoder().encode(`${random.below(1e6)}`);
  return randomTable(random, 1);
}

/** Tables left out: the two codecs show them in different forms. */
function plainValues(values: unknown[]): unknown[] {
  return values
    .map((value) => value instanceof Uint8Array ? new TextDecoder().decode(value) : value)
    .filter((value) => typeof value !== "object");
}

function randomProperties(random: Random): Properties {
  const all: Properties = {
    contentType: random.text(),
    contentEncoding: random.text(),
    headers: { a: random.text(), b: new Typed("F", { c: new Typed("A", [1, "x", null]) }) },
    deliveryMode: 1 + random.below(2),
    priority: random.below(256),
    correlationId: random.text(),
    replyTo: random.text(),
    expiration: `${random.below(100_000)}`,
    messageId: random.text(),
    timestamp: random.below(2 ** 32),
    type: random.text(),
    userId: random.text(),
    appId: random.text(),
    clusterId: random.text(),
  };
  return Object.fromEntries(Object.entries(all).filter(() => random.below(2) === 1));
}

function randomBytes(random: Random, length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, () => random.below(256));
}

function randomBig(random: Random): bigint {
  return BigInt(random.below(2 ** 32)) * 2n ** 32n + BigInt(random.below(2 ** 32));
}

/** A table of one field, `depth` containers deep. */
function nested(letter: string, depth: number): Uint8Array<ArrayBuffer> {
  let bytes = new ByteWriter();
  writeField(bytes, { type: "void", value: null });
  for (let level = 0; level < depth; level++) {
    const outer = new ByteWriter(bytes.length + 16);
    outer.octet(letter.charCodeAt(0));
    outer.long(bytes.length + (letter === "F" ? 2 : 0));
    if (letter === "F") outer.shortstr("n");
    outer.append(bytes.copy());
    bytes = outer;
  }
  const table = new WireWriter();
  const inner = new WireWriter();
  inner.shortstr("n");
  inner.raw(bytes.copy());
  table.longstr(inner.take());
  return table.take();
}

/** A content header payload with these bytes as its headers. */
function headerWith(table: Uint8Array): Uint8Array {
  const header = encodeHeader(0);
  header[12] = 0x20;
  return Uint8Array.of(...header, ...table);
}

/** One for all, as a channel has: nothing of those before may be left. */
const scanned = new ContentHeader();

function scan(bytes: Uint8Array): ContentHeader {
  return scanned.scan(bytes, 0, bytes.length);
}

function isReadable(read: () => unknown): boolean {
  try {
    read();
    return true;
  } catch (error) {
    if (error instanceof MalformedError || error instanceof FrameError) return false;
    throw error;
  }
}

function readOrRefuse(read: () => unknown): void {
  isReadable(read);
}

Deno.test("bytes are copied as they are, wherever they lie and however many", () => {
  const from = crypto.getRandomValues(new Uint8Array(20_000));
  for (const room of [700, 20_000]) {
    for (let length = 0; length < 300; length++) {
      const to = new Uint8Array(room);
      const start = length % 13;
      const at = 1 + length % 7;
      copyBytes(from, start, start + length, to, at);
      const copied = new Uint8Array(room);
      copied.set(from.subarray(start, start + length), at);
      assertEquals(to, copied);
    }
  }
});

Deno.test("a delivery in one piece is what its frames are one by one", () => {
  const channel = 0x1234;
  const tag = 5 * 2 ** 32 + 0xfedcba98;
  const consumerTag = Uint8Array.of(3, 97, 98, 99);
  const array = crypto.getRandomValues(new Uint8Array(20_000));
  for (const bodyLength of [0, 1, 100, 300, 5_000]) {
    const addressLength = 12;
    const headerEnd = addressLength + 40;
    const content = { array, start: 777, size: headerEnd + bodyLength, addressLength, headerEnd };
    const whole = new FrameWriter();
    const single = new FrameWriter();
    for (const redelivered of [false, true]) {
      whole.delivery(channel, consumerTag, tag, redelivered, content);
      single.deliver(channel, consumerTag, tag, redelivered, array, 777, addressLength);
      single.header(channel, array, 777 + addressLength, 777 + headerEnd);
      const end = 777 + content.size;
      single.body(channel, array, 777 + headerEnd, end, 131_072, end);
    }
    assertEquals(whole.copy(), single.copy());
  }
});
