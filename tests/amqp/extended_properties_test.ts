import { assertEquals } from "@std/assert";
import { encodeFields, extendProperties } from "../../src/amqp/client/extended_properties.ts";
import { AMQPView } from "../../src/amqp/client/view.ts";
import type { TaskProperties } from "../../src/task/task.ts";
import { Random } from "../support/random.ts";

function encoded(properties: TaskProperties): Uint8Array {
  const view = new AMQPView(new ArrayBuffer(8_192));
  const end = view.setProperties(0, properties);
  return new Uint8Array(view.buffer, 0, end).slice();
}

function decoded(bytes: Uint8Array): TaskProperties {
  const copy = bytes.slice();
  const [properties, end] = new AMQPView(copy.buffer as ArrayBuffer).getProperties(0);
  assertEquals(end, bytes.length);
  return properties;
}

const ADDED = { "task-hops": 1, "task-forwarded": { count: 1, queue: "q", redelivered: false } };
const SAMPLES: Required<Omit<TaskProperties, "expiration" | "userId">> = {
  contentType: "text/plain",
  contentEncoding: "gzip",
  headers: { tag: "x".repeat(300), list: [1, "two"], no: null },
  deliveryMode: 1,
  priority: 9,
  correlationId: "c",
  replyTo: "r".repeat(255),
  messageId: "id",
  timestamp: new Date(1_700_000_000_000),
  type: "t",
  appId: "a",
};

Deno.test("a copy has all of its original and the headers that are added, whatever there is", () => {
  const random = new Random(3);
  const fields = encodeFields(ADDED);
  const id = new TextEncoder().encode("new");
  const names = Object.keys(SAMPLES) as (keyof typeof SAMPLES)[];
  for (let round = 0; round < 500; round++) {
    const properties: TaskProperties = Object.fromEntries(
      names.filter(() => random.below(2) === 0).map((name) => [name, SAMPLES[name]]),
    );
    const received = encoded(properties);
    const bytes = new Uint8Array(received.length + 20).fill(0xff);
    bytes.set(received, 10);
    const extended = extendProperties(bytes, fields, id, 10, 10 + received.length)!.slice();
    assertEquals(extendProperties(received, fields, id), extended);
    assertEquals(decoded(extended), {
      messageId: "new",
      ...properties,
      headers: { ...properties.headers, ...ADDED },
      deliveryMode: 2,
    });
  }
});

Deno.test("an id of no bytes is none", () => {
  // Flags, the address for replies, the id, the type; our encoder leaves an empty id out.
  const received = Uint8Array.from([...encoded({ messageId: "i", replyTo: "r", type: "t" })]
    .toSpliced(4, 2, 0));
  const extended = extendProperties(received, encodeFields({}), new TextEncoder().encode("new"))!;
  assertEquals(decoded(extended), {
    headers: {},
    deliveryMode: 2,
    replyTo: "r",
    messageId: "new",
    type: "t",
  });
});

Deno.test("bytes that are no text stay as they are", () => {
  const received = encoded({ messageId: "abc", type: "x" });
  received[3] = 0xff;
  const extended = extendProperties(received, encodeFields({}), undefined)!;
  assertEquals(extended.slice(-6), Uint8Array.of(3, 0xff, 0x62, 0x63, 1, 0x78));
});

Deno.test("what a copy must not have is left to whoever can leave it out", () => {
  for (const more of [{ expiration: "1000" }, { userId: "guest" }]) {
    assertEquals(
      extendProperties(encoded({ ...SAMPLES, ...more }), new Uint8Array(), undefined),
      undefined,
    );
  }
});
