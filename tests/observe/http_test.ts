import { assertEquals, assertMatch } from "@std/assert";
import { prepareOfflineDenort } from "../../scripts/offline_denort.ts";
import { type HttpServer, serveHttp, servePages } from "../../src/observe/http.ts";
import { TestProcess } from "../support/process.ts";
import { waitUntil, within } from "../support/wait.ts";

function serve(): Promise<HttpServer> {
  return servePages({ hostname: "127.0.0.1", port: 0 }, {
    "/page": () => ({ status: 200, type: "text/plain", body: "\u00e4 page\n" }),
    "/down": () => ({ status: 503, type: "text/plain", body: "down\n" }),
  });
}

function connect({ url }: HttpServer): Promise<Deno.TcpConn> {
  return Deno.connect({ hostname: "127.0.0.1", port: Number(new URL(url).port) });
}

/** What comes back, to the end of the connection. */
async function ask(server: HttpServer, request: string): Promise<string> {
  const conn = await connect(server);
  const answer = new Response(conn.readable).text();
  const writer = conn.writable.getWriter();
  await writer.write(new TextEncoder().encode(request));
  return await answer;
}

Deno.test("pages are served to any HTTP client", async () => {
  await using server = await serve();
  for (const path of ["/page", "/page?query", "/page#fragment"]) {
    const response = await fetch(`${server.url}${path}`);
    assertEquals([response.status, await response.text()], [200, "\u00e4 page\n"]);
    assertEquals(response.headers.get("content-type"), "text/plain");
  }
  const head = await fetch(`${server.url}/page`, { method: "HEAD" });
  assertEquals([head.headers.get("content-length"), await head.text()], ["8", ""]);
  const down = await fetch(`${server.url}/down`);
  assertEquals([down.status, await down.text()], [503, "down\n"]);
});

Deno.test("other paths and methods are refused", async () => {
  await using server = await serve();
  for (const path of ["/", "/page/", "/constructor", "//page", "/PAGE"]) {
    const response = await fetch(`${server.url}${path}`);
    assertEquals([response.status, await response.text()], [404, "there is only /page, /down\n"]);
  }
  const post = await fetch(`${server.url}/page`, { method: "POST", body: "x".repeat(100_000) });
  assertEquals([post.status, post.headers.get("allow")], [405, "GET, HEAD"]);
  await post.text();
});

Deno.test("what is no request is answered, however it comes", async () => {
  await using server = await serve();
  const requests: [request: string, status: number][] = [
    ["GET /page HTTP/1.1\r\nHost: a b:c:d\r\n\r\n", 200],
    ["GET /page HTTP/1.1\r\n\r\n", 400],
    ["GET /page HTTP/1.1\r\nHost: a\r\n\r\nGET /page HTTP/1.1\r\nHost: a\r\n\r\n", 200],
    ["\r\n\r\nx\r\n\r\n", 400],
    ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400],
    [`GET /${"x".repeat(20_000)} HTTP/1.1\r\n\r\n`, 431],
    ["\x16\x03\x01\x00\xff\xfe\r\n\r\n", 400],
    ["GET /page HTTP/1.0\r\n\r\n", 200],
    ["GET /page HTTP/1.1\r\nHost: a\r\nExpect: bread\r\n\r\n", 417],
  ];
  for (const [request, status] of requests) {
    const answer = await ask(server, request);
    assertMatch(answer, new RegExp(`^HTTP/1\\.1 ${status} `), request.slice(0, 40));
    assertEquals(answer.match(/^HTTP/gm)?.length, 1);
    if (status === 200) continue;
    const { status: said, detail } = JSON.parse(answer.slice(answer.indexOf("\r\n\r\n")));
    assertEquals([said, typeof detail], [status, "string"]);
  }
});

Deno.test("what is no request behind one that is answered does not get its answer", async () => {
  const held = Promise.withResolvers<() => void>();
  await using server = await serveHttp(
    { hostname: "127.0.0.1", port: 0 },
    (_request, response) => held.resolve(() => response.end("the answer")),
    {
      connections: 10,
      unanswered: 8,
      headersMs: 60_000,
      requestMs: 60_000,
      idleMs: 60_000,
      silenceMs: 60_000,
    },
  );
  const answer = ask(server, "GET / HTTP/1.1\r\nHost: a\r\n\r\nno request\r\n\r\n");
  (await held.promise)();
  assertMatch(await answer, /^HTTP\/1\.1 200 OK(.|\s)*the answer/);
  assertEquals((await answer).match(/HTTP\/1/g)?.length, 1);
});

Deno.test("clients that say nothing do not keep others out", async () => {
  await using server = await serve();
  const idle: Deno.TcpConn[] = [];
  for (let i = 0; i < 100; i++) idle.push(await connect(server));
  for (let i = 0; i < 3; i++) {
    assertEquals((await (await fetch(`${server.url}/page`)).text()).length, 7);
  }
  // The oldest have been closed.
  assertEquals(await idle[0]!.read(new Uint8Array(1)), null);
  for (const conn of idle) conn.close();
});

/** @param deno the program */
async function testShortage(deno: string): Promise<void> {
  const program = new URL("few_descriptors.ts", import.meta.url).pathname;
  const limited = 'ulimit -n 40; exec "$0" run -A --no-check --no-config "$1"';
  await using server = new TestProcess("server", "sh", {
    args: ["-c", limited, deno, program],
    killOnDispose: true,
  });
  const [, port] = await server.waitForLine(/^port (\d+)$/);
  const address = { hostname: "127.0.0.1", port: Number(port) };
  const isOut = server.waitForLine(/^no descriptor left$/).then(() => true);
  // Again, should the server have found none before it had many, and left it at that.
  for (let out = false; !out;) {
    const many = await Promise.allSettled(
      Array.from({ length: 60 }, () => Deno.connect(address)),
    );
    out = await within("", isOut, 2_000).catch(() => false);
    for (const each of many) if (each.status === "fulfilled") each.value.close();
  }
  await waitUntil("an answer", async () => {
    const response = await fetch(`http://127.0.0.1:${port}/page`, {
      signal: AbortSignal.timeout(1_000),
    });
    return await response.text() === "a page\n";
  });
}

Deno.test({
  name: "a server that was out of file descriptors takes connections again",
  ignore: Deno.build.os !== "linux",
  fn: () => testShortage(Deno.execPath()),
});

Deno.test({
  name: "a server that was out of file descriptors takes connections again (Deno 2.4)",
  ignore: Deno.build.target !== "x86_64-unknown-linux-gnu",
  async fn() {
    const offline = await prepareOfflineDenort().catch(() => undefined);
    if (offline === undefined) return; // npm cannot be reached
    await testShortage(offline.deno);
  },
});

/** Says "all" when it has all of a request. */
function serveWithin(limits: { headersMs: number; requestMs: number }): Promise<HttpServer> {
  return serveHttp(
    { hostname: "127.0.0.1", port: 0 },
    (request, response) => request.resume().once("end", () => response.end("all")),
    { connections: 10, unanswered: 8, idleMs: 200, silenceMs: 60_000, ...limits },
  );
}

Deno.test("a slow client is told, and its connection closed", async () => {
  await using server = await serveWithin({ headersMs: 200, requestMs: 400 });
  const slow = ["", "GET /pa", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab"];
  for (const answer of await Promise.all(slow.map((begin) => ask(server, begin)))) {
    assertMatch(answer, /^HTTP\/1\.1 408 /);
  }
  await using patient = await serveWithin({ headersMs: 60_000, requestMs: 60_000 });
  const whole = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  assertMatch(await ask(patient, whole), /^HTTP\/1\.1 200 OK(.|\s)*all/); // ends though kept alive
});

Deno.test("a request that takes long is answered, though nobody else connects", async () => {
  const silenceMs = 20;
  await using server = await serveHttp(
    { hostname: "127.0.0.1", port: 0 },
    (_request, response) => void setTimeout(() => response.end("at last"), 20 * silenceMs),
    {
      connections: 10,
      unanswered: 8,
      headersMs: 60_000,
      requestMs: 60_000,
      idleMs: 60_000,
      silenceMs,
    },
  );
  const answer = await ask(server, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  assertMatch(answer, /at last/);
});
