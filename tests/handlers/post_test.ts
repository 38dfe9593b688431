import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { createHmac } from "node:crypto";
import type { ServerResponse } from "node:http";
import { InputError, ToolError, UsageError } from "../../src/errors.ts";
import { PostHandler, type PostOptions } from "../../src/handlers/post.ts";
import type { Outcome } from "../../src/task/handler.ts";
import type { Task } from "../../src/task/task.ts";
import { makeCertificates } from "../amqp/certificates.ts";
import { freePorts } from "../support/ports.ts";
import { spawnDeno } from "../support/process.ts";
import { Random } from "../support/random.ts";
import { taskWith } from "../support/task.ts";
import { tempDir } from "../support/temp.ts";
import { waitUntil, within } from "../support/wait.ts";
import { type AppRequest, WebApp } from "../support/web_app.ts";

const TASK = taskWith();

async function open(
  url: string,
  options: Partial<PostOptions> = {},
): Promise<PostHandler & { said: string[] }> {
  const said: string[] = [];
  const handler = await PostHandler.open({
    url,
    userAgent: "worker/test",
    warn: (message) => said.push(message),
    ...options,
  });
  return Object.assign(handler, { said });
}

function post(
  handler: PostHandler,
  task: Partial<Task> = {},
  signal = new AbortController().signal,
): Promise<Outcome> {
  const context = { signal, attempt: 2, maxAttempts: 5 };
  return within("an outcome", handler.handle({ ...TASK, ...task }, context));
}

/** Runs a check against an application at a TCP port, and at a unix socket. */
async function onBoth(
  respond: (request: AppRequest, response: ServerResponse) => void,
  check: (handler: PostHandler, app: WebApp) => Promise<void>,
): Promise<void> {
  await using dir = await tempDir("post-");
  const socket = dir.file("app.sock");
  for (const options of [{}, { socket }]) {
    await using app = await WebApp.start(respond, options);
    const url = "socket" in options
      ? `unix:${socket}:/{queue}/{type}`
      : `http://127.0.0.1:${app.port}/{queue}/{type}`;
    using handler = await open(url);
    await check(handler, app);
  }
}

const SOON = "Sat, 01 Jan 2028 00:00:30 GMT";
const DATE = "Sat, 01 Jan 2028 00:00:00 GMT";

Deno.test("the status of the answer is the outcome", async () => {
  const rows: [number, Record<string, string | string[]>, string, Outcome][] = [
    [200, {}, "an answer", { kind: "done" }],
    [201, {}, "", { kind: "done" }],
    [204, { "retry-after": "5" }, "", { kind: "done" }],
    [299, {}, "x".repeat(100_000), { kind: "done" }],
    [404, {}, "", { kind: "rejected", reason: "status 404", stderrTail: "" }],
    [422, {}, "no recipient\nsecond line", {
      kind: "rejected",
      reason: "status 422: no recipient",
      stderrTail: "no recipient\nsecond line",
    }],
    [400, { "retry-after": "5" }, "x".repeat(5_000), {
      kind: "rejected",
      reason: `status 400: ${"x".repeat(200)}`,
      stderrTail: "x".repeat(4_096),
    }],
    ...[408, 409, 425, 429, 500, 502, 503, 599].map((
      status,
    ): [number, Record<string, string | string[]>, string, Outcome] => [
      status,
      {},
      "later",
      { kind: "failed", reason: `status ${status}: later`, stderrTail: "later" },
    ]),
    [500, { "retry-after": "7" }, "", {
      kind: "failed",
      reason: "status 500",
      stderrTail: "",
      delayMs: 7_000,
    }],
    [429, { "retry-after": "7" }, "", { kind: "snoozed", delayMs: 7_000 }],
    // As the application and a proxy in front of it may send it.
    [429, { "retry-after": ["5", "7"] }, "", { kind: "snoozed", delayMs: 7_000 }],
    // A server's time is compared with its own clock, and ours is in another year.
    [503, { "retry-after": SOON, date: DATE }, "", { kind: "snoozed", delayMs: 30_000 }],
    // At once would be again and again: it counts as no attempt.
    [503, { "retry-after": "0" }, "", { kind: "snoozed", delayMs: 1_000 }],
    [429, { "retry-after": DATE, date: SOON }, "", { kind: "snoozed", delayMs: 1_000 }],
    [503, { "retry-after": "soon" }, "", { kind: "failed", reason: "status 503", stderrTail: "" }],
    [302, { location: "/elsewhere" }, "", {
      kind: "failed",
      reason: "status 302 (redirects are not followed)",
      stderrTail: "",
    }],
    [307, { location: "/elsewhere" }, "", {
      kind: "failed",
      reason: "status 307 (redirects are not followed)",
      stderrTail: "",
    }],
  ];
  let row = rows[0]!;
  await onBoth((_, response) => {
    response.writeHead(row[0], row[1]);
    response.end(row[2]);
  }, async (handler, app) => {
    for (row of rows) assertEquals(await post(handler), row[3], `${row[0]}`);
    assertEquals(app.requests.length, rows.length);
  });
});

Deno.test("a request is the task: its body byte for byte, its properties as headers", async () => {
  await onBoth((_, response) => response.end(), async (handler, app) => {
    const body = Uint8Array.from({ length: 70_000 }, (_, i) => i);
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const outcome = await post(handler, {
      id: "100% \u00e9",
      body,
      redelivered: true,
      properties: {
        contentType: "text/plain; charset=utf-8",
        contentEncoding: "gzip",
        type: "mail/to",
        priority: 9,
        correlationId: "c",
        timestamp: new Date(1_700_000_000_000),
        headers: { traceparent, tracestate: "a=1", size: "\u00e9\n", n: 2n ** 60n, deep: [true] },
      },
    });
    assertEquals(outcome, { kind: "done" });
    const [{ url, method, headers, body: sent }] = app.requests as [AppRequest];
    assertEquals([url, method], ["/q/mail%2Fto", "POST"]);
    assertEquals(sent, body);
    const own = Object.entries(headers).filter(([name]) => name.startsWith("task-"));
    assertEquals(Object.fromEntries(own), {
      "task-id": "100%25%20%C3%A9",
      "task-queue": "q",
      "task-attempt": "2",
      "task-max-attempts": "5",
      "task-redelivered": "1",
      "task-routing-key": "q",
      "task-type": "mail/to",
      "task-priority": "9",
      "task-correlation-id": "c",
      "task-timestamp": "1700000000",
      "task-headers":
        `{"traceparent":"${traceparent}","tracestate":"a=1","size":"\\u00e9\\n","n":"1152921504606846976","deep":[true]}`,
    });
    assertEquals(headers.traceparent, traceparent);
    assertEquals(headers.tracestate, "a=1");
    assertEquals(headers["content-type"], "text/plain; charset=utf-8");
    assertEquals(headers["content-encoding"], "gzip");
    assertEquals(headers["content-length"], "70000");
    assertEquals(headers["user-agent"], "worker/test");
  });
});

Deno.test("whatever a stranger puts into a task, its request is one, and decoded it is the same", async () => {
  const random = new Random(5);
  const values: string[] = [];
  await onBoth((_, response) => response.end(), async (handler, app) => {
    for (let i = 0; i < 200; i++) {
      const value = random.text(20);
      values[i] = value;
      const outcome = await post(handler, {
        id: value,
        queue: `q${value}`,
        exchange: value,
        properties: {
          contentType: value,
          contentEncoding: value,
          type: `t${value}`,
          correlationId: value,
          replyTo: value,
          appId: value,
          headers: { [value]: value, traceparent: value, tracestate: value },
        },
      });
      assertEquals(outcome.kind, "done", JSON.stringify(value));
    }
    assertEquals(app.requests.length, 200);
    for (const [i, { headers, url }] of app.requests.entries()) {
      const value = values[i]!;
      const names = ["id", "exchange", "correlation-id", "reply-to", "app-id"];
      for (const name of names) {
        const header = headers[`task-${name}`] as string | undefined;
        assertEquals(decodeURIComponent(header ?? ""), value, name);
      }
      assertEquals(url.split("/").map(decodeURIComponent), ["", `q${value}`, `t${value}`]);
      const json = JSON.parse(headers["task-headers"] as string);
      assertEquals(json, { [value]: value, traceparent: value, tracestate: value });
      assertEquals(headers.traceparent, undefined);
    }
  });
});

Deno.test("headers that are too long for a web server are left out, and that is said", async () => {
  await onBoth((_, response) => response.end(), async (handler, app) => {
    await post(handler, { properties: { headers: { long: "x".repeat(4_096) } } });
    const { headers } = app.requests[0]!;
    assertEquals([headers["task-headers"], headers["task-headers-left-out"]], [undefined, "4107"]);
  });
});

Deno.test("a name that would make the URL another one is no task for it", async () => {
  await onBoth((_, response) => response.end(), async (handler, app) => {
    for (const [queue, type] of [["..", "a"], [".", "a"], ["a", ".."], ["a", "."]]) {
      const { kind } = await post(handler, { queue: queue!, properties: { type: type! } });
      assertEquals(kind, "rejected");
    }
    for (const type of ["...", "..a", "%2e%2e", "a/../..", "?x", "#x", ""]) {
      assertEquals(await post(handler, { properties: { type } }), { kind: "done" });
    }
    assertEquals(app.requests.map(({ url }) => url), [
      "/q/...",
      "/q/..a",
      "/q/%252e%252e",
      "/q/a%2F..%2F..",
      "/q/%3Fx",
      "/q/%23x",
      "/q/",
    ]);
  });
});

Deno.test("no answer, and one that is cut off, is a failure that says so", async () => {
  const behave: Record<string, (response: ServerResponse) => void> = {
    hangUp: (response) => response.socket!.destroy(),
    cut: (response) => {
      response.writeHead(200, { "content-length": "100" });
      response.write("abc", () => response.socket!.destroy());
    },
    cutChunked: (response) => {
      response.writeHead(404);
      response.write("abc", () => response.socket!.destroy());
    },
  };
  await onBoth(({ url }, response) => behave[url.split("/")[1]!]!(response), async (handler) => {
    const reasons: Record<string, RegExp> = {
      hangUp: /^no answer: ./,
      cut: /^status 200, cut off: ./,
      cutChunked: /^status 404, cut off: ./,
    };
    for (const [queue, expected] of Object.entries(reasons)) {
      const outcome = await post(handler, { queue });
      assert(outcome.kind === "failed", Deno.inspect(outcome));
      assertMatch(outcome.reason, expected);
      assert(!outcome.reason.includes("127.0.0.1"), outcome.reason);
    }
  });
  await using dir = await tempDir("post-");
  const nobody = [`http://127.0.0.1:${freePorts(1)[0]}/?key=sekret`, `unix:${dir.file("none")}`];
  for (const url of nobody) {
    using handler = await open(url);
    const outcome = await post(handler);
    assert(outcome.kind === "failed", Deno.inspect(outcome));
    assertMatch(outcome.reason, /^no answer: .*(refused|ENOENT|no such file)/i);
    assert(!/sekret|os error/.test(outcome.reason), outcome.reason);
  }
});

Deno.test("what is no HTTP is no answer", async () => {
  for (
    const bytes of ["hello\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 200 OK\r\nx\r\n\r\n", ""]
  ) {
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    using handler = await open(`http://127.0.0.1:${listener.addr.port}/`);
    const outcome = post(handler);
    const conn = await listener.accept();
    await conn.read(new Uint8Array(10_000));
    await conn.write(new TextEncoder().encode(bytes));
    conn.close();
    const { kind, reason } = await outcome as { kind: string; reason: string };
    assertEquals([kind, reason.startsWith("no answer: ")], ["failed", true], reason);
  }
});

Deno.test("an answer that goes on as another protocol is a failure, and its connection closed", async () => {
  await using dir = await tempDir("post-");
  const socket = dir.file("app.sock");
  const tcp = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const unix = Deno.listen({ transport: "unix", path: socket });
  const answer = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
  for (
    const [listener, url] of [
      [tcp, `http://127.0.0.1:${tcp.addr.port}/`],
      [unix, `unix:${socket}:/`],
    ] as [Deno.Listener, string][]
  ) {
    const handler = await open(url);
    const outcome = post(handler);
    using conn = await listener.accept();
    const buffer = new Uint8Array(10_000);
    await conn.read(buffer);
    await conn.write(new TextEncoder().encode(answer));
    const { kind, reason } = await outcome as { kind: string; reason: string };
    assertEquals([kind, reason], ["failed", "status 101"]);
    handler[Symbol.dispose]();
    assertEquals(await within("the end of the connection", conn.read(buffer)), null);
    listener.close();
  }
});

Deno.test("a task whose time is over leaves the application, before and within its answer", async () => {
  let arrived!: () => void;
  let left!: () => void;
  await onBoth(({ url }, response) => {
    response.on("close", () => left());
    if (url.startsWith("/body")) response.write("abc");
    arrived();
  }, async (handler) => {
    for (const queue of ["head", "body"]) {
      const controller = new AbortController();
      const arrival = new Promise<void>((resolve) => arrived = resolve);
      const leave = new Promise<void>((resolve) => left = resolve);
      const outcome = post(handler, { queue }, controller.signal);
      await within("the request", arrival);
      controller.abort(new DOMException("too long", "TimeoutError"));
      await assertRejects(() => outcome);
      await within("the request's end", leave);
    }
  });
});

Deno.test("an answer without end is read up to a limit, and its connection closed", async () => {
  for (const [status, expected] of [[200, "done"], [404, "rejected"]] as const) {
    const closed: Promise<void>[] = [];
    await onBoth((_, response) => {
      closed.push(new Promise((resolve) => response.on("close", () => resolve())));
      response.writeHead(status);
      const chunk = "x".repeat(65_536);
      const more = () => {
        while (!response.destroyed && response.write(chunk)) { /* until it is full */ }
      };
      response.on("drain", more);
      more();
    }, async (handler) => {
      const outcome = await post(handler);
      assertEquals(outcome.kind, expected);
      if ("stderrTail" in outcome) assertEquals(outcome.stderrTail, "x".repeat(4_096));
    });
    await within("the connections to be closed", Promise.all(closed));
  }
});

Deno.test("what is done has an answer for who waits for it, and no more of it than may be", async () => {
  const reply = { properties: { replyTo: "answers" } };
  const long = new Uint8Array(1024 * 1024 + 1).fill(7);
  let [type, body] = ["application/json", new TextEncoder().encode('{"a":1}')];
  await onBoth((_, response) => {
    if (type !== "") response.setHeader("content-type", type);
    response.end(body);
  }, async (handler) => {
    for (
      [type, body] of [["application/json", body], ["", new Uint8Array()], ["", long]] as const
    ) {
      const cut = body.length > 1024 * 1024;
      const contentType = type === "" ? {} : { contentType: type };
      assertEquals(await post(handler, reply), {
        kind: "done",
        answer: { body: cut ? body.subarray(0, -1) : body, ...contentType, cut },
      });
      assertEquals(await post(handler), { kind: "done" });
    }
  });
});

Deno.test("a reason that is no text, or ends in a character, is text of 4 KiB at most", async () => {
  const bodies = [
    new Uint8Array(5_000).fill(0xff),
    new TextEncoder().encode("a\u{1f407}".repeat(2_000)),
  ];
  let body = bodies[0]!;
  await onBoth((_, response) => response.writeHead(404).end(body), async (handler) => {
    for (body of bodies) {
      const { stderrTail, reason } = await post(handler) as { stderrTail: string; reason: string };
      assert(stderrTail.isWellFormed() && reason.isWellFormed());
      const { length } = new TextEncoder().encode(stderrTail);
      assert(length > 4_000 && length <= 4_096, String(length));
    }
  });
});

Deno.test("requests share a connection, and one that the server has closed is none", async () => {
  await using app = await WebApp.start((request, response) => {
    if (request.url === "/last") response.setHeader("connection", "close");
    response.end("ok");
  });
  using handler = await open(`http://127.0.0.1:${app.port}/{queue}`);
  for (const queue of ["a", "b", "last", "c"]) {
    assertEquals(await post(handler, { queue }), { kind: "done" });
  }
  assertEquals(app.requests.map(({ connection }) => connection), [1, 1, 1, 2]);
});

Deno.test("proxies of the environment are not asked, and stay in it", async () => {
  await using app = await WebApp.start((_, response) => response.end());
  const dead = `http://127.0.0.1:${freePorts(1)[0]}`;
  const names = ["HTTP_PROXY", "http_proxy", "ALL_PROXY"];
  // In a process of its own: tests that run beside this one have the same environment.
  await using process = spawnDeno(new URL("proxied.ts", import.meta.url), {
    args: [`http://127.0.0.1:${app.port}/`, ...names],
    env: Object.fromEntries(names.map((name) => [name, dead])),
  });
  const { stdout, stderr } = await process.ended();
  assertEquals(stdout, `done ${names.map(() => dead).join(" ")}\n`, stderr);
});

Deno.test("a token and signatures say who calls, and follow their files", async () => {
  await using dir = await tempDir("post-");
  const [tokenFile, secretFile] = [dir.file("token"), dir.file("secret")];
  const keys = [1, 2].map((n) => new Uint8Array(24).fill(n));
  const lines = keys.map((key) => `whsec_${btoa(String.fromCharCode(...key))}\n`);
  await Deno.writeTextFile(tokenFile, "first\n");
  await Deno.writeTextFile(secretFile, lines[0]!);
  await using app = await WebApp.start((_, response) => response.end());
  using handler = await open(`http://127.0.0.1:${app.port}/`, { tokenFile, secretFile });

  async function signedWith(expected: readonly Uint8Array[], token: string): Promise<void> {
    const before = Math.floor(Date.now() / 1_000);
    await post(handler, { id: "an id", body: new TextEncoder().encode('{"a":1}') });
    const { headers, body } = app.requests.at(-1)!;
    const time = headers["webhook-timestamp"] as string;
    assert(Number(time) >= before && Number(time) <= Date.now() / 1_000, time);
    assertEquals([headers.authorization, headers["webhook-id"]], [`Bearer ${token}`, "an%20id"]);
    const signatures = expected.map((key) => {
      const signed = `an%20id.${time}.${new TextDecoder().decode(body)}`;
      return `v1,${createHmac("sha256", key).update(signed).digest("base64")}`;
    });
    assertEquals(headers["webhook-signature"], signatures.join(" "));
  }

  await signedWith([keys[0]!], "first");
  await Deno.writeTextFile(tokenFile, "second");
  await Deno.writeTextFile(secretFile, lines.join(""));
  await signedWith(keys, "second");
  // What cannot be used is said once, without the secret, and what was there before stays.
  await Deno.writeTextFile(tokenFile, "two\nlines\n");
  await Deno.remove(secretFile);
  await signedWith(keys, "second");
  await signedWith(keys, "second");
  assertEquals(handler.said.length, 2, handler.said.join("\n"));
  for (const sentence of handler.said) {
    assertMatch(sentence, /file ".*(does not|no such file.*); what it held before is used on$/i);
    assert(!sentence.includes("lines\n") && !sentence.includes("whsec_A"), sentence);
  }
  await Deno.writeTextFile(secretFile, lines[1]!);
  await Deno.writeTextFile(tokenFile, "third");
  await signedWith([keys[1]!], "third");
  // A task without an id is signed, too.
  await post(handler, { id: "" });
  const { headers } = app.requests.at(-1)!;
  assertMatch(headers["webhook-id"] as string, /^[\da-f-]{36}$/);
  assertEquals(headers["task-id"], undefined);
});

Deno.test("https trusts an authority of one's own, and shows a client certificate", async () => {
  await using dir = await tempDir("post-");
  const certificates = await makeCertificates(dir.path);
  const tls = {
    cert: await Deno.readTextFile(certificates.server.cert),
    key: await Deno.readTextFile(certificates.server.key),
    ca: await Deno.readTextFile(certificates.ca),
    requestCert: true,
    rejectUnauthorized: true,
  };
  await using app = await WebApp.start((_, response) => response.end(), { tls });
  const url = `https://localhost:${app.port}/`;
  const { ca, client, otherCa } = certificates;
  using trusted = await open(url, { tls: { ca, ...client } });
  assertEquals(await post(trusted), { kind: "done" });
  const strangers: PostOptions["tls"][] = [{}, { ca: otherCa, ...client }, { ca }];
  for (const files of strangers) {
    using handler = await open(url, { tls: files! });
    const outcome = await post(handler);
    assert(outcome.kind === "failed", Deno.inspect(outcome));
    assertMatch(outcome.reason, /^no answer: ./);
  }
  assertEquals(app.requests.length, 1);
});

Deno.test("what cannot be posted to is told at the start, in one sentence", async () => {
  await using dir = await tempDir("post-");
  await Deno.writeTextFile(dir.file("empty"), "\n");
  await Deno.writeTextFile(dir.file("short"), "whsec_AAAA\n");
  const http = "http://127.0.0.1:8080/";
  const rows: [string, Partial<PostOptions>, RegExp, number][] = [
    ["example.org", {}, /^--post must be http:\/\/HOST\/PATH, .* and is "example.org"$/, 64],
    ["ftp://example.org/", {}, /^--post must be http/, 64],
    ["http://", {}, /^--post must be http/, 64],
    ["http://{queue}.example.org/", {}, /^--post must be http/, 64],
    ["unix:", {}, /^--post must be http/, 64],
    ["unix:/run/app.sock:x", {}, /^--post must be http/, 64],
    ["http://ann:sekret@h/", {}, /^--post must be without user and password/, 64],
    [
      "http://h/{id}",
      {},
      /^--post may have the places \{queue\} and \{type\}, and has \{id\}$/,
      64,
    ],
    ["http://h:10080/", {}, /must have a port that is free for HTTP .*, and has 10080$/, 64],
    ["https://h:22/", {}, /must have a port that is free for HTTP .*, and has 22$/, 64],
    [http, { tls: { ca: dir.file("empty") } }, /^--post must be https:\/\/ for certificates/, 64],
    ["https://h/", { tls: { cert: "c" } }, /^a client certificate needs its key/, 64],
    [
      "https://h/",
      { tls: { ca: dir.file("none") } },
      /^cannot read the file ".*none": no such/i,
      66,
    ],
    [
      "https://h/",
      { tls: { ca: dir.file("empty") } },
      /must be PEM, and has no "-----BEGIN" line$/,
      65,
    ],
    [http, { tokenFile: dir.file("none") }, /^cannot read the token file ".*none": no such/i, 66],
    [http, { tokenFile: dir.file("empty") }, /^the token file ".*" must hold one line/, 65],
    [
      http,
      { secretFile: dir.file("empty") },
      /^the secret file ".*" must hold a key, and is e/,
      65,
    ],
    [http, { secretFile: dir.file("short") }, /must hold keys of 24 to 64 bytes as whsec_ and/, 65],
  ];
  for (const [url, options, sentence, status] of rows) {
    const error = await assertRejects(() => open(url, options), ToolError);
    assert(error instanceof UsageError || error instanceof InputError);
    assertEquals([sentence.test(error.message), error.exitCode], [true, status], error.message);
    assert(!error.message.includes("sekret"), error.message);
  }
});

Deno.test("an application that ends with requests in it leaves none waiting", async () => {
  let arrived = 0;
  const app = await WebApp.start(() => arrived++);
  using handler = await open(`http://127.0.0.1:${app.port}/`);
  const outcomes = Promise.all(Array.from({ length: 20 }, () => post(handler)));
  await waitUntil("20 requests", () => arrived === 20);
  await app[Symbol.asyncDispose]();
  assertEquals((await outcomes).map(({ kind }) => kind), Array(20).fill("failed"));
});
