/** `new_task --http`: tasks from whoever speaks HTTP. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { RejectTask, runWorker } from "../../src/mod.ts";
import { brokerTest, type Only, sharedNode } from "../support/broker.ts";
import { ipv6Missing } from "../support/ipv6.ts";
import { Proxy } from "../support/proxy.ts";
import { tempDir, uniqueName } from "../support/temp.ts";
import { waitUntil } from "../support/wait.ts";
import { Front } from "./http_front.ts";
import { bytesOf, onChannel, takeAll, takeOne, waitForReady } from "./queue_view.ts";
import { byThisDeno } from "../support/tools.ts";
import { finish, forEachRow, start } from "./tools.ts";

const node = await sharedNode();

const JSON_TYPE = { "content-type": "application/json" };
const NDJSON_TYPE = { "content-type": "application/x-ndjson" };

/** A test of what node:http does not do before Deno 2.9. */
function httpTest(name: string, fn: () => Promise<void>, limit?: Only): void {
  if (byThisDeno) brokerTest(name, fn, limit);
  else Deno.test.ignore(`${name} (ignored: not with Deno 2.4)`, fn);
}

/** A front on two queues, "first" and "second" for short. */
async function startFront(args: readonly string[] = []): Promise<Front & { queues: string[] }> {
  const queues = [uniqueName("http"), uniqueName("http")];
  const front = await Front.start(["--queue", queues.join(","), ...args], { url: node.url });
  return Object.assign(front, { queues });
}

brokerTest("requests become the tasks they say, each id once", async () => {
  await using front = await startFront();
  const [first, second] = front.queues as [string, string];

  const plain = await front.post("caf\u00e9", { "content-type": "text/plain; charset=utf-8" });
  assertEquals(plain.status, 202);
  assertEquals(plain.headers.get("location"), `/tasks/${plain.json.id}`);
  assertEquals(plain.json, { id: plain.json.id, queue: first, state: "waiting" });
  const task = await takeOne(node.url, first);
  assertEquals(new TextDecoder().decode(bytesOf(task)), "caf\u00e9");
  const { messageId, contentType, deliveryMode } = task.properties;
  assertEquals(
    [messageId, contentType, deliveryMode],
    [plain.json.id, "text/plain; charset=utf-8", 2],
  );

  // Properties from headers and query, as `worker --post` writes them.
  const zipped = new Uint8Array([0x1f, 0x8b, 8, 0, 255]);
  const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  const id = "a/b \u00e9%?#";
  const full = await front.post(zipped, {
    "task-id": encodeURIComponent(id),
    "task-headers": '{"size": 1234567890123, "to": "ann"}',
    "task-type": "thumb%20nail",
    "content-encoding": "gzip",
    "traceparent": trace,
  }, `?queue=${second}&priority=7&correlation_id=c&expiration=9m`);
  assertEquals([full.status, full.json.id], [202, id]);
  const { properties, ...rest } = await takeOne(node.url, second);
  delete properties.headers!["x-delivery-count"];
  assertMatch(properties.replyTo!, /^amq\.rabbitmq\.reply-to/);
  assertEquals(bytesOf(rest as never), zipped);
  assertEquals(
    { ...properties, timestamp: undefined, replyTo: undefined },
    {
      contentType: "application/octet-stream",
      contentEncoding: "gzip",
      headers: { traceparent: trace, size: 1234567890123, to: "ann", "task-progress": true },
      deliveryMode: 2,
      priority: 7,
      correlationId: "c",
      expiration: "540000",
      messageId: id,
      type: "thumb nail",
      timestamp: undefined,
      replyTo: undefined,
    } as never,
  );
  const place = full.headers.get("location")!;
  assertEquals(place, `/tasks/${encodeURIComponent(id)}`);
  const known = await front.ask(place);
  assertEquals([known.status, known.json], [200, { id, queue: second, state: "waiting" }]);
  const head = await front.ask(place, { method: "HEAD" });
  assertEquals([head.status, head.text], [200, ""]);
  assertEquals(head.headers.get("content-length"), String(known.text.length + 1)); // an e acute

  // Who writes UTF-8 as it is means what it says.
  const foreign = await front.raw(
    "POST /tasks?correlation_id=%C3%BC HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n" +
      'Idempotency-Key: "k\u00e9y"\r\nTask-Type: \u540d\r\nTask-Headers: {"to": "J\u00fcrgen"}\r\n' +
      "Connection: close\r\n\r\nx",
  );
  assertMatch(foreign, /^HTTP\/1.1 202/);
  const meant = (await takeOne(node.url, first)).properties;
  assertEquals(
    [meant.messageId, meant.type, meant.correlationId, meant.headers!["to"]],
    ["k\u00e9y", "\u540d", "\u00fc", "J\u00fcrgen"],
  );

  // A record; the query stands in for what it does not say; as=body takes JSON as it is.
  const record = '{"json": {"n": 1.50}, "headers": {"a": 1}}';
  assertEquals((await front.post(record, JSON_TYPE, "?type=t&type_")).status, 400);
  assertEquals((await front.post(record, JSON_TYPE, "?type=t")).status, 202);
  assertEquals((await front.post(record, JSON_TYPE, "?as=body")).status, 202);
  const [read, raw] = await takeAll(node.url, first) as [typeof task, typeof task];
  assertEquals(
    [new TextDecoder().decode(bytesOf(read)), read.properties.type, read.properties.contentType],
    ['{"n": 1.50}', "t", "application/json"],
  );
  assertEquals(new TextDecoder().decode(bytesOf(raw)), record);

  // The same key at the same time, and later, is one task; with another body it is refused.
  const key = { "idempotency-key": '"k-1"' };
  const same = await Promise.all([0, 1, 2].map(() => front.post("once", key)));
  same.push(await front.post("once", { "idempotency-key": "k-1" }));
  assertEquals(same.map(({ status, json }) => [status, json.id]), Array(4).fill([202, "k-1"]));
  assertEquals((await front.post("twice", key)).status, 422);
  assertEquals((await takeOne(node.url, first)).properties.messageId, "k-1");

  // Several at once, all or none.
  const lines =
    `{"body": "1"}\n\r\n{"body": "3", "queue": "${second}", "id": "three"}\r\n{"json": 4}`;
  const many = await front.post(lines, { ...NDJSON_TYPE, "idempotency-key": "batch" });
  assertEquals([many.status, many.headers.get("location")], [202, null]);
  assertEquals(many.json.tasks.map((task: { id: string }) => task.id), [
    "batch-1",
    "three",
    "batch-4",
  ]);
  const bad = await front.post(`${lines}\n{"body": "5", "delay": -1}\n`, NDJSON_TYPE);
  assertEquals([bad.status, bad.json.line, bad.json.field], [400, 5, "delay"]);
  assertMatch(bad.json.detail, /^line 5: delay must be seconds/);
  assertEquals((await takeAll(node.url, first)).length, 2);
  assertEquals((await takeAll(node.url, second)).length, 1);

  // Pipelined, in order, on one connection.
  const answers = await front.raw(
    "POST /tasks?id=p1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx" +
      "POST /tasks?id=p2 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" +
      "1\r\ny\r\n0\r\n\r\nGET http://localhost/livez HTTP/1.1\r\nHost: localhost\r\n" +
      "Connection: close\r\n\r\n",
  );
  assertEquals(answers.match(/^HTTP\/1.1 \d+|"id":"..?"/gm), [
    ...["HTTP/1.1 202", '"id":"p1"', "HTTP/1.1 202", '"id":"p2"', "HTTP/1.1 200"],
  ]);
  await waitForReady(node.url, first, 2);

  const metrics = await front.ask("/metrics");
  assertMatch(metrics.text, /^workqueue_http_tasks_confirmed_total 11$/m);
  assertMatch(metrics.text, /^workqueue_http_connected 1$/m);
  assertEquals((await front.ask("/readyz")).text, "ready\n");
  assertEquals((await front.ask("/livez")).text, "alive\n");
  await front.end();
});

brokerTest("a connection is kept for the next request, and ends with the last one", async () => {
  await using front = await startFront();
  using client = Deno.createHttpClient({ poolMaxIdlePerHost: 1 });
  const post = (headers: Record<string, string>) =>
    fetch(`${front.url}/tasks`, { client, method: "POST", body: "a", headers });
  for (let i = 0; i < 3; i++) {
    const answer = await post({ "accept-encoding": "gzip" });
    assertEquals(answer.status, 202);
    assert(answer.headers.get("connection") !== "close", `after request ${i}`);
    await answer.text();
  }
  const waiting = post({ "idempotency-key": "waits", prefer: "wait=60" });
  await waitUntil("it waits", async () => (await front.ask("/tasks/waits")).status === 200);
  front.process.kill("SIGTERM");
  const answer = await waiting;
  assertEquals([answer.status, answer.headers.get("connection")], [202, "close"]);
  await answer.text();
  const { code, stderr } = await front.process.ended();
  assertEquals([code, stderr.match(/not answered/)], [0, null]);
});

brokerTest("what becomes of a task is told, to who waits and to who asks later", async () => {
  await using proxy = await Proxy.start(node.port);
  const queue = uniqueName("http");
  await using front = await Front.start(["--answers-ttl", "1h"], { url: proxy.url, queue });
  const stop = new AbortController();
  const goOn = new Map<string, PromiseWithResolvers<void>>();
  const worker = runWorker({
    url: node.url,
    queue,
    concurrency: 4,
    signal: stop.signal,
    retries: { maxAttempts: 2, backoffMs: [10] },
    handler: async (task, context) => {
      const what = task.text();
      if (what === "hold") {
        context.progress(3, 10);
        await goOn.get(task.id)!.promise;
      }
      if (what === "reject") throw new RejectTask("no recipient");
      if (what === "fail") throw new Error("not today");
      const values: Record<string, unknown> = {
        json: { a: [1] },
        digits: [12345678901234567890n].map(String),
        bytes: Uint8Array.of(0, 255),
      };
      return values[what] ?? what;
    },
  });
  const wait = { prefer: "respond-async, wait=30" };
  const answers: [string, unknown][] = [
    ["caf\u00e9", { body: "caf\u00e9", content_type: "text/plain" }],
    ["json", { json: { a: [1] }, content_type: "application/json" }],
    ["digits", { body: '["12345678901234567890"]', content_type: "application/json" }],
    ["bytes", { body_base64: "AP8=", content_type: "application/octet-stream" }],
  ];
  await Promise.all(answers.map(async ([body, answer]) => {
    const { status, json, headers } = await front.post(body, wait);
    assertEquals([status, json.state, json.answer], [200, "done", answer]);
    assertEquals(headers.get("preference-applied"), "wait=30");
    assertEquals((await front.ask(headers.get("location")!)).json, json);
  }));
  const rejected = await front.post("reject", wait);
  assertEquals([rejected.status, rejected.json.state], [200, "dead"]);
  assertEquals([rejected.json.reason, rejected.json.error], ["rejected", "no recipient"]);
  const failed = await front.post("fail", wait);
  assertEquals([failed.json.reason, failed.json.error], ["max-attempts", "not today"]);

  // In time or not, several, and asking again.
  goOn.set("h", Promise.withResolvers());
  const held = await front.post("hold", { "idempotency-key": "h", prefer: "wait=0" });
  assertEquals([held.status, held.headers.get("preference-applied")], [202, null]);
  await waitUntil("the progress", async () => {
    const { json } = await front.ask("/tasks/h");
    return json.state === "running" && json.progress.done === 3;
  });
  assertEquals((await front.ask("/tasks/h")).json.progress, { attempt: 1, done: 3, total: 10 });
  const late = await front.post("hold", { "idempotency-key": "h", prefer: "wait=1" });
  assertEquals([late.status, late.json.state], [202, "running"]);
  const asking = front.ask("/tasks/h", { headers: wait });
  goOn.get("h")!.resolve();
  assertEquals((await asking).json.answer.body, "hold");
  const lines = '{"body": "one"}\n{"body": "reject"}\n';
  const both = await front.post(lines, { ...NDJSON_TYPE, ...wait });
  assertEquals([both.status, both.json.tasks.map(({ state }: { state: string }) => state)], [
    200,
    ["done", "dead"],
  ]);

  // Whoever has another queue for the answer, or lost the way to it, hears nothing here.
  const apart = await front.post("x", wait, `?reply_to=${queue}.answers`);
  assertEquals([apart.status, apart.json.state], [202, "sent"]);
  goOn.set("l", Promise.withResolvers());
  await front.post("hold", { "idempotency-key": "l" });
  await waitUntil("it runs", async () => (await front.ask("/tasks/l")).json.state === "running");
  await proxy.cut();
  await waitUntil("it is lost", async () => (await front.ask("/tasks/l")).json.state === "sent");
  assertMatch((await front.ask("/tasks/l")).json.detail, /^the connection on which its answer/);
  goOn.get("l")!.resolve();
  assertEquals((await front.post("json", wait)).json.state, "done");

  // Whoever waits is answered when the server ends.
  goOn.set("e", Promise.withResolvers());
  const ending = front.post("hold", { "idempotency-key": "e", ...wait });
  await waitUntil("it runs", async () => (await front.ask("/tasks/e")).json?.state === "running");
  await front.end();
  assertEquals((await ending).status, 202);
  goOn.get("e")!.resolve();
  stop.abort();
  await worker;
});

interface BadRow {
  readonly name: string;
  readonly status: number;
  readonly detail: RegExp;
  readonly body?: BodyInit;
  readonly headers?: Record<string, string>;
  readonly query?: string;
}

const TOO_LONG = "x".repeat(256);

const BAD: readonly BadRow[] = [
  {
    name: "no object",
    status: 400,
    detail: /^a record must be a JSON object, and is a list$/,
    body: "[]",
    headers: JSON_TYPE,
  },
  {
    name: "no JSON",
    status: 400,
    detail: /^a record must be JSON, and is not: /,
    body: "{",
    headers: JSON_TYPE,
  },
  {
    name: "two bodies",
    status: 400,
    detail: /^a record must have one of body, .* has body and json$/,
    body: '{"body": "a", "json": 1}',
    headers: JSON_TYPE,
  },
  {
    name: "no base64",
    status: 400,
    detail: /^body_base64 must be base64 .* is "\?"$/,
    body: '{"body_base64": "?"}',
    headers: JSON_TYPE,
  },
  {
    name: "two waits",
    status: 400,
    detail: /delay or at/,
    query: "?delay=1s&at=2027-01-01T00:00Z",
  },
  { name: "long id", status: 400, detail: /^id must have 1 to 255/, query: `?id=${TOO_LONG}` },
  {
    name: "long key",
    status: 400,
    detail: /^id must have 1 to 255 bytes, and has 256$/,
    headers: { "idempotency-key": TOO_LONG },
  },
  {
    name: "two ids",
    status: 400,
    detail: /each field once, and has id twice/,
    headers: { "idempotency-key": "a" },
    query: "?id=b",
  },
  { name: "twice", status: 400, detail: /has type twice/, query: "?type=a&type=a" },
  { name: "unknown field", status: 400, detail: /did you mean delay\?$/, query: "?dely=1s" },
  { name: "body in query", status: 400, detail: /has json apart$/, query: "?json=1" },
  { name: "unknown as", status: 400, detail: /^as must be body/, query: "?as=xml" },
  { name: "query of other bytes", status: 400, detail: /^the query must be/, query: "?id=%e9" },
  { name: "half a code in the query", status: 400, detail: /^the query must be/, query: "?id=5%" },
  { name: "no priority", status: 400, detail: /^priority must be/, query: "?priority=high" },
  { name: "unknown header", status: 400, detail: /"task-dely"/, headers: { "task-dely": "1s" } },
  { name: "half a code", status: 400, detail: /percent-encoded/, headers: { "task-type": "%e9" } },
  {
    name: "header of a task that AMQP cannot hold",
    status: 400,
    detail: /^headers\.n must be text, /,
    headers: { "task-headers": '{"n": 1e400}' },
  },
  {
    name: "copies to other queues",
    status: 400,
    detail: /^headers\.CC must be absent from what comes over HTTP/,
    headers: { "task-headers": '{"CC": ["other"]}' },
  },
  {
    name: "copies in a record",
    status: 400,
    detail: /^line 1: headers\.BCC must be absent/,
    body: '{"body": "", "headers": {"BCC": ["other"]}}',
    headers: NDJSON_TYPE,
  },
  {
    name: "another queue",
    status: 404,
    detail: /^the queue must be one of /,
    query: "?queue=other",
  },
  {
    name: "another queue in a record",
    status: 404,
    detail: /and is "other"$/,
    body: '{"body": "", "queue": "other"}',
    headers: JSON_TYPE,
  },
  { name: "no records", status: 400, detail: /has none$/, body: "\n \r\n", headers: NDJSON_TYPE },
  {
    name: "one id in two lines",
    status: 400,
    detail: /^line 2: id must be another one/,
    body: '{"body": "", "id": "a"}\n{"body": "", "id": "a"}\n',
    headers: NDJSON_TYPE,
  },
  {
    name: "no media type",
    status: 415,
    detail: /^the Content-Type must be a media type/,
    headers: { "content-type": "text" },
  },
  {
    name: "compressed record",
    status: 415,
    detail: /^a record must have no Content-Encoding, and has "gzip"/,
    headers: { ...JSON_TYPE, "content-encoding": "gzip" },
  },
  {
    name: "other charset",
    status: 415,
    detail: /^a record must be UTF-8, and is "latin1"$/,
    headers: { "content-type": 'application/json; charset="latin1"' },
  },
  {
    name: "no UTF-8",
    status: 400,
    detail: /be UTF-8/,
    body: new Uint8Array([255]),
    headers: JSON_TYPE,
  },
  {
    name: "too large",
    status: 413,
    detail: /at most 65536 bytes, and has 65537$/,
    body: "x".repeat(65_537),
  },
  {
    name: "too large in chunks",
    status: 413,
    detail: /at most 65536 bytes, and has more$/,
    body: new Blob(["x".repeat(1_000_000)]).stream(),
  },
];

httpTest(
  "what is wrong with a request gets its status and a sentence, and sends nothing",
  async () => {
    await using front = await startFront(["--max-body", "64K"]);
    await forEachRow(BAD, ({ name }) => name, async ({ status, detail, ...row }) => {
      const answer = await front.post(row.body ?? "x", row.headers, row.query);
      assertEquals([answer.status, answer.json.status], [status, status], answer.text);
      assertEquals(answer.headers.get("content-type"), "application/problem+json");
      assertMatch(answer.json.detail, detail);
    });
    for (const path of ["/", "/tasks/", "/tasks/none", "/TASKS", "/constructor"]) {
      assertEquals((await front.ask(path)).status, 404);
    }
    const rows: [string, string, string][] = [
      ["GET", "/tasks", "POST, OPTIONS"],
      ["DELETE", "/tasks/a", "GET, HEAD, OPTIONS"],
      ["POST", "/metrics", "GET, HEAD, OPTIONS"],
    ];
    for (const [method, path, allow] of rows) {
      const refused = await front.ask(path, { method });
      assertEquals([refused.status, refused.headers.get("allow")], [405, allow]);
      const options = await front.ask(path, { method: "OPTIONS" });
      assertEquals([options.status, options.headers.get("allow")], [204, allow]);
    }
    const head = "POST /tasks HTTP/1.1\r\nHost: localhost\r\n";
    const lies: [string, RegExp][] = [
      [`${head}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd`, /^HTTP\/1.1 400/],
      [`${head}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc`, /^HTTP\/1.1 400/],
      [`${head}Content-Length: -1\r\n\r\n`, /^HTTP\/1.1 400/],
      [
        `${head}Transfer-Encoding: chunked\r\n\r\nzz\r\n`,
        /^HTTP\/1.1 400(.|\s)*\+json(.|\s)*"detail"/,
      ],
      [
        `${head}Transfer-Encoding: gzip, chunked\r\n\r\n1\r\na\r\n0\r\n\r\n`,
        /^HTTP\/1.1 501(.|\s)*must be chunked alone/,
      ],
      [`${head}Host: localhost\r\nContent-Length: 0\r\n\r\n`, /^HTTP\/1.1 400(.|\s)*has 2/],
      [`${head}${"X-Y: 0123456789abcdef\r\n".repeat(2_000)}\r\n`, /^HTTP\/1.1 431/],
      [`${head}Content-Type: a/b\r\nContent-Type: a/c\r\nContent-Length: 0\r\n\r\n`, /twice/],
      [`${head}Idempotency-Key: a\r\nIdempotency-Key: b\r\nContent-Length: 0\r\n\r\n`, /twice/],
      [`${head}Expect: 100-continue\r\nContent-Length: 99999\r\n\r\n`, /^HTTP\/1.1 413/],
      [`${head}Content-Length: 99999\r\n\r\nabc`, /^HTTP\/1.1 413/],
    ];
    await Promise.all(lies.map(async ([request, answer]) => {
      // Those that the server cannot close the connection of say so themselves.
      assertMatch(
        await front.raw(request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")),
        answer,
      );
    }));
    assertMatch(
      await front.raw(
        `${head}Idempotency-Key: `,
        new Uint8Array([0xe9]),
        "\r\nConnection: close\r\n\r\n",
      ),
      /^HTTP\/1.1 400(.|\s)*must be UTF-8/,
    );
    assertMatch(
      await front.raw(
        "POST /tasks HTTP/1.1\r\nHost: localhost\r\nExpect: magic\r\nConnection: close\r\n\r\n",
      ),
      /^HTTP\/1.1 417/,
    );
    await front.end();
    for (const queue of front.queues) assertEquals((await takeAll(node.url, queue)).length, 0);
  },
);

brokerTest("no token, no task; pages of other sites and other names are refused", async () => {
  await using dir = await tempDir("http-");
  const file = dir.file("tokens");
  await Deno.writeTextFile(file, "old-token\nnew-token\n");
  await using open = await startFront(["--cors", "https://app.example.org"]);
  await using closed = await startFront(["--token-file", file]);

  for (const host of ["evil.example", "127.evil.example", "127.0.0.1.evil.example:80", "[::2]"]) {
    const answer = await open.raw(
      `POST /tasks HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 1\r\n\r\nx`,
    );
    assertMatch(answer, /^HTTP\/1.1 403(.|\s)*the Host header must name this machine/, host);
  }
  for (const host of ["LOCALHOST", "127.0.0.1:1", "[::1]:9", "a.localhost"]) {
    const answer = await open.raw(
      `GET /livez HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
    );
    assertMatch(answer, /^HTTP\/1.1 200/, host);
  }
  for (const origin of ["http://evil.example", "null", "http://localhost:1"]) {
    assertEquals((await open.post("x", { origin })).status, 403);
  }
  // Some proxies take the Origin away.
  for (const site of ["cross-site", "same-site"]) {
    const answer = await open.raw(
      `POST /tasks HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: ${site}\r\n` +
        "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nContent-Length: 1\r\n" +
        "Connection: close\r\n\r\nx",
    );
    assertMatch(answer, /^HTTP\/1.1 403(.|\s)*the pages of other sites may not ask/, site);
  }
  assertEquals((await open.post("x", { origin: open.url })).status, 202);
  const origin = "https://app.example.org";
  const preflight = await open.ask("/tasks", {
    method: "OPTIONS",
    headers: {
      origin,
      "access-control-request-method": "POST",
      "access-control-request-headers": "content-type,task-id",
    },
  });
  assertEquals(preflight.status, 204);
  assertEquals(preflight.headers.get("access-control-allow-origin"), origin);
  assertEquals(preflight.headers.get("access-control-allow-headers"), "content-type,task-id");
  assertMatch(preflight.headers.get("access-control-allow-methods")!, /POST/);
  const welcome = await open.post("x", { origin }, "?queue=none");
  assertEquals([welcome.status, welcome.headers.get("access-control-allow-origin")], [404, origin]);

  const bearer = (token: string) => closed.post("x", { authorization: `Bearer ${token}` });
  const none = await closed.post("x");
  assertEquals([none.status, none.headers.get("www-authenticate")], [401, 'Bearer realm="tasks"']);
  assertEquals((await bearer("other-token")).status, 401);
  assertEquals((await bearer("old-token, new-token")).status, 401);
  assertEquals((await closed.post("x", { authorization: "Basic bmV3LXRva2Vu" })).status, 401);
  assertEquals((await bearer("old-token")).status, 202);
  assertEquals((await bearer("new-token")).status, 202);
  for (const path of ["/tasks/a", "/metrics", "/other"]) {
    assertEquals((await closed.ask(path)).status, 401);
  }
  for (const path of ["/livez", "/readyz"]) assertEquals((await closed.ask(path)).status, 200);
  await Deno.writeTextFile(file, "newest-token\n");
  assertEquals((await bearer("new-token")).status, 401);
  assertEquals((await bearer("newest-token")).status, 202);
  await open.end();
  await closed.end();
  assertEquals((await takeAll(node.url, closed.queues[0]!)).length, 3);
  assertEquals((await takeAll(node.url, open.queues[0]!)).length, 1);
  assert(!`${closed.process.stderr}`.includes("token"));
});

httpTest(
  "while the broker is away tasks are refused in time, and taken when it is back",
  async () => {
    await using proxy = await Proxy.start(node.port);
    const queue = uniqueName("http");
    await using front = await Front.start(["--timeout", "1s"], { url: proxy.url, queue });
    // It has a second, and tries again as who sends does.
    const accepted = (body: string, headers: Record<string, string>) =>
      waitUntil(`${body} to be accepted`, async () => {
        return (await front.post(body, headers)).status === 202;
      });
    await accepted("1", { "idempotency-key": "a" });
    proxy.refuse();
    await proxy.cut();
    const key = { "idempotency-key": "b" };
    const late = await front.post("2", key);
    assertEquals(late.status, 503);
    assert(Number(late.headers.get("retry-after")) > 0);
    assertMatch(
      late.json.detail,
      /^the task was not confirmed within 1 s, and may be on the queue/,
    );
    const records = await front.post('{"body": ""}\n{"body": ""}\n', NDJSON_TYPE);
    assertEquals(records.status, 503);
    const ready = await front.ask("/readyz");
    assertEquals(ready.status, 503);
    assertEquals((await front.ask("/livez")).status, 200);
    assertEquals((await front.ask("/tasks/b")).status, 404);
    const soon = await front.post("3");
    assertMatch(soon.json.detail, /^no task can be sent, for /);
    proxy.heal();
    await waitUntil(
      "the front to be ready",
      async () => (await front.ask("/readyz")).status === 200,
    );
    await accepted("2", key);

    // A queue that is deleted under it is made again.
    await onChannel(node.url, (channel) => channel.queueDelete(queue));
    await accepted("4", { "idempotency-key": "d" });
    const found = (await takeAll(node.url, queue)).map(({ properties }) => properties.messageId);
    // Twice, where the first answer was that it may be there.
    assertEquals([...new Set(found)], ["d"]);

    await front.end();

    // Whoever leaves before the answer has sent the task, and so has whoever is slow at the end.
    await using patient = await Front.start([], { url: node.url, queue });
    const conn = await Deno.connect(patient.address);
    const body = "POST /tasks?id=gone HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx";
    await conn.write(new TextEncoder().encode(body));
    conn.close();
    await waitForReady(node.url, queue, 1);
    const half = await Deno.connect(patient.address);
    await half.write(new TextEncoder().encode(
      "POST /tasks?id=half HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx",
    ));
    half.close();
    const slow = await Deno.connect(patient.address);
    await slow.write(
      new TextEncoder().encode(
        "POST /tasks?id=end HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n" +
          "Expect: 100-continue\r\n\r\n",
      ),
    );
    assertMatch(await readSome(slow), /^HTTP\/1.1 100 /);
    patient.process.kill("SIGTERM");
    await waitUntil("no new connections", async () => {
      try {
        (await Deno.connect(patient.address)).close();
        return false;
      } catch {
        return true;
      }
    });
    await slow.write(new TextEncoder().encode("xy"));
    assertMatch(
      await new Response(slow.readable).text(),
      /^HTTP\/1.1 202(.|\s)*connection: close/i,
    );
    assertEquals((await patient.process.ended()).code, 0);
    assertEquals(
      (await takeAll(node.url, queue)).map(({ properties }) => properties.messageId).sort(),
      ["end", "gone"],
    );
  },
);

brokerTest(
  "another maker's answer is known by its correlation id, where that is one task's",
  async () => {
    await using front = await startFront();
    const [queue] = front.queues as [string];
    const { json: { id } } = await front.post("x", {}, "?correlation_id=own");
    await front.post("x", { "task-id": "a" }, "?correlation_id=shared");
    await front.post("x", { "task-id": "b" }, "?correlation_id=shared");
    await onChannel(node.url, async (channel) => {
      for (let i = 0; i < 3; i++) {
        const { properties } = (await channel.basicGet(queue, { noAck: true }))!;
        const { replyTo, correlationId = "" } = properties;
        await channel.basicPublish("", replyTo!, `${correlationId}!`, { correlationId });
      }
    });
    await waitUntil(
      "the answer",
      async () => (await front.ask(`/tasks/${id}`)).json.state === "done",
    );
    assertEquals((await front.ask(`/tasks/${id}`)).json.answer.body, "own!");
    for (const other of ["a", "b"]) {
      assertEquals((await front.ask(`/tasks/${other}`)).json.state, "waiting");
    }
    await front.end();
  },
);

async function readSome(conn: Deno.Conn): Promise<string> {
  const bytes = new Uint8Array(1_024);
  return new TextDecoder().decode(bytes.subarray(0, await conn.read(bytes) ?? 0));
}

httpTest("200 clients that say nothing, or a byte a second, keep nobody waiting", async () => {
  await using front = await startFront();
  const idle = await Promise.all(Array.from({ length: 200 }, async (_, i) => {
    const conn = await Deno.connect(front.address);
    const head = "POST /tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999\r\n\r\n";
    const begin = ["", head.slice(0, 20), head, `${head}x`][i % 4]!;
    if (begin !== "") await conn.write(new TextEncoder().encode(begin));
    return conn;
  }));
  for (let i = 0; i < 20; i++) assertEquals((await front.post("x")).status, 202);
  const drip = idle.map((conn) => conn.write(new TextEncoder().encode("x")).catch(() => 0));
  await Promise.all(drip);
  for (let i = 0; i < 20; i++) assertEquals((await front.post("x")).status, 202);
  for (const conn of idle) conn.close();
  assertEquals((await takeAll(node.url, front.queues[0]!)).length, 40);
  await front.end();
});

httpTest("new_task --http: what cannot be ends it with a sentence and its status", async () => {
  await using dir = await tempDir("http-");
  const empty = dir.file("empty");
  await Deno.writeTextFile(empty, "\n");
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const wrong = new URL(node.url);
  wrong.password = "wrong";
  const rows: [string[], number, RegExp, string?][] = [
    [["--http", "0.0.0.0:0"], 64, /needs --token-file on anything but this machine/],
    [["--http", "[::]:0"], 64, /needs --token-file on anything but this machine/],
    [["--http", "x:y"], 64, /^new_task: --http must be a port/],
    [["--http", "0", "word"], 64, /^new_task: with --http the tasks come in requests, and words/],
    [["--http", "0", "--delay", "1s"], 64, /and --delay was given$/m],
    [["--cors", "https://a"], 64, /^new_task: --cors needs --http$/m],
    [["--http", "0", "--cors", "*"], 64, /--cors \* needs --token-file/],
    [["--http", "0", "--cors", "a.example"], 64, /must be an origin such as/],
    [["--http", "0", "--token-file", "/nowhere"], 66, /cannot read the token file/],
    [["--http", "0", "--token-file", empty], 65, /must hold a token of visible ASCII/],
    [["--queue", "a,b", "word"], 64, /^new_task: --queue must name one queue here/],
    [["--http", String(taken.addr.port)], 75, /address already in use$/m],
    [["--http", "0"], 77, /refused|ACCESS_REFUSED/, wrong.href],
    [["--http", "0", "--no-declare"], 69, /no queue/],
  ];
  await forEachRow(rows, ([args]) => args.join(" "), async ([args, status, sentence, url]) => {
    const queue = uniqueName("http");
    const { code, stderr } = await finish("new_task", args, { url: url ?? node.url, queue });
    assertEquals(code, status, stderr);
    assertMatch(stderr, sentence);
  });
  if (ipv6Missing !== undefined) return;
  await using ipv6 = start("new_task", ["--http", "[::1]:0", "--log-format", "json"], {
    url: node.url,
    queue: uniqueName(),
  });
  const [, url] = await ipv6.waitForLine(/ (http:\/\/\[::1\]:\d+)\/tasks/);
  assertEquals((await fetch(`${url}/readyz`)).status, 200);
  await (await fetch(`${url}/readyz`)).body?.cancel();
  ipv6.kill("SIGINT");
  assertEquals((await ipv6.ended()).code, 0);
});
