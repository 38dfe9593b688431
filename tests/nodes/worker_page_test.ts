/** `worker page`, in front of RabbitMQ. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import type { ActionResult, ConnectionInfo, Overview, QueueInfo } from "../../src/observe/board.ts";
import { freePorts } from "../support/ports.ts";
import { spawn, type TestProcess } from "../support/process.ts";
import { rabbitmqTest, startRabbitmq } from "../support/rabbitmq.ts";
import { toolCommand } from "../support/tools.ts";
import { waitUntil } from "../support/wait.ts";
import { QueueBench } from "../worker/bench.ts";
import { at } from "../web/paged.ts";

/** Starts the page. @returns where it is served */
async function startPage(url: string, ...args: string[]): Promise<TestProcess & { url: string }> {
  const [command, ...rest] = toolCommand("worker", ["page", "--http", "0", ...args]);
  const page = spawn(command, { args: rest, env: { AMQP_URL: url } });
  const [, served] = await page.waitForLine(/The page is at (http:\S+)\. /);
  return Object.assign(page, { url: served! });
}

async function ask<T>(url: string, method: string, path: string, body?: unknown): Promise<T> {
  const response = await fetch(`${url}/api/v1${path}`, {
    method,
    headers: { "content-type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
  return (text === "" ? undefined : JSON.parse(text)) as T;
}

rabbitmqTest("worker page shows what RabbitMQ tells, and acts on dead tasks", async (t) => {
  const [management] = freePorts(1);
  await using node = await startRabbitmq({
    plugins: ["rabbitmq_management"],
    config: { "management.tcp.port": management!, "management.tcp.ip": "127.0.0.1" },
  });
  const bench = await QueueBench.open(node.url); // the page closes its connection
  const dead = `${bench.name}.dead`;
  await bench.send("waits");
  const counted = (ready: number, left: number) =>
    waitUntil(`RabbitMQ to count ${ready} and ${left}`, async () => {
      return await bench.ready() === ready && await bench.ready(dead) === left;
    });

  await t.step("by AMQP alone", async () => {
    await using page = await startPage(node.url, "--queue", bench.name);
    await ask(page.url, "POST", `${at(dead)}/messages`, { body: "makes it", id: "first" });
    for (const n of [1, 2, 3]) {
      await ask(page.url, "POST", `${at(dead)}/messages`, {
        ...{ body: `letter ${n}`, id: `letter-${n}`, type: n === 3 ? "pdf" : "mail" },
        headers: { "task-dead-reason": "rejected", "task-origin-queue": bench.name },
      });
    }
    await waitUntil("RabbitMQ to count all", async () => {
      const { queues } = await ask<{ queues: QueueInfo[] }>(page.url, "GET", "/queues");
      const told = queues.map(({ name, ready, kind }) => `${name} ${ready} ${kind}`).toSorted();
      return told.join() === [`${bench.name} 1 work`, `${dead} 4 dead`].join();
    });
    const overview = await ask<Overview>(page.url, "GET", "/overview");
    assertEquals([overview.product, overview.ready], ["RabbitMQ", 1]);
    assertEquals([overview.unacked, overview.rates, overview.memory], [
      undefined,
      undefined,
      undefined,
    ]);
    const groups = await ask<{ groups: object[] }>(page.url, "GET", `${at(dead)}/groups`);
    assertEquals(groups.groups, [
      { reason: "rejected", type: "mail", count: 2 },
      { reason: "", type: "", count: 1 },
      { reason: "rejected", type: "pdf", count: 1 },
    ]);
    const act = (action: string, body: unknown) =>
      ask<ActionResult>(page.url, "POST", `${at(dead)}/${action}`, body);
    assertEquals(await act("replay", { group: { reason: "rejected", type: "mail" } }), {
      ...{ done: 2, gone: 0, failed: 0, to: [bench.name] },
    });
    await counted(3, 2);
    assertEquals(await act("drop", { keys: ["-letter-3", "-letter-1"] }), {
      ...{ done: 1, gone: 1, failed: 0 },
    });
    await counted(3, 1);
    await ask(page.url, "PUT", `${at(dead)}/messages/-first`, {
      body: "mended",
      queue: bench.name,
    });
    await counted(4, 0);
    const refused = ask(page.url, "GET", `${at(bench.name)}/messages`);
    assertMatch(
      await refused.then(() => "", ({ message }: Error) => message),
      /409 .*only dead tasks can be looked at/,
    );
    page.kill();
    await page.ended();
  });

  await t.step("with the management API", async () => {
    const url = `http://127.0.0.1:${management}`;
    await using page = await startPage(node.url, "--queue", bench.name, "--management", url);
    const channel = await bench.transport.openChannel();
    await channel.basicGet(bench.name, { noAck: false });
    const queue = await waitUntil("RabbitMQ to count what is unacknowledged", async () => {
      const { queues } = await ask<{ queues: QueueInfo[] }>(page.url, "GET", "/queues");
      return queues.find(({ name, unacked }) => name === bench.name && unacked === 1);
    });
    assertEquals([queue.ready, queue.type, queue.durable], [3, "quorum", true]);
    // The management API counts each five seconds.
    const readyOf = async () => {
      const { queues } = await ask<{ queues: QueueInfo[] }>(page.url, "GET", "/queues");
      return queues.find(({ name }) => name === bench.name)!.ready;
    };
    await ask(page.url, "POST", `${at(bench.name)}/messages`, { body: "one more" });
    assertEquals(await readyOf(), 4);
    await ask(page.url, "POST", `${at(bench.name)}/purge`, {});
    assertEquals(await readyOf(), 0);
    const overview = await ask<Overview>(page.url, "GET", "/overview");
    assert(overview.memory!.resident > 0 && overview.disk!.free > 0);
    const { connections } = await ask<{ connections: ConnectionInfo[] }>(
      ...[page.url, "GET", "/connections"] as const,
    );
    const ours = connections.find(({ client }) => client.startsWith("test"));
    await channel.close();
    await ask(page.url, "DELETE", `/connections/${ours!.id}`);
    await bench.transport.ended;
    page.kill();
    await page.ended();
  });
});
