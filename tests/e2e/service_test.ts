/** What a service manager is told by the socket that it gives (sd_notify). */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { brokerTest, sharedNode } from "../support/broker.ts";
import { freePorts } from "../support/ports.ts";
import { spawn, type TestProcess } from "../support/process.ts";
import { tempDir, uniqueName } from "../support/temp.ts";
import { toolCommand } from "../support/tools.ts";
import { waitUntil } from "../support/wait.ts";
import { finish, send, start } from "./tools.ts";

const node = await sharedNode();
const RECEIVER = new URL("../support/notify_receiver.ts", import.meta.url).pathname;

/** A manager that listens at `path`; disposing ends it. */
async function manager(path: string): Promise<TestProcess> {
  const args = ["run", "--quiet", "--no-check", "-A", "--unstable-net", RECEIVER, path];
  const process = spawn(Deno.execPath(), { args, killOnDispose: true });
  await process.waitForLine(/^listens$/);
  return process;
}

/** All it was told so far, a line each. */
function told(manager: TestProcess): string[] {
  return manager.stdout.slice(1).flatMap((line) =>
    (JSON.parse(line) as string).trimEnd().split("\n")
  );
}

function startBroker(env: Record<string, string>): TestProcess {
  const [command, ...args] = toolCommand("broker", ["--transient", "--port", "0"]);
  return spawn(command, { args, env });
}

const count = (lines: readonly string[], wanted: string) =>
  lines.filter((line) => line === wanted).length;

brokerTest(
  "a worker says that it is ready, how it goes, that it lives, and that it ends",
  async () => {
    await using temp = await tempDir();
    await using systemd = await manager(temp.file("notify"));
    const target = { url: node.url, queue: uniqueName("service") };
    await send(["x"], target);
    await using worker = start(
      "worker",
      // What manages the worker is none of its commands' business.
      ["--", "sh", "-c", 'test "${NOTIFY_SOCKET+x}${WATCHDOG_USEC+x}" = ""'],
      { ...target, env: { NOTIFY_SOCKET: temp.file("notify"), WATCHDOG_USEC: "200000" } },
    );
    await systemd.waitForLine(/READY=1/);
    await systemd.waitForLine(/STATUS=1 done/);
    for (let i = 0; i < 2; i++) await systemd.waitForLine(/WATCHDOG=1/);
    worker.kill("SIGTERM");
    await systemd.waitForLine(/STOPPING=1/);
    const { code, stderr } = await worker.ended();
    assertEquals(code, 0, stderr);
    const lines = told(systemd);
    assertEquals([count(lines, "READY=1"), count(lines, "STOPPING=1")], [1, 1]);
    assert(lines.indexOf("READY=1") < lines.indexOf("STOPPING=1"));
    assertMatch(lines.findLast((line) => line.startsWith("STATUS="))!, /^STATUS=ending: .*1 done$/);
  },
);

Deno.test("a worker whose broker is away has started well, and says that it takes no tasks", async () => {
  await using temp = await tempDir();
  await using systemd = await manager(temp.file("notify"));
  await using worker = start("worker", [], {
    url: `amqp://127.0.0.1:${freePorts(1)[0]}/`,
    env: { NOTIFY_SOCKET: temp.file("notify") },
  });
  await systemd.waitForLine(/READY=1/);
  assertEquals(count(told(systemd), "STATUS=takes no tasks; no task yet"), 1);
  worker.kill("SIGTERM");
  await worker.ended();
  assertEquals(count(told(systemd), "WATCHDOG=1"), 0);
});

Deno.test("a broker says that it is ready, how it goes, that it lives, and that it ends", async () => {
  await using temp = await tempDir();
  await using systemd = await manager(temp.file("notify"));
  await using broker = startBroker({
    NOTIFY_SOCKET: temp.file("notify"),
    WATCHDOG_USEC: "200000",
    WATCHDOG_PID: "",
  });
  await systemd.waitForLine(/READY=1/);
  const [, port] = await broker.waitForLog(/ready: amqp:\/\/127\.0\.0\.1:(\d+)[, ]/);
  await send(["x"], { url: `amqp://127.0.0.1:${port}/` });
  await systemd.waitForLine(/STATUS=1 queue, 1 message waits/);
  await waitUntil("a second sign of life", () => count(told(systemd), "WATCHDOG=1") > 1);
  broker.kill("SIGTERM");
  assertEquals((await broker.ended()).code, 0);
  await systemd.waitForLine(/STOPPING=1/);
  const lines = told(systemd);
  assertEquals([count(lines, "READY=1"), count(lines, "STOPPING=1")], [1, 1]);
});

Deno.test("a broker whose manager cannot be told anything says so, and works", async () => {
  for (const path of ["/nonexistent/socket", "@abstract"]) {
    await using broker = startBroker({ NOTIFY_SOCKET: path });
    await broker.waitForLog(/error: the service manager \(NOTIFY_SOCKET\) cannot be told/);
    const [, port] = await broker.waitForLog(/ready: amqp:\/\/127\.0\.0\.1:(\d+)[, ]/);
    assertEquals((await finish("new_task", ["x"], { url: `amqp://127.0.0.1:${port}/` })).code, 0);
    broker.kill("SIGTERM");
    const { code, stderr } = await broker.ended();
    assertEquals([code, stderr.split("cannot be told").length], [0, 2], stderr);
  }
});
