/** worker --metrics: what those see who watch over a worker. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { brokerTest, sharedNode } from "../support/broker.ts";
import type { TestProcess } from "../support/process.ts";
import { Proxy } from "../support/proxy.ts";
import { tempDir, uniqueName } from "../support/temp.ts";
import { waitUntil } from "../support/wait.ts";
import { finish, heldWork, send, start, stop } from "./tools.ts";

const node = await sharedNode();

async function urlOf(worker: TestProcess): Promise<string> {
  const [, url] = await worker.waitForLog(/ metrics at (http:.*)\/metrics$/);
  return url!;
}

async function get(url: string, init?: RequestInit): Promise<{ status: number; text: string }> {
  const response = await fetch(url, init);
  return { status: response.status, text: await response.text() };
}

/** A number of the metrics page. */
async function metric(url: string, name: string): Promise<number> {
  const { status, text } = await get(`${url}/metrics`);
  assertEquals(status, 200);
  const line = text.split("\n").find((line) => line.startsWith(`${name} `));
  assert(line !== undefined, `${name} is not in:\n${text}`);
  return Number(line.slice(name.length + 1));
}

brokerTest("a worker counts what it does, and says when it cannot take tasks", async () => {
  await using proxy = await Proxy.start(node.port);
  const target = { url: proxy.url, queue: uniqueName("metrics") };
  await send(["good"], { ...target, url: node.url });
  await send(["--id", "bad", "bad"], { ...target, url: node.url });
  const command = ["--", "sh", "-c", 'test "$(cat)" = good || exit 65'];
  await using worker = start("worker", ["--metrics", "0", ...command], target);
  const url = await urlOf(worker);
  assertMatch(url, /^http:\/\/127\.0\.0\.1:\d+$/);
  await waitUntil("both tasks", async () => {
    return await metric(url, 'workqueue_tasks_total{outcome="done"}') === 1 &&
      await metric(url, 'workqueue_tasks_total{outcome="dead"}') === 1;
  });
  assertEquals(await metric(url, "workqueue_runs_total"), 2);
  assertEquals(await metric(url, "workqueue_run_duration_seconds_count"), 2);
  assertEquals(await metric(url, "workqueue_consuming"), 1);
  assertEquals(await metric(url, "workqueue_connections_lost_total"), 0);
  assert(await metric(url, "process_resident_memory_bytes") > 10_000_000);
  assertEquals(await get(`${url}/readyz`), { status: 200, text: "ready\n" });
  assertEquals(await get(`${url}/livez?x`), { status: 200, text: "alive\n" });

  proxy.refuse();
  await proxy.cut();
  await waitUntil("not ready", async () => (await get(`${url}/readyz`)).status === 503);
  assertEquals((await get(`${url}/livez`)).status, 200);
  assertEquals(await metric(url, "workqueue_connections_lost_total"), 1);
  proxy.heal();
  await waitUntil("ready again", async () => (await get(`${url}/readyz`)).status === 200);
  assertEquals((await stop(worker)).code, 0);
});

brokerTest("a task whose result outlasts its connection is counted once", async () => {
  await using proxy = await Proxy.start(node.port);
  await using dir = await tempDir();
  const target = { url: proxy.url, queue: uniqueName("metrics-orphan") };
  const direct = { ...target, url: node.url };
  await send(["--id", "one", "one"], direct);
  const command = ["--", "sh", "-c", 'echo runs; until [ -e "$0" ]; do sleep 0.02; done'];
  await using worker = start("worker", ["--metrics", "0", ...command, dir.file("go")], target);
  const url = await urlOf(worker);
  await worker.waitForLog(/runs/);
  proxy.refuse();
  await proxy.cut();
  await worker.waitForLog(/trying again in/);
  await Deno.writeTextFile(dir.file("go"), "");
  await worker.waitForLog(/orphaned-result/);
  proxy.heal();
  await send(["--id", "two", "two"], direct);
  await waitUntil("the second task", async () => {
    return await metric(url, "workqueue_run_duration_seconds_count") === 2 &&
      await metric(url, "workqueue_tasks_running") === 0;
  });
  assertEquals(await metric(url, 'workqueue_tasks_total{outcome="done"}'), 2);
  assertEquals((await stop(worker)).code, 0);
});

brokerTest("a worker that was told to stop is not ready while it finishes", async () => {
  await using dir = await tempDir();
  const held = await heldWork(dir.path);
  const target = { url: node.url, queue: uniqueName("metrics-drain") };
  await send(["x"], target);
  await using worker = start("worker", ["--metrics", "127.0.0.1:0", ...held.args], target);
  const url = await urlOf(worker);
  await worker.waitForLine(/Received/);
  assertEquals((await get(`${url}/readyz`)).status, 200);
  assertEquals(await metric(url, "workqueue_tasks_running"), 1);
  worker.kill("SIGTERM");
  await worker.waitForLog(/no more tasks/);
  assertEquals((await get(`${url}/readyz`)).status, 503);
  await held.letGo();
  assertEquals((await worker.ended()).code, 0);
});

brokerTest("a port in use is refused", async () => {
  const target = { url: node.url, queue: uniqueName("metrics-refused") };
  await using worker = start("worker", ["--metrics", "0"], target);
  const { port } = new URL(await urlOf(worker));
  const second = await finish("worker", ["--metrics", port], target);
  assertEquals(second.code, 75);
  assertEquals(
    second.stderr,
    `worker: cannot listen on 127.0.0.1 port ${port}: address already in use\n`,
  );
  assertEquals((await stop(worker)).code, 0);
});
