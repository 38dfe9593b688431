import { createHash } from "node:crypto";
import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { ContentWriter } from "../../src/amqp/client/content.ts";
import { type ContentHeader, readContentHeader } from "../../src/amqp/client/content_header.ts";
import { findPlainId, readPlainProperties } from "../../src/amqp/client/plain_content.ts";
import { AMQPView, textAt } from "../../src/amqp/client/view.ts";
import { ConnectionError, EXIT, TaskError } from "../../src/errors.ts";
import type { Field, TaskProperties } from "../../src/task/task.ts";
import {
  decodeHeader,
  decodeMethod,
  encodeHeader,
  FRAME,
  type Properties,
} from "../support/methods.ts";
import { Typed } from "../support/wire.ts";
import { Random } from "../support/random.ts";
import { task } from "./harness.ts";

interface WireFrame {
  readonly type: number;
  readonly channel: number;
  readonly payload: Uint8Array<ArrayBuffer>;
}

/** What a peer would read of the pieces. */
function frames(pieces: readonly Uint8Array[]): WireFrame[] {
  const total = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const bytes = new Uint8Array(total);
  let filled = 0;
  for (const piece of pieces) {
    bytes.set(piece, filled);
    filled += piece.length;
  }
  const found: WireFrame[] = [];
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < total;) {
    const end = at + 7 + view.getUint32(at + 3);
    assertEquals(bytes[end], FRAME.end);
    found.push({
      type: bytes[at]!,
      channel: view.getUint16(at + 1),
      payload: bytes.slice(at + 7, end),
    });
    at = end + 1;
  }
  return found;
}

function viewOf(payload: Uint8Array): AMQPView {
  return new AMQPView(payload.buffer as ArrayBuffer, payload.byteOffset, payload.length);
}

/** @param size bytes of the payload, if others follow it */
function readHeader(payload: Uint8Array, size = payload.length): ContentHeader {
  const bytes = payload as Uint8Array<ArrayBuffer>;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return readContentHeader({ bytes, view }, 0, size);
}

/** Properties as a consumer of ours sees what a publisher of ours sent. */
function roundTrip(properties: TaskProperties): TaskProperties {
  const [, header] = frames(new ContentWriter(1, 131072).publish(task("q", "", properties), "id"));
  return readHeader(header!.payload).properties;
}

/** Tells bytes apart without printing them all when they differ. */
function hashOf(parts: readonly Uint8Array[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex");
}

Deno.test("every property arrives as it was sent", () => {
  const properties: TaskProperties = {
    contentType: "text/plain",
    contentEncoding: "gzip",
    headers: {},
    deliveryMode: 2,
    priority: 255,
    correlationId: "c",
    replyTo: "r",
    expiration: "60000",
    messageId: "id",
    timestamp: new Date(1_700_000_000_000),
    type: "t",
    userId: "u",
    appId: "a".repeat(255),
  };
  assertEquals(roundTrip(properties), properties);
  assertEquals(roundTrip({}), { deliveryMode: 2, messageId: "id" });
});

Deno.test("whole numbers beyond 32 bits and fractions arrive without loss", () => {
  const sent: Record<string, Field> = {
    edge: 2 ** 31 - 1,
    over: 2 ** 31,
    below: -(2 ** 31),
    under: -(2 ** 31) - 1,
    issue: 3_000_000_000,
    days30: 2_592_000_000,
    safe: Number.MAX_SAFE_INTEGER,
    negative: Number.MIN_SAFE_INTEGER,
    big: 2n ** 62n,
  };
  assertEquals(roundTrip({ headers: sent }).headers, sent);
  const fractions = { tenth: 0.1, tiny: 5e-324, nan: NaN, huge: -Infinity, deep: [{ x: -0.3 }] };
  assertEquals(roundTrip({ headers: fractions }).headers, fractions);
});

Deno.test("a received timestamp that no date can hold is left out, one to send is refused", () => {
  for (const timestamp of [1.7e15, 2 ** 63 - 1024, -(2 ** 63)]) {
    const { properties } = readHeader(encodeHeader(5, { timestamp, type: "t" }));
    assertEquals(properties, { type: "t" });
  }
  const error = assertThrows(() => roundTrip({ timestamp: new Date(NaN) }), TaskError);
  assertEquals(error.message, "the timestamp of a task must be a date, and is none");
});

Deno.test("a priority that a byte cannot hold is refused", () => {
  for (const priority of [-1, 256, 1.5, NaN]) {
    const error = assertThrows(() => roundTrip({ priority }), TaskError);
    assertEquals(
      [error.message, error.exitCode],
      [`the priority of a task must be a whole number from 0 to 255, and is ${priority}`, 65],
    );
  }
});

Deno.test("a whole number beyond 64 bits becomes a string instead of another number", () => {
  assertEquals(
    roundTrip({ headers: { a: 2 ** 70, b: 2n ** 63n, c: -(2n ** 63n), d: -(2 ** 64) } }).headers,
    {
      a: "1180591620717411303424",
      b: "9223372036854775808",
      c: -(2n ** 63n),
      d: "-18446744073709551616",
    },
  );
});

Deno.test("every kind of table field arrives, nested ones too", () => {
  const headers: Record<string, Field> = {
    text: "Gr\u00fc\u00dfe \u{1f407}",
    bom: "\ufeffx",
    empty: "",
    yes: true,
    no: false,
    none: null,
    zero: 0,
    date: new Date(1_700_000_000_000),
    bytes: Uint8Array.of(0, 255),
    list: [1, "two", [true, null], {}],
    table: { a: { b: { c: "deep" } }, "": "no name" },
    ["k".repeat(255)]: "long name",
  };
  assertEquals(roundTrip({ headers }).headers, headers);
});

Deno.test("random headers arrive as a peer of other make reads them", () => {
  const random = new Random(4);
  function field(depth: number): Field {
    const kind = random.below(depth > 3 ? 5 : 7);
    if (kind === 0) return random.textOf("ab\u00fc\u{1f407}", 20);
    if (kind === 1) return random.next() < 0.5;
    if (kind === 2) return null;
    if (kind === 3) return Math.floor((random.next() - 0.5) * 2 ** random.below(54));
    if (kind === 4) return random.bytes(random.below(20));
    if (kind === 5) return Array.from({ length: random.below(4) }, () => field(depth + 1));
    return table(depth + 1);
  }
  function table(depth: number): Record<string, Field> {
    return Object.fromEntries(
      Array.from({ length: random.below(5) }, (_, i) => [`k${i}`, field(depth)]),
    );
  }
  for (let i = 0; i < 500; i++) {
    const headers = table(0);
    const [, header] = frames(
      new ContentWriter(9, 131072).publish(task("q", "", { headers }), "x"),
    );
    assertEquals(decodeHeader(header!.payload).properties.headers, headers);
    assertEquals(readHeader(header!.payload).properties.headers, headers);
  }
});

Deno.test("a header named __proto__ is a header", () => {
  const hostile = Object.fromEntries([["__proto__", Object.fromEntries([["__proto__", 1]])]]);
  const headers = { ...hostile, after: true };
  const { properties } = readHeader(encodeHeader(5, { headers }));
  assertEquals(properties.headers, headers);
  assertEquals(Object.getPrototypeOf(properties.headers), Object.prototype);
});

Deno.test("what the package's reader gives does not change with the read buffer", () => {
  const payload = encodeHeader(5, {
    headers: { bytes: Uint8Array.of(1, 2, 3), in: [new Typed("x", Uint8Array.of(4))] },
  });
  const { properties } = readHeader(payload);
  payload.fill(0);
  assertEquals(properties.headers, { bytes: Uint8Array.of(1, 2, 3), in: [Uint8Array.of(4)] });
});

Deno.test("an unknown field type costs the headers, not the task's other properties", () => {
  const known: Properties = {
    contentType: "text/plain",
    deliveryMode: 2,
    priority: 3,
    messageId: "kept",
    type: "t",
  };
  const odd = { a: 1, odd: new Typed("Z", null), b: "x" };
  for (const value of [odd, { nested: odd }, { list: [new Typed("?", null)] }]) {
    const payload = encodeHeader(7, { ...known, headers: value });
    const { bodySize, properties } = readHeader(payload);
    assertEquals([bodySize, properties.messageId, properties.priority, properties.type], [
      7,
      "kept",
      3,
      "t",
    ]);
    assertEquals(properties.contentType, "text/plain");
  }
});

Deno.test("properties that are left as bytes are those that can be read later, wherever they are cut", () => {
  const random = new Random(11);
  const samples: Properties = {
    contentType: "text/plain",
    contentEncoding: "",
    deliveryMode: 2,
    priority: 3,
    correlationId: "c".repeat(255),
    replyTo: "r",
    messageId: "an id",
    type: "\u00e9",
    appId: "a",
    expiration: "1",
    userId: "u",
  };
  const names = Object.keys(samples) as (keyof Properties)[];
  let plain = 0;
  for (let round = 0; round < 300; round++) {
    const some = Object.fromEntries(
      names.filter(() => random.below(3) > 0).map((name) => [name, samples[name]]),
    );
    const full = encodeHeader(9, some);
    for (let length = 12; length <= full.length; length++) {
      const bytes = new Uint8Array(full.length + 600).fill(0x5a);
      bytes.set(full.subarray(0, length));
      const frames = { bytes, view: new DataView(bytes.buffer) };
      const idStart = findPlainId(frames, 0, length);
      if (idStart === undefined) {
        assert(length < full.length || "expiration" in some || "userId" in some);
        continue;
      }
      plain++;
      const properties = readPlainProperties(frames, 0, length)!;
      assertEquals(properties.messageId ?? "", idStart === 0 ? "" : textAt(bytes, idStart, length));
      assertEquals([properties.expiration, properties.userId], [undefined, undefined]);
    }
  }
  assert(plain > 20, `${plain}`);
});

Deno.test("a header frame cut anywhere, or with any byte changed, reads or is a protocol error", () => {
  const full = encodeHeader(9, {
    contentType: "text/plain",
    headers: { a: 1, b: ["x", { c: null }], d: new Uint8Array(5) },
    deliveryMode: 2,
    messageId: "some id",
    timestamp: 1_700_000_000,
  });
  // As in the read buffer, other bytes follow: none of them may get into this task.
  const marker = 0x5a;
  function read(payload: Uint8Array): void {
    const surroundings = new Uint8Array(payload.length + 600).fill(marker);
    surroundings.set(payload);
    try {
      const header = readHeader(surroundings, payload.length);
      const seen = Deno.inspect(header.properties, {
        depth: 20,
        iterableLimit: 1000,
        strAbbreviateSize: 10_000,
      });
      assert(!seen.includes("ZZZ") && !seen.includes("90, 90, 90"), seen);
    } catch (error) {
      assert(error instanceof ConnectionError || error instanceof RangeError, String(error));
    }
  }
  for (let length = 0; length <= full.length; length++) read(full.subarray(0, length));
  for (let at = 0; at < full.length; at++) {
    for (const value of [0, 1, 0x46, 0x53, 0x78, 0x7f, 0x80, 0xff]) {
      const changed = full.slice();
      changed[at] = value;
      read(changed);
    }
  }
  const random = new Random(5);
  for (let i = 0; i < 3000; i++) {
    const changed = full.slice();
    for (let k = 1 + random.below(4); k > 0; k--) {
      changed[random.below(full.length)] = random.below(256);
    }
    read(changed);
  }
});

Deno.test("an announced body beyond RabbitMQ's hard limit is refused before memory is set aside", () => {
  for (const size of [2 ** 29 + 1, Number.MAX_SAFE_INTEGER]) {
    const error = assertThrows(
      () => readHeader(encodeHeader(size)),
      ConnectionError,
      "a body must be at most 536870912 bytes",
    );
    assertEquals(error.exitCode, EXIT.protocol);
  }
  assertThrows(() => readHeader(encodeHeader(-1)), ConnectionError);
});

Deno.test("no frame is larger than was agreed, and the body arrives whole, for every size and limit", () => {
  const random = new Random(6);
  for (const frameMax of [4096, 4097, 8192, 131072]) {
    const writer = new ContentWriter(3, frameMax);
    const sizes = [
      0,
      1,
      4087,
      4088,
      4089,
      4095,
      4096,
      4097,
      frameMax - 9,
      frameMax - 8,
      frameMax - 7,
      3 * frameMax,
    ];
    for (const size of sizes) {
      const body = random.bytes(size);
      for (const padding of [0, frameMax - 700]) {
        const headers = { pad: "p".repeat(padding) };
        const names = padding === 0 ? "q" : "q".repeat(255);
        const publication = { ...task(names, body, { headers }), exchange: names };
        const found = frames(writer.publish(publication, "id"));
        for (const frame of found) {
          assert(frame.payload.length <= frameMax - 8, `${frame.payload.length} of ${frameMax}`);
          assertEquals(frame.channel, 3);
        }
        assertEquals(decodeMethod(found[0]!.payload).args, {
          reserved1: 0,
          exchange: names,
          routingKey: names,
          mandatory: true,
          immediate: false,
        });
        assertEquals(decodeHeader(found[1]!.payload).bodySize, size);
        assertEquals(hashOf(found.slice(2).map((frame) => frame.payload)), hashOf([body]));
      }
    }
  }
});

Deno.test("pieces stay as they are when the next task is encoded, but for small first ones", () => {
  const writer = new ContentWriter(1, 131072);
  const headers = { pad: "a".repeat(20_000) };
  const pieces = writer.publish(task("q", "", { headers }), "one");
  const before = pieces.map((piece) => piece.slice());
  writer.publish(task("q", "", { headers: { pad: "b".repeat(20_000) } }), "two");
  assert(pieces.every((piece, i) => hashOf([piece]) === hashOf([before[i]!])), "pieces changed");
});

Deno.test("headers that do not fit into one frame are the task's fault, in a sentence", () => {
  const writer = new ContentWriter(1, 4096);
  for (const size of [4080, 9_000, 100_000, 10_000_000]) {
    for (const pad of ["x".repeat(size), new Uint8Array(size), new Array(size).fill(true)]) {
      const error = assertThrows(
        () => writer.publish(task("q", "", { headers: { pad } }), "id"),
        TaskError,
        "must fit into one frame of 4096 bytes",
      );
      assertEquals(error.exitCode, EXIT.badData);
    }
  }
  // The writer is as good as before.
  assertEquals(frames(writer.publish(task("q", "x"), "id")).length, 3);
});

Deno.test("names and properties over 255 bytes are the task's fault, in a sentence", () => {
  const writer = new ContentWriter(1, 131072);
  const long = "\u00fc".repeat(128);
  const bad: [Partial<ReturnType<typeof task>>, TaskProperties, string][] = [
    [{ routingKey: long }, {}, "id"],
    [{ exchange: long }, {}, "id"],
    [{}, { correlationId: long }, "id"],
    [{}, { headers: { [long]: 1 } }, "id"],
    [{}, {}, long],
  ];
  for (const [names, properties, id] of bad) {
    const error = assertThrows(
      () => writer.publish({ ...task("q", "", properties), ...names }, id),
      TaskError,
      "must be at most 255 bytes, and has 256",
    );
    assertEquals(error.exitCode, EXIT.badData);
  }
  const error = assertThrows(
    () => writer.publish(task("q", "", { headers: { f: (() => 1) as unknown as Field } }), "id"),
    TaskError,
  );
  assertStringIncludes(error.message, "the task cannot be encoded");
});

Deno.test("each task has its own address, whatever the one before it had", () => {
  const writer = new ContentWriter(1, 4096);
  const addresses: [string, string][] = [
    ["queue", ""],
    ["queue", ""],
    ["queue", "exchange"],
    ["other", "exchange"],
    ["other", "exchange"],
    ["\u{fc}ber", "a".repeat(255)],
    ["\u{fc}ber", "a".repeat(255)],
  ];
  for (const size of [0, 10, 10_000]) {
    for (const [routingKey, exchange] of [...addresses, ...addresses]) {
      const message = { ...task("q", ""), body: new Uint8Array(size), routingKey, exchange };
      const [method] = frames(writer.publish(message, "id"));
      const sent = viewOf(method!.payload);
      assertEquals(sent.getShortString(6)[0], exchange);
      assertEquals(sent.getShortString(6 + sent.getShortString(6)[1])[0], routingKey);
    }
  }
  assertThrows(
    () => writer.publish({ ...task("q", ""), routingKey: "x".repeat(256) }, "id"),
    TaskError,
  );
  const [method] = frames(writer.publish({ ...task("q", ""), routingKey: "queue" }, "id"));
  const sent = viewOf(method!.payload);
  assertEquals(sent.getShortString(6 + sent.getShortString(6)[1])[0], "queue");
});
