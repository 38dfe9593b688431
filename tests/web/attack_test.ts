/** What others try on the page and its API: they get nothing, and keep nobody waiting. */
import { once } from "node:events";
import { connect } from "node:net";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { uniqueName } from "../support/temp.ts";
import { within } from "../support/wait.ts";
import { at, Paged } from "./paged.ts";

const encoder = new TextEncoder();

/** Sends bytes as they are. @returns the beginning of the answer */
async function raw(url: string, text: string): Promise<string> {
  const { hostname, port } = new URL(url);
  using connection = await Deno.connect({ hostname, port: Number(port) });
  await connection.write(encoder.encode(text));
  const buffer = new Uint8Array(4_096);
  const length = await within("an answer", connection.read(buffer));
  return new TextDecoder().decode(buffer.subarray(0, length ?? 0));
}

Deno.test("attacks on the page and its API", async (t) => {
  await using paged = await Paged.start();
  const queue = uniqueName("target");
  await paged.send(queue, { body: "secret" });
  const { host } = new URL(paged.url);
  const path = `/api/v1${at(queue)}`;

  await t.step("a name of another site that points here reads and does nothing", async () => {
    for (const name of ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""]) {
      for (
        const [method, where] of [["GET", "/"], ["GET", `${path}/messages`], [
          "POST",
          `${path}/purge`,
        ]]
      ) {
        const answer = await raw(
          paged.url,
          `${method} ${where} HTTP/1.1\r\nHost: ${name}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`,
        );
        assertMatch(answer, /^HTTP\/1\.1 40[03] /, `${method} ${where} as ${name}`);
        assert(!answer.includes("secret"));
      }
    }
    const two =
      `GET / HTTP/1.1\r\nHost: ${host}\r\nHost: evil.example\r\nConnection: close\r\n\r\n`;
    assertMatch(await raw(paged.url, two), /^HTTP\/1\.1 400 /);
  });

  await t.step("the pages of other sites read and do nothing", async () => {
    const rows: Record<string, string>[] = [
      { origin: "https://evil.example" },
      { origin: "null" },
      { "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors" },
      { "sec-fetch-site": "same-site", "sec-fetch-mode": "cors" },
    ];
    for (const headers of rows) {
      for (const [method, where] of [["GET", "/messages"], ["POST", "/purge"], ["POST", "/drop"]]) {
        const lines = Object.entries({
          host,
          ...headers,
          connection: "close",
          "content-length": "0",
        })
          .map(([name, value]) => `${name}: ${value}\r\n`).join("");
        const answer = await raw(paged.url, `${method} ${path}${where} HTTP/1.1\r\n${lines}\r\n`);
        assertMatch(answer, /^HTTP\/1\.1 403 /, `${method} ${where} ${JSON.stringify(headers)}`);
        assert(!/secret|access-control-allow|--cors/i.test(answer), answer);
      }
    }
    // A form of another site takes the whole tab along; some proxies take the Origin away.
    const taken = await raw(
      paged.url,
      `POST ${path}/purge HTTP/1.1\r\nHost: ${host}\r\nSec-Fetch-Site: cross-site\r\n` +
        "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nContent-Length: 0\r\n" +
        "Connection: close\r\n\r\n",
    );
    assertMatch(taken, /^HTTP\/1\.1 403 /);
    // What a form of another site can send is no JSON.
    const form = await fetch(`${paged.url}${path}/drop`, { method: "POST", body: '{"all":true}' });
    assertEquals([form.status, (await form.json()).status], [415, 415]);
    assertEquals((await paged.queue(queue)).ready, 1);
  });

  await t.step(
    "a link of another site is followed, and who types the address gets it",
    async () => {
      for (const site of ["cross-site", "same-site", "same-origin", "none"]) {
        const answer = await raw(
          paged.url,
          `GET / HTTP/1.1\r\nHost: ${host}\r\nSec-Fetch-Site: ${site}\r\n` +
            "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nConnection: close\r\n\r\n",
        );
        assertMatch(answer, /^HTTP\/1\.1 200 /, site);
      }
    },
  );

  await t.step("the page can load nothing, and nobody can frame it", async () => {
    const response = await fetch(paged.url);
    await response.body?.cancel();
    const policy = response.headers.get("content-security-policy")!;
    assertMatch(policy, /default-src 'none'.*frame-ancestors 'none'/);
    assert(!/unsafe|\*|https?:/.test(policy), policy);
    assertEquals(response.headers.get("x-content-type-options"), "nosniff");
  });

  await t.step("paths, methods and bodies that make no sense are refused", async () => {
    const rows: [request: string, status: number][] = [
      ["GET /../../etc/passwd", 404],
      ["GET /page.js/../../deno.json", 404],
      ["TRACE /api/v1/overview", 405],
      [`GET ${path}/messages?limit=1000000`, 400],
      [`GET ${path}/messages?from=0-99999999999999999999`, 400],
      [`GET ${path}/messages/__proto__`, 400],
      ["GET /api/v1/queues/%2F/__proto__", 404],
      ["GET /api/v1/queues/__proto__/x", 404],
    ];
    for (const [request, status] of rows) {
      const answer = await raw(
        paged.url,
        `${request} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
      );
      assertEquals([request, answer.slice(9, 12)], [request, `${status}`]);
    }
  });

  await t.step("somebody who listens a thousand times does not keep others from it", async () => {
    const { hostname, port } = new URL(paged.url);
    const request = `GET /api/v1/events HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
    /** From another address of this machine. */
    const other = connect({ port: Number(port), host: hostname, localAddress: "127.0.0.2" });
    other.write(request);
    await within("the first event", once(other, "data"));
    const many = await Promise.all(Array.from({ length: 70 }, async () => {
      const connection = await Deno.connect({ hostname, port: Number(port) });
      await connection.write(encoder.encode(request));
      await connection.read(new Uint8Array(12)).catch(() => {}); // it may have lost its place
      return connection;
    }));
    assertMatch(await raw(paged.url, request), /^HTTP\/1\.1 200 /);
    await within("one more event for the other", once(other, "data"));
    other.destroy();
    for (const connection of many) connection.close();
  });

  await t.step("a body of very many values is refused unread", async () => {
    const headers = { "content-type": "application/json" };
    for (const part of ["[],", "1,", '{"a":0},']) {
      const body = `{"json":[${part.repeat(100_000)}1]}`;
      const where = `${paged.url}${path}/messages`;
      const response = await fetch(where, { method: "POST", headers, body });
      const { status, detail } = await response.json();
      assertEquals([status, detail], [413, "a body must have at most 12000 values, and has more"]);
    }
    // In a text they are none.
    const body = JSON.stringify({ body: '[\\",]'.repeat(100_000) });
    const sent = await fetch(`${paged.url}/api/v1${at("long")}/messages`, {
      method: "POST",
      headers,
      body,
    });
    assertEquals([sent.status, (await sent.json()).queue], [200, "long"]);
  });

  await t.step("who asks without end and waits for no answer is cut off", async () => {
    const { hostname, port } = new URL(paged.url);
    using connection = await Deno.connect({ hostname, port: Number(port) });
    const request = `GET /api/v1/overview HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
    await connection.write(encoder.encode(request.repeat(1_000))).catch(() => {});
    const chunk = new Uint8Array(65_536);
    await within(
      "the end",
      (async () => {
        while (await connection.read(chunk).catch(() => null) !== null);
      })(),
    );
    assertMatch(await raw(paged.url, request), /^HTTP\/1\.1 200 /);
  });

  await t.step("a target that names another host is of that host", async () => {
    const answer = await raw(
      paged.url,
      `GET http://evil.example${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
    );
    assertMatch(answer, /^HTTP\/1\.1 403 /);
  });

  await t.step("1 GB in a request, and 200 slow connections keep nobody waiting", async () => {
    const { hostname, port } = new URL(paged.url);
    const slow = await Promise.all(Array.from({ length: 200 }, async (_, n) => {
      const connection = await Deno.connect({ hostname, port: Number(port) });
      await connection.write(encoder.encode(
        n % 2 === 0
          ? "GET / HTT"
          : `POST ${path}/messages HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\n` +
            `Content-Length: 1000000\r\n\r\n{`,
      ));
      return connection;
    }));
    const large = await raw(
      paged.url,
      `POST ${path}/messages HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\n` +
        `Content-Length: 1000000000\r\n\r\n{"body":"`,
    );
    assertMatch(large, /^HTTP\/1\.1 413 /);
    const chunked = sendWithoutEnd(paged.url, path, host);
    for (let n = 0; n < 20; n++) {
      assertEquals((await within("an answer", paged.queue(queue))).ready, 1);
    }
    assertMatch(await within("an end of it", chunked), /^HTTP\/1\.1 413 /);
    assert((await paged.overview()).memory!.resident < 400_000_000);
    for (const connection of slow) connection.close();
  });
});

/** A body in pieces, which goes on up to 1 GB. @returns the beginning of the answer */
async function sendWithoutEnd(url: string, path: string, host: string): Promise<string> {
  const { hostname, port } = new URL(url);
  using connection = await Deno.connect({ hostname, port: Number(port) });
  await connection.write(encoder.encode(
    `POST ${path}/messages HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\n` +
      "Transfer-Encoding: chunked\r\n\r\n",
  ));
  const buffer = new Uint8Array(4_096);
  const first = connection.read(buffer);
  const piece = encoder.encode(`10000\r\n${"x".repeat(65_536)}\r\n`);
  try {
    for (let sent = 0; sent < 1e9; sent += 65_536) {
      for (let at = 0; at < piece.length;) at += await connection.write(piece.subarray(at));
    }
  } catch {
    // It was closed, as it should be.
  }
  const length = await first;
  return new TextDecoder().decode(buffer.subarray(0, length ?? 0));
}
