import { assert, assertEquals, assertMatch } from "@std/assert";
import type { ChangeEvent, ConnectionInfo, MessageDetail } from "../../src/observe/board.ts";
import { declareQueue } from "../../src/amqp/declare.ts";
import { encodeBase64 } from "../../src/observe/base64.ts";
import { deadQueue } from "../../src/task/topology.ts";
import { freePorts } from "../support/ports.ts";
import { run, spawn, stepWith } from "../support/process.ts";
import { uniqueName } from "../support/temp.ts";
import { toolCommand } from "../support/tools.ts";
import { waitUntil, within } from "../support/wait.ts";
import { startProcess } from "../broker/harness.ts";
import { QueueBench } from "../worker/bench.ts";
import { at, Paged } from "./paged.ts";

Deno.test("the broker's API", async (t) => {
  await using paged = await Paged.start();
  const { url } = paged.broker;

  await t.step("shows messages without taking them, from both ends", async () => {
    const queue = uniqueName("look");
    await paged.send(queue, ...[1, 2, 3, 4, 5].map((n) => ({ body: `task ${n}`, id: `id-${n}` })));
    const previews = async (query: string) =>
      (await paged.messages(queue, query)).map(({ preview }) => preview);
    assertEquals(await previews("limit=2"), ["task 1", "task 2"]);
    assertEquals(await previews("limit=2&end=newest"), ["task 5", "task 4"]);
    const [, second] = await paged.messages(queue);
    assertEquals(await previews(`from=${second!.key}`), ["task 3", "task 4", "task 5"]);
    const detail = await paged.get<MessageDetail>(`${at(queue)}/messages/${second!.key}`);
    assertEquals(atob(detail.bodyBase64), "task 2");
    assertEquals(detail.properties["message_id"], "id-2");
    assertEquals((await paged.queue(queue)).ready, 5);
  });

  await t.step("a queue may have any name", async () => {
    const names = [
      ".",
      "..",
      "..;",
      "%2e%2e",
      "a/../b",
      "?#&;=+",
      "\u202e \t",
      "\u00e9".repeat(127),
    ];
    for (const name of names) {
      await paged.send(name, { body: "x", id: "1" });
      const [message] = await paged.messages(name);
      assertEquals([(await paged.queue(name)).name, message!.preview], [name, "x"]);
      assertEquals((await paged.post(`${at(name)}/purge`)).done, 1);
    }
  });

  await t.step("shows what runs, by whom, and since when", async () => {
    await using bench = await QueueBench.open(url);
    await bench.send("long work", { messageId: "runs-1" });
    const channel = await bench.transport.openChannel();
    const got = await channel.basicGet(bench.name, { noAck: false });
    const { messages: [one] } = await paged.get<{ messages: MessageDetail[] }>(
      `${at(bench.name)}/running`,
    );
    assertEquals([one!.id, one!.preview], ["runs-1", "long work"]);
    assertMatch(one!.running!.client, /^test/);
    assertMatch(one!.running!.address, /127\.0\.0\.1:\d+/);
    const { ready, unacked } = await paged.queue(bench.name);
    assertEquals([ready, unacked], [0, 1]);
    const whole = await paged.get<MessageDetail>(`${at(bench.name)}/messages/${one!.key}`);
    assertEquals(atob(whole.bodyBase64), "long work");
    await got!.ack();
    await waitUntil("the acknowledgement", async () => {
      const { unacked, totals } = await paged.queue(bench.name);
      return unacked === 0 && totals!.acked === 1;
    });
  });

  await t.step("counts what comes with a queue that is new", async () => {
    const queue = uniqueName("new");
    await paged.send(queue, { body: "the first one" });
    await waitUntil("its rate", async () => (await paged.queue(queue)).rates!.in > 0);
  });

  await t.step("finds by id and by text, also far behind the others", async () => {
    const queue = uniqueName("find");
    await using bench = await QueueBench.open(url);
    await Promise.all(
      Array.from(
        { length: 5_000 },
        (_, n) => bench.send(`order ${n} of many`, { messageId: `m${n}` }),
      ),
    );
    await paged.send(queue, { json: { to: "ann@example.org" }, id: "letter" });
    for (const q of ["letter", "ann@example.org"]) {
      const { found } = await paged.get<{ found: { queue: string; id: string }[] }>(
        `/search?q=${encodeURIComponent(q)}`,
      );
      assertEquals(found.map(({ queue, id }) => [queue, id]), [[queue, "letter"]]);
    }
    const { found } = await paged.get<{ found: { id: string }[] }>(
      `/search?q=${encodeURIComponent("order 4999 ")}&queue=${bench.name}`,
    );
    assertEquals(found.map(({ id }) => id), ["m4999"]);
    // What is many comes page by page.
    let [from, count] = ["", 0];
    for (;;) {
      const page = await paged.get<{ found: unknown[]; next?: string }>(
        `/search?q=order&queue=${bench.name}${from}`,
      );
      count += page.found.length;
      if (page.next === undefined) break;
      from = `&from=${encodeURIComponent(page.next)}`;
    }
    assertEquals(count, 5_000);
    // The last of a backlog that is not in memory.
    const newest = await paged.messages(bench.name, "end=newest&limit=3");
    assertEquals(newest.map(({ id }) => id), ["m4999", "m4998", "m4997"]);
  });

  await t.step("finds what JSON has in escapes, as other makers' programs write it", async () => {
    const queue = uniqueName("escapes");
    await paged.send(queue, { body: '{"name": "M\\u00fcller"}' }, {
      body: '{"name": "M\\u00DCLLER"}',
    });
    for (const [text, count] of [["m\u00fcller", 2], ["m\\u00fcller", 1], ["m\u00fcllers", 0]]) {
      const { found } = await paged.get<{ found: unknown[] }>(
        `/search?q=${encodeURIComponent(text!)}&queue=${queue}`,
      );
      assertEquals([text, found.length], [text, count]);
    }
  });

  await t.step("takes upper and lower case for the same, in every script", async () => {
    const queue = uniqueName("case");
    await paged.send(
      queue,
      { body: "Stra\u00dfe der \u00c4rzte", id: "Order-17" },
      {
        body: "\u03a3\u039f\u03a6\u03a9\u03a3",
        headers: { City: "\u041c\u043e\u0441\u043a\u0432\u0430" },
      },
      { body_base64: encodeBase64(Uint8Array.of(0xc3, ...new TextEncoder().encode("Tail"), 0xff)) },
    );
    const finds = async (q: string) =>
      (await paged.get<{ found: { preview: string }[] }>(
        `/search?q=${encodeURIComponent(q)}&queue=${queue}`,
      )).found.length;
    const texts = [
      "ORDER-17",
      "order-17",
      "\u00e4rzte",
      "STRASSE",
      "\u03c3\u03bf\u03c6\u03c9\u03c2",
      "city",
      "\u041c\u041e\u0421\u041a\u0412\u0410",
      "tAIL",
    ];
    for (const text of texts) assertEquals([text, await finds(text)], [text, 1]);
    assertEquals(await finds("order-18"), 0);
  });

  await t.step("groups dead letters, and replays, edits and drops them", async () => {
    await using bench = await QueueBench.open(url);
    const dead = `${bench.name}.dead`;
    const letter = (n: number, reason: string, type: string) => ({
      ...{ body: `${type} ${n}`, id: `${reason}-${type}-${n}`, type },
      headers: {
        ...{ "task-dead-reason": reason, "task-error": "boom", "task-attempt": 3 },
        ...{ "task-origin-queue": bench.name, keep: "me" },
      },
    });
    const letters = Array.from({ length: 30 }, (_, n) => [
      letter(n, "max-attempts", "mail"),
      ...(n < 10 ? [letter(n, "rejected", "mail"), letter(n, "rejected", "pdf")] : []),
    ]);
    await paged.send(dead, ...letters.flat());
    const groups = async () =>
      (await paged.get<
        { groups: { reason: string; type: string; count: number; error: string }[] }
      >(
        `${at(dead)}/groups`,
      )).groups.map(({ reason, type, count, error }) => `${reason} ${type} ${count} ${error}`)
        .toSorted();
    assertEquals(await groups(), [
      "max-attempts mail 30 boom",
      "rejected mail 10 boom",
      "rejected pdf 10 boom",
    ]);
    const group = { reason: "rejected", type: "mail" };
    assertEquals(await paged.post(`${at(dead)}/replay`, { group }), {
      ...{ done: 10, gone: 0, failed: 0, to: [bench.name] },
    });
    assertEquals(await groups(), ["max-attempts mail 30 boom", "rejected pdf 10 boom"]);
    const { body, properties } = (await bench.take())!;
    assertEquals([body, properties.messageId, properties.type], [
      "mail 0",
      "rejected-mail-0",
      "mail",
    ]);
    const { headers } = properties;
    assertEquals(headers?.["keep"], "me");
    assertEquals(headers?.["task-replays"], 1);
    for (const name of ["task-dead-reason", "task-error", "task-attempt"]) {
      assertEquals(headers?.[name], undefined);
    }

    const [first, second, third] = await paged.messages(dead);
    const replaced = `${at(dead)}/messages/${first!.key}`;
    await paged.put(replaced, { body: "mended", id: first!.id, queue: bench.name });
    assertEquals((await paged.messages(bench.name, "end=newest&limit=1"))[0]!.preview, "mended");
    const again = await paged.ask("PUT", `/api/v1${replaced}`, { body: "twice" });
    assertEquals(again.status, 409);
    assertMatch(String(again.body["detail"]), /not there any more: somebody was quicker/);
    assertEquals((await paged.queue(bench.name)).ready, 10);

    const keys = [first!.key, second!.key, third!.key];
    assertEquals(await paged.post(`${at(dead)}/drop`, { keys }), { done: 2, gone: 1, failed: 0 });
    assertEquals(await paged.post(`${at(dead)}/replay`, { all: true }), {
      ...{ done: 37, gone: 0, failed: 0, to: [bench.name] },
    });
    assertEquals((await paged.queue(dead)).ready, 0);
    assertEquals(await bench.ready(), 47);
    assertEquals(await paged.post(`${at(bench.name)}/purge`), { done: 47, gone: 0, failed: 0 });
    assertEquals(await bench.ready(), 0);
  });

  await t.step("an edited task keeps what was not edited, and begins a new life", async () => {
    await using bench = await QueueBench.open(url);
    const dead = `${bench.name}.dead`;
    const bytes = Uint8Array.of(0, 255, 0xc3, 0x28, 13, 10);
    await declareQueue(bench.transport, deadQueue(bench.name));
    const headers = {
      ...{ bytes, when: new Date(1_700_000_000_000), large: 2n ** 60n, text: "was", gone: 1 },
      ...{ "task-dead-reason": "rejected", "task-attempt": 3, "task-expires-in": 5, CC: ["x"] },
      ...{ "task-origin-queue": bench.name },
    };
    await bench.send("", { headers, appId: "shop", replyTo: "answers" }, dead);
    const [one] = await paged.messages(dead);
    const path = `${at(dead)}/messages/${one!.key}`;
    const shown = await paged.get<MessageDetail>(path);
    await paged.put(path, {
      body_base64: encodeBase64(bytes),
      headers: { ...shown.headers, text: "is", gone: undefined },
      reply_to: "answers",
      queue: bench.name,
    });
    const channel = await bench.transport.openChannel();
    const { properties, body } = (await channel.basicGet(bench.name, { noAck: true }))!;
    assertEquals([body, properties.appId, properties.replyTo], [bytes, "shop", "answers"]);
    assertEquals(properties.headers, {
      ...{ bytes, when: new Date(1_700_000_000_000), large: 2n ** 60n, text: "is" },
      ...{
        "task-origin-queue": bench.name,
        "task-replays": 1,
        "task-hops": 1,
        "x-delivery-count": 0,
      },
    });
    await channel.close();
  });

  await t.step("takes single messages out of a backlog that is not in memory", async () => {
    const bench = await QueueBench.open(url);
    await Promise.all(Array.from({ length: 4_000 }, (_, n) => bench.send(`${n}`)));
    const newest = await paged.messages(bench.name, "end=newest&limit=200");
    const keys = newest.filter((_, n) => n % 2 === 0).map(({ key }) => key);
    assertEquals((await paged.post(`${at(bench.name)}/drop`, { keys })).done, 100);
    assertEquals((await paged.post(`${at(bench.name)}/drop`, { keys })).gone, 100);
    assertEquals(await bench.ready(), 3_900);
    await paged.broker.restart();
    await using other = await QueueBench.open(url);
    const channel = await other.transport.openChannel();
    const bodies: number[] = [];
    for (;;) {
      const message = await channel.basicGet(bench.name, { noAck: true });
      if (message === null) break;
      bodies.push(Number(message.bodyString()));
    }
    const gone = (n: number) => n >= 3_800 && n % 2 === 1;
    const left = Array.from({ length: 4_000 }, (_, n) => n).filter((n) => !gone(n));
    assertEquals(bodies, left);
    await channel.queueDelete(bench.name);
  });

  await t.step(
    "a paused queue gives nothing, over a restart too, and takes what comes",
    async () => {
      const bench = await QueueBench.open(url);
      const worker = bench.worker();
      await worker.waitForLine(/Waiting/);
      assertEquals(await paged.put(`${at(bench.name)}/paused`, { paused: true }), {
        changed: true,
      });
      assertEquals(await paged.put(`${at(bench.name)}/paused`, { paused: true }), {
        changed: false,
      });
      await bench.send("waits");
      assertEquals(await bench.take(), undefined);
      assertEquals([await bench.ready(), await bench.consumers()], [1, 0]);
      const asked = await bench.transport.openChannel();
      const isNotPaused = asked.queueDeclare(bench.name, { passive: true }, { "x-paused": false });
      const refusal = await isNotPaused.then(() => "", ({ message }: Error) => message);
      assertMatch(refusal, /arg 'x-paused' for .*: received 'false' but current is 'true'/);
      const [command, ...args] = toolCommand("worker", ["queues", "--queue", bench.name]);
      const { stdout } = await run(command, { args, env: { AMQP_URL: url } });
      assertMatch(stdout, new RegExp(`^${bench.name} +1 +paused .*$`, "m"));
      await paged.broker.restart();
      const { paused, ready, consumers } = await waitUntil("the worker to come back", async () => {
        const queue = await paged.queue(bench.name);
        return queue.consumers === 1 ? queue : undefined;
      });
      assertEquals([paused, ready, consumers], [true, 1, 1]);
      await paged.put(`${at(bench.name)}/paused`, { paused: false });
      await worker.waitForLine(/Done/);
      worker.kill();
      await worker.ended();
      await using last = await QueueBench.open(url);
      const channel = await last.transport.openChannel();
      await channel.queueDelete(bench.name);
    },
  );

  await t.step("closes a connection", async () => {
    const bench = await QueueBench.open(url);
    const connections = await waitUntil("those of before to be gone", async () => {
      const all = await paged.get<{ connections: ConnectionInfo[] }>("/connections");
      return all.connections.length === 1 ? all.connections : undefined;
    });
    assertEquals(connections.map(({ user, client }) => [user, client.slice(0, 4)]), [
      ["guest", "test"],
    ]);
    const path = `/api/v1/connections/${connections[0]!.id}`;
    assertEquals((await paged.ask("DELETE", path)).status, 204);
    await within("the end of the connection", bench.transport.ended);
    await waitUntil("nobody to be connected", async () => {
      return (await paged.overview()).connections === 0;
    });
    assertEquals((await paged.ask("DELETE", path)).status, 404);
  });

  await t.step("tells changes as they come", async () => {
    const queue = uniqueName("live");
    const ending = new AbortController();
    const response = await fetch(`${paged.url}/api/v1/events`, { signal: ending.signal });
    const events = changes(response);
    const first = (await events.next()).value!;
    assert(first.whole);
    await paged.send(queue, { body: "new" });
    for await (const { queues, whole } of events) {
      assertEquals(whole, false);
      const info = queues.find(({ name }) => name === queue);
      if (info === undefined) continue;
      assertEquals(info.ready, 1);
      break;
    }
    ending.abort();
    await events.return?.(undefined as never).catch(() => {});
  });

  await t.step("tells all of very many queues", async () => {
    const prefix = uniqueName("one-of-very-many-queues");
    const names = Array.from({ length: 1_500 }, (_, n) => `${prefix}-${n}`);
    await using bench = await QueueBench.open(url);
    const channel = await bench.transport.openChannel();
    for (const name of names) await channel.queueDeclare(name, { durable: false });
    const those = (queues: readonly { name: string }[]) =>
      queues.map(({ name }) => name).filter((name) => name.startsWith(prefix)).sort();
    names.sort();
    const { queues } = await paged.get<{ queues: { name: string }[] }>("/queues");
    assertEquals(those(queues), names);
    const ending = new AbortController();
    const events = changes(
      await fetch(`${paged.url}/api/v1/events`, { signal: ending.signal }),
    );
    assertEquals(those((await events.next()).value!.queues), names);
    ending.abort();
    await events.return?.(undefined as never).catch(() => {});
    for (const name of names) await channel.queueDelete(name);
  });

  await t.step("refuses in a sentence", async () => {
    const rows: [method: string, path: string, body: unknown, status: number, detail: RegExp][] = [
      ["GET", "/api/v1/queues/%2F/none", undefined, 404, /there is no queue "none"/],
      ["GET", "/api/v1/queues/other/none", undefined, 404, /no virtual host "other"/],
      ["GET", "/api/v1/nothing", undefined, 404, /openapi\.json tells what there is/],
      ["GET", "/api/v1/queues/%2/x", undefined, 400, /percent-encoded/],
      ["POST", "/api/v1/overview", {}, 405, /the method must be one of GET/],
      ["POST", "/api/v1/openapi.json", {}, 405, /the method must be one of GET/],
      ["DELETE", "/metrics", undefined, 405, /the method must be one of GET/],
      ["PUT", "/livez", {}, 405, /the method must be one of GET/],
      ["GET", "/api/v1/search", undefined, 400, /q must have 1 to 500 characters, and has 0/],
      ["GET", "/api/v1/search?q=x&vhost=%2F", undefined, 400, /vhost needs queue/],
      ["POST", "/api/v1/queues/%2F/q/messages", { body: 7 }, 422, /body must be text/],
      [
        "POST",
        "/api/v1/queues/%2F/q/messages",
        { bodi: "x" },
        422,
        /and has "bodi"; did you mean body\?/,
      ],
      ["POST", "/api/v1/queues/%2F/q/drop", { all: false }, 422, /with at most 10000 keys/],
      ["PUT", "/api/v1/queues/%2F/q/paused", { paused: 1 }, 422, /paused must be true or false/],
    ];
    for (const [method, path, body, status, detail] of rows) {
      const answer = await paged.ask(method, path, body);
      assertEquals([method, path, answer.status], [method, path, status]);
      assertEquals(answer.type, "application/problem+json");
      assertMatch(String(answer.body["detail"]), detail);
    }
  });

  await t.step("finds what has a question mark, also one that is not encoded", async () => {
    const queue = uniqueName("ask");
    await paged.send(queue, { body: "who?" }, { body: "who" });
    const { body } = await paged.ask<{ found: { preview: string }[] }>(
      "GET",
      `/api/v1/search?q=who?&queue=${queue}`,
    );
    assertEquals(body.found.map(({ preview }) => preview), ["who?"]);
  });

  await t.step("describes itself", async () => {
    const { body } = await paged.ask<{ paths: Record<string, Record<string, unknown>> }>(
      "GET",
      "/api/v1/openapi.json",
    );
    const ids = Object.values(body.paths).flatMap((methods) =>
      Object.values(methods).map((operation) => (operation as { operationId: string }).operationId)
    );
    assertEquals(new Set(ids).size, ids.length);
    const names = new Set(
      [...JSON.stringify(body).matchAll(/"#\/components\/schemas\/(\w+)"/g)].map(([, name]) =>
        name
      ),
    );
    const { schemas } = (body as unknown as { components: { schemas: Record<string, unknown> } })
      .components;
    assertEquals([...names].filter((name) => !Object.hasOwn(schemas, name!)), []);
  });

  await t.step("its numbers are Prometheus'", async () => {
    const { body } = await paged.ask<string>("GET", "/metrics");
    assertMatch(body, /^workqueue_broker_commit_duration_seconds_count \d+$/m);
    assertMatch(body, /^workqueue_queue_messages_ready\{vhost="\/",queue="live/m);
  });

  await t.step({
    ...stepWith("promtool", "promtool takes its numbers"),
    async fn() {
      const { body } = await paged.ask<string>("GET", "/metrics");
      await using promtool = spawn("promtool", { args: ["check", "metrics"], stdin: body });
      const { code, stdout, stderr } = await promtool.ended();
      assertEquals([code, stdout + stderr], [0, ""]);
    },
  });
});

Deno.test("with a token nothing is told without it", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${dir}/token`, "open-sesame\n");
    const [port] = await freePorts(1);
    await using broker = startProcess([
      ...["--http", `127.0.0.1:${port}`, "--token-file", `${dir}/token`],
    ]);
    await broker.waitForLog(/page at/);
    const status = async (path: string, token?: string) => {
      const headers: Record<string, string> = token === undefined
        ? {}
        : { authorization: `Bearer ${token}` };
      const response = await fetch(`http://127.0.0.1:${port}${path}`, { headers });
      await response.body?.cancel();
      return response.status;
    };
    for (const path of ["/api/v1/overview", "/api/v1/events", "/metrics", "/api/v1/nothing"]) {
      assertEquals([path, await status(path)], [path, 401]);
      assertEquals([path, await status(path, "open-barley")], [path, 401]);
    }
    assertEquals(await status("/api/v1/overview", "open-sesame"), 200);
    assertEquals(await status("/metrics", "open-sesame"), 200);
    assertEquals(await status("/livez"), 200);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

async function* changes(response: Response): AsyncGenerator<ChangeEvent> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of response.body!) {
    text += decoder.decode(chunk, { stream: true });
    for (let end = text.indexOf("\n\n"); end !== -1; end = text.indexOf("\n\n")) {
      const [, data] = /^data: (.*)$/m.exec(text.slice(0, end)) ?? [];
      text = text.slice(end + 2);
      if (data !== undefined) yield JSON.parse(data) as ChangeEvent;
    }
  }
}
