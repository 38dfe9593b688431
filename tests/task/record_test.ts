import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { ContentWriter } from "../../src/amqp/client/content.ts";
import { readContentHeader } from "../../src/amqp/client/content_header.ts";
import { parseRecord, readRecord, RecordError, type TaskRecord } from "../../src/task/record.ts";
import { hasUnusualNumbers } from "../../src/task/record_text.ts";
import { schedule } from "../../src/task/schedule.ts";
import { Random } from "../support/random.ts";

const NOW = Date.UTC(2026, 0, 1);

function parse(text: string | Uint8Array): TaskRecord {
  return parseRecord(text, { now: NOW });
}

function textOf({ body }: TaskRecord): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(body);
}

/** The sentence about a record that is none. */
function complaint(text: string | Uint8Array): string {
  return assertThrows(() => parse(text), RecordError).message;
}

Deno.test("a record with every field is the task that it says", () => {
  const record = parse(JSON.stringify({
    body: "h\u00e9llo",
    id: "mail-1",
    queue: "mails",
    priority: 9,
    headers: { size: "small", pages: 3, ratio: 0.5, urgent: true, none: null, tags: ["a", 1] },
    content_type: "text/markdown",
    content_encoding: "identity",
    type: "mail",
    correlation_id: "c",
    reply_to: "answers",
    expiration: "30s",
    delay: "90s",
  }));
  assertEquals(textOf(record), "h\u00e9llo");
  assertEquals(record.properties, {
    contentType: "text/markdown",
    messageId: "mail-1",
    contentEncoding: "identity",
    type: "mail",
    correlationId: "c",
    replyTo: "answers",
    priority: 9,
    expiration: "30000",
    headers: { size: "small", pages: 3, ratio: 0.5, urgent: true, none: null, tags: ["a", 1] },
  });
  assertEquals([record.queue, record.delayMs, record.dueAt], ["mails", 90_000, undefined]);
});

Deno.test("a body is text, bytes or JSON, and its content type follows", () => {
  const rows: [string, string, string][] = [
    ['{"body":""}', "", "text/plain"],
    ['{"body":"a\\nb\\u0000"}', "a\nb\0", "text/plain"],
    ['{"body":"\ufeffa"}', "\ufeffa", "text/plain"],
    ['{"body_base64":"aGk="}', "hi", "application/octet-stream"],
    ['{"body_base64":"aG\\nk"}', "hi", "application/octet-stream"],
    ['{"json":null}', "null", "application/json"],
    ['{"json": {"a" : [1, "}"]} }', '{"a" : [1, "}"]}', "application/json"],
    // As it was written: no digit is lost, no half pair becomes another character.
    ['{"json":12345678901234567890.50}', "12345678901234567890.50", "application/json"],
    ['{"json":[1e400]}', "[1e400]", "application/json"],
    ['{"json":"\\ud800"}', '"\\ud800"', "application/json"],
    ['{"json":{"__proto__":{"a":1}}}', '{"__proto__":{"a":1}}', "application/json"],
    ['{"json":{"a":1,"a":2}}', '{"a":1,"a":2}', "application/json"],
    ['{"json":1,"content_type":"x/y"}', "1", "x/y"],
  ];
  for (const [text, body, type] of rows) {
    const record = parse(text);
    assertEquals([textOf(record), record.properties.contentType], [body, type], text);
  }
  assertEquals(parse(new TextEncoder().encode('\ufeff{"body":"a"}')).body.length, 1);
});

Deno.test("a body is the same from text and from bytes, however it is written", () => {
  const rows = [
    ['{"body":"plain"}', "plain"],
    ['{ "body" :\t"a b"\r\n, "type": "x" }', "a b"],
    ['{"type":"body","body":""}', ""],
    ['{"body":"\\u0061\\n\\"\\\\","id":"i"}', 'a\n"\\'],
    ['{"body":"h\u00e9 \ud83d\ude00"}', "h\u00e9 \ud83d\ude00"],
    ['{"type":"\u00e9","body":"a"}', "a"],
    ['{"b\\u006fdy":"a"}', "a"],
    ['{"json": [1, 1.0 , "x,}"] }', '[1, 1.0 , "x,}"]'],
    ['{"json":"\u00e9"}', '"\u00e9"'],
    ['{"json":\t7\r}', "7"],
  ] as const;
  for (const [text, body] of rows) {
    const bytes = new TextEncoder().encode(text);
    assertEquals(textOf(parse(text)), body);
    assertEquals(textOf(parse(bytes)), body, text);
    assertEquals(textOf(parse(Uint8Array.of(0xef, 0xbb, 0xbf, ...bytes))), body, text);
  }
});

Deno.test("a record that is none is told in one sentence: field, requirement, value", () => {
  const rows: [string, string][] = [
    ["", "a record must be JSON, and is not: Unexpected end of JSON input"],
    ["{", "a record must be JSON, and is not: Expected"],
    ['{"body":"a"} x', "a record must be JSON, and is not: Unexpected non-whitespace"],
    ["null", "a record must be a JSON object, and is null"],
    ["[1]", "a record must be a JSON object, and is a list"],
    ['"text"', 'a record must be a JSON object, and is "text"'],
    ["{}", "a record must have one of body, body_base64 and json, and has none"],
    [
      '{"body":"a","json":1}',
      "a record must have one of body, body_base64 and json, and has body and json",
    ],
    ['{"body":1}', "body must be text, and is 1"],
    ['{"body":null}', "body must be text, and is null"],
    ['{"body":"\\udc00"}', "body must be Unicode text, and has half a surrogate pair"],
    ['{"body_base64":"?"}', 'body_base64 must be base64 (A-Z a-z 0-9 + / =), and is "?"'],
    ['{"body_base64":"A"}', 'body_base64 must be base64 (A-Z a-z 0-9 + / =), and is "A"'],
    ['{"body_base64":7}', "body_base64 must be text, and is 7"],
    [
      '{"body":"a","delay":1,"at":"2026-01-01T00:00Z"}',
      "a record must have delay or at, not both, and has both",
    ],
    ['{"body":"a","id":""}', "id must have 1 to 255 bytes, and has 0"],
    [`{"body":"a","id":"${"x".repeat(256)}"}`, "id must have 1 to 255 bytes, and has 256"],
    [`{"body":"a","id":"${"\u00e9".repeat(128)}"}`, "id must have 1 to 255 bytes, and has 256"],
    ['{"body":"a","id":5}', "id must be text, and is 5"],
    ['{"body":"a","id":"\\ud800"}', "id must be Unicode text, and has half a surrogate pair"],
    ['{"body":"a","queue":"a\\nb"}', 'queue must be without a line break, and is "a\\nb"'],
    ['{"body":"a","queue":""}', "queue must have 1 to 255 bytes, and has 0"],
    [
      `{"body":"a","delay":1,"queue":"${"q".repeat(239)}"}`,
      "queue must have 1 to 238 bytes for a task that waits, and has 239",
    ],
    [`{"body":"a","type":"${"x".repeat(300)}"}`, "type must have 0 to 255 bytes, and has 300"],
    [
      '{"body":"a","reply_to":"amq.rabbitmq.reply-to"}',
      'reply_to must name a queue, and is "amq.rabbitmq.reply-to", which is nobody\'s here',
    ],
    ['{"body":"a","priority":256}', "priority must be a whole number from 0 to 255, and is 256"],
    ['{"body":"a","priority":-1}', "priority must be a whole number from 0 to 255, and is -1"],
    ['{"body":"a","priority":1.5}', "priority must be a whole number from 0 to 255, and is 1.5"],
    ['{"body":"a","priority":"5"}', 'priority must be a whole number from 0 to 255, and is "5"'],
    [
      '{"body":"a","priority":1e999}',
      "priority must be a whole number from 0 to 255, and is Infinity",
    ],
    [
      '{"body":"a","expiration":4294967296}',
      "expiration must be milliseconds, or a time such as 500ms or 5m, of at most 49 days, and is 4294967296",
    ],
    [
      '{"body":"a","expiration":"1.5"}',
      'expiration must be milliseconds, or a time such as 500ms or 5m, of at most 49 days, and is "1.5"',
    ],
    [
      '{"body":"a","delay":-1}',
      "delay must be seconds, or a time such as 90s or 7d, of at most ten years, and is -1",
    ],
    [
      '{"body":"a","delay":-0.0001}',
      "delay must be seconds, or a time such as 90s or 7d, of at most ten years, and is -0.0001",
    ],
    [
      '{"body":"a","delay":1e999}',
      "delay must be seconds, or a time such as 90s or 7d, of at most ten years, and is Infinity",
    ],
    [
      '{"body":"a","delay":"3651d"}',
      'delay must be seconds, or a time such as 90s or 7d, of at most ten years, and is "3651d"',
    ],
    [
      '{"body":"a","at":1767225600}',
      "at must be a date, a time and a zone such as 2027-01-31T08:00:00Z, at most ten years from now, and is 1767225600",
    ],
    [
      '{"body":"a","at":"2026-02-30T08:00Z"}',
      'at must be a date, a time and a zone such as 2027-01-31T08:00:00Z, at most ten years from now, and is "2026-02-30T08:00Z"',
    ],
    [
      '{"body":"a","at":"2037-01-31T08:00Z"}',
      'at must be a date, a time and a zone such as 2027-01-31T08:00:00Z, at most ten years from now, and is "2037-01-31T08:00Z"',
    ],
    ['{"body":"a","contentType":"b"}', 'has "contentType"; did you mean content_type?'],
    ['{"to":"a"}', 'has "to"; JSON that is itself the task goes into json: {"json": ...}'],
    ['{"json":{},"to":"a"}', 'has "to"'],
    ['{"body":"a","prioriti":1}', 'has "prioriti"; did you mean priority?'],
    ['{"body":"a","__proto__":{"id":"x"}}', 'has "__proto__"'],
    ['{"body":"a","constructor":1}', 'has "constructor"'],
    ['{"body":"a","body":"b"}', 'a record must have each field once, and has "body" twice'],
    [
      '{"body":"a","id":"1","\\u0069d":"2"}',
      'a record must have each field once, and has "id" twice',
    ],
    ['{"body":"a","headers":[]}', "headers must be a JSON object, and is a list"],
    ['{"body":"a","headers":null}', "headers must be a JSON object, and is null"],
    [
      '{"body":"a","headers":{"":1}}',
      'headers must have names of 1 to 255 bytes in UTF-8, and has ""',
    ],
    [
      '{"body":"a","headers":{"a":1,"a":2}}',
      'headers must have each field once, and has "a" twice',
    ],
    [
      `{"body":"a","headers":{"a":{"${"n".repeat(256)}":1}}}`,
      "headers.a must have names of 1 to 255 bytes in UTF-8, and has ",
    ],
    [
      '{"body":"a","headers":{"a":"\\ud83d"}}',
      "headers.a must be Unicode text, and has half a surrogate pair",
    ],
    [
      '{"body":"a","headers":{"a":[1,9223372036854775808]}}',
      "headers.a.1 must be text, true, false, null, a list, an object, or a number that AMQP can hold (whole ones of 64 bits), and is 9223372036854775808",
    ],
    ['{"body":"a","headers":{"a":1e30}}', "(whole ones of 64 bits), and is 1e+30"],
    ['{"body":"a","headers":{"a":1e999}}', "(whole ones of 64 bits), and is Infinity"],
    ['{"body":"a","headers":{"CC":"q"}}', 'headers.CC must be a list of routing keys, and is "q"'],
    [
      '{"body":"a","headers":{"CC":["q"]},"delay":1}',
      "headers.CC must be absent from a task that waits (brokers send it on at once), and is a list",
    ],
  ];
  for (const [text, sentence] of rows) {
    const said = complaint(text);
    assert(said.includes(sentence) && said.length < 600, `${text}\n${said}`);
  }
  assertEquals(complaint(new Uint8Array([0x7b, 0xff])), "a record must be UTF-8, and is not");
});

Deno.test("JSON that is very deep is a body like any other, and no header", () => {
  for (const depth of [32, 33, 1_000, 200_000]) {
    const deep = "[".repeat(depth) + "]".repeat(depth);
    assertEquals(textOf(parse(`{"json":${deep}}`)), deep);
    const sentence = /^headers\.a must be at most 32 deep, and is deeper$/;
    for (const [open, close] of [["[", "]"], ['{"b":', "}"]] as const) {
      const table = `{"a":${open.repeat(depth - 1)}1${close.repeat(depth - 1)}}`;
      const text = `{"body":"","headers":${table}}`;
      if (depth === 32) assertEquals(JSON.stringify(parse(text).properties.headers), table);
      else assert(sentence.test(complaint(text)), complaint(text));
    }
    const digits = `{"body":"","headers":{"a":1234567890123456,"b":${deep}}}`;
    if (depth > 1_000) assert(/^headers/.test(complaint(digits)));
  }
  // A value of a program's own that no JSON can hold.
  const circle: unknown[] = [];
  circle.push(circle);
  for (const json of [circle, 1n, () => {}]) {
    const { message } = assertThrows(() => readRecord({ json }, { now: NOW }), RecordError);
    assert(message.startsWith("json must be a value that JSON can hold, and is "), message);
  }
});

Deno.test("JSON with numbers that JavaScript would change is known", () => {
  for (const text of ["[1e400]", "1E+999", "[2,3e-400]", "1234567890123456"]) {
    assert(hasUnusualNumbers(text), text);
  }
  for (const text of ["[1e22]", '{"a":"e100"}', "123456789012345", "null"]) {
    assert(!hasUnusualNumbers(text), text);
  }
});

Deno.test("whole numbers in headers keep all the digits that AMQP can hold", () => {
  const { headers } = parse(
    '{"body":"","headers":{"a":9223372036854775807,"b":-9223372036854775808,"c":[9007199254740993],' +
      '"d":9007199254740991,"e":1234567890.1234567890,"__proto__":{"x":1}}}',
  ).properties;
  assertEquals(Object.entries(headers!), [
    ["a", 9223372036854775807n],
    ["b", -9223372036854775808n],
    ["c", [9007199254740993n]],
    ["d", 9007199254740991],
    ["e", 1234567890.1234567],
    ["__proto__", { x: 1 }],
  ]);
});

Deno.test("fields of the caller's own come out as they are, and are suggested", () => {
  const options = { now: NOW, extra: ["cron", "timezone"] };
  const record = parseRecord('{"body":"a","cron":"* * * * *","timezone":7}', options);
  assertEquals([...record.extra], [["cron", "* * * * *"], ["timezone", 7]]);
  const { message } = assertThrows(() => parseRecord('{"body":"a","time_zone":""}', options));
  assert(message.endsWith('has "time_zone"; did you mean timezone?'), message);
});

Deno.test("a program's record may hold bytes, dates and fields that are undefined", () => {
  const body = new Uint8Array([0, 255]);
  const at = new Date(NOW + 5_000);
  const record = readRecord({ body, at, id: undefined, delay: undefined }, { now: NOW });
  assertEquals([record.body, record.dueAt], [body, NOW + 5_000]);
  assertEquals(textOf(readRecord({ json: { a: [1, null] } }, { now: NOW })), '{"a":[1,null]}');
  for (const json of [Infinity, { a: [null, -Infinity] }, [NaN]]) {
    const { message } = assertThrows(() => readRecord({ json }, { now: NOW }), RecordError);
    assertMatch(message, /^json must be a value that JSON can hold, and has (-?Infinity|NaN)$/);
  }
  const none = assertThrows(() => readRecord({ body, at: new Date(NaN) }, { now: NOW }));
  assert((none as Error).message.endsWith("and is a date that is none"));
});

Deno.test("whatever a stranger's record is, it is a task that can be sent, or one sentence", () => {
  const random = new Random(13);
  let sent = 0;
  for (let i = 0; i < 20_000; i++) {
    const text = JSON.stringify(randomRecord(random));
    const record = mutated(text, random);
    let task: TaskRecord;
    try {
      task = parse(record);
    } catch (error) {
      assert(error instanceof RecordError, `${record}\n${(error as Error).stack}`);
      assertEquals(error.exitCode, 65);
      continue;
    }
    sent++;
    // Of plain bytes, bodies are parts.
    assertEquals(parse(new TextEncoder().encode(record)), task, record);
    const { properties, body, queue = "q", delayMs } = task;
    if (delayMs !== undefined) schedule({ queue, properties }, delayMs);
    const pieces = new ContentWriter(1, 131_072)
      .publish({ exchange: "", routingKey: queue, body, properties }, properties.messageId ?? "m");
    const [, , header] = framesOf(pieces.flatMap((piece) => [...piece]));
    const bytes = new Uint8Array(header!);
    const frames = { bytes, view: new DataView(bytes.buffer) };
    const back = readContentHeader(frames, 0, bytes.length).properties;
    // Empty text and priority 0 are absent on the wire.
    const whole = Object.entries(properties).filter(([, value]) => value !== "" && value !== 0);
    assertEquals(back, { messageId: "m", ...Object.fromEntries(whole) }, record);
  }
  assert(sent > 2_000, String(sent));
});

/** Payloads of the frames, behind an empty one so that the header's is the third. */
function framesOf(bytes: number[]): number[][] {
  const frames: number[][] = [[]];
  for (let at = 0; at < bytes.length;) {
    const size = new DataView(new Uint8Array(bytes.slice(at + 3, at + 7)).buffer).getUint32(0);
    frames.push(bytes.slice(at + 7, at + 7 + size));
    at += 8 + size;
  }
  return frames;
}

function randomRecord(random: Random): Record<string, unknown> {
  const text = () => random.text(8);
  const fields: Record<string, () => unknown> = {
    id: () => text() || "i",
    queue: () => text() || "q",
    priority: () => random.below(260),
    headers: () => Object.fromEntries(random.list(3, () => [text(), randomValue(random, 3)])),
    content_type: text,
    type: text,
    correlation_id: text,
    reply_to: text,
    expiration: () => random.pick([0, 60_000, "5s", 2 ** 32, "x"]),
    delay: () => random.pick([0, 1.5, "1h", -1, "x"]),
    at: () => random.pick(["2026-01-01T01:00Z", "2026-01-01"]),
  };
  const body = random.pick([
    { body: text() },
    { body_base64: random.pick(["", "AA==", "AAA", "A"]) },
    { json: randomValue(random, 3) },
  ]);
  const names = random.list(4, () => random.pick(Object.keys(fields)));
  return { ...body, ...Object.fromEntries(names.map((name) => [name, fields[name]!()])) };
}

function randomValue(random: Random, depth: number): unknown {
  const make = random.pick<() => unknown>([
    () => random.text(6),
    () => random.pick([0, -1, 0.1, 2 ** 31, 2 ** 53, -(2 ** 63), 1e300]),
    () => random.pick([true, false, null]),
    () => random.pick(["\ud800", "\udfff", "\u{10ffff}"]),
    ...(depth === 0 ? [] : [
      () => random.list(3, () => randomValue(random, depth - 1)),
      () =>
        Object.fromEntries(
          random.list(3, () => [random.text(4), randomValue(random, depth - 1)]),
        ),
    ]),
  ]);
  return make();
}

/** Half of them as they are, others with something cut out, doubled or put in. */
function mutated(text: string, random: Random): string {
  if (random.below(2) === 0) return text;
  const at = random.below(text.length);
  const end = at + random.below(6);
  return random.pick([
    text.slice(0, at) + text.slice(end),
    text.slice(0, end) + text.slice(at),
    text.slice(0, at) + random.pick(['"', "\\", "{", "]", ",", "1e9", "\\u12", "\0"]) +
    text.slice(at),
  ]);
}
