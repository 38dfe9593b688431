/**
 * The three programs on hosts that have nothing: no name service, no shell, no account, no home, no
 * loopback in /etc/hosts. All of them use their default URL.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { copyExecutable } from "../support/executable.ts";
import { installed, type Output, type TestProcess } from "../support/process.ts";
import { tempDir } from "../support/temp.ts";
import { unless } from "../support/unless.ts";
import { waitUntil } from "../support/wait.ts";
import { done, received } from "../e2e/tools.ts";
import { dist } from "./binary.ts";
import { BareHost, bareHostMissing, makeDebianRoot, makeScratchRoot } from "./bare_host.ts";

const MB = 1e6;
const NOBODY = 65_534;

interface Root {
  readonly name: string;
  readonly missing: string | undefined;
  readonly user: number;
  make(folder: string): Promise<void>;
}

const ROOTS: readonly Root[] = [
  {
    name: "a root with nothing but libc",
    missing: bareHostMissing,
    user: NOBODY,
    make: makeScratchRoot,
  },
  {
    name: "the smallest Debian",
    missing: bareHostMissing ??
      (installed("debootstrap") ? undefined : "debootstrap is not installed"),
    user: 0,
    make: makeDebianRoot,
  },
];

for (const { name, missing, user, make } of ROOTS) {
  Deno.test({
    ...unless(missing, `the programs on ${name}`),
    async fn(t) {
      // A chroot is no place for another user's files.
      await using folder = await tempDir("root-", "/tmp");
      await Deno.chmod(folder.path, 0o755);
      await Deno.mkdir(folder.file("root"));
      await make(folder.file("root"));
      {
        await using host = await BareHost.start(folder.file("root"), user);
        for (const { name, run } of STEPS) await t.step(name, () => run(host));
      }
      await Deno.mkdir(folder.file("one"));
      await copyExecutable(`${dist}workqueue`, folder.file("one/workqueue"));
      await using host = await BareHost.start(folder.file("root"), user, folder.file("one"));
      await t.step("do the tutorial as one binary", () => tutorial(host));
      await t.step({
        name: "show their page as one binary",
        ignore: !installed("curl"),
        fn: () => page(host),
      });
    },
  });
}

const STEPS: readonly { name: string; run: (host: BareHost) => Promise<void> }[] = [
  { name: "do the tutorial", run: tutorial },
  { name: "run commands, try again and bury", run: work },
  { name: "block publishers while the disk is almost full, and free them", run: fillDisk },
];

async function tutorial(host: BareHost): Promise<void> {
  await using broker = await startBroker(host);
  await using first = host.start("worker", []);
  await using second = host.start("worker", []);
  const workers = [first, second];
  for (const worker of workers) await worker.waitForLine(/Waiting for messages/);
  const texts = ["First message.", "Second message..", "Third message...", "Fourth message...."];
  for (const text of texts) await finish(host.start("new_task", text.split(" ")));
  await waitUntil("all tasks to be done", () => done(...workers) === texts.length);
  assertEquals(workers.flatMap(received).sort(), texts.toSorted());
  for (const worker of workers) {
    worker.kill();
    await finish(worker);
  }
  await endBroker(broker);
}

async function page(host: BareHost): Promise<void> {
  await using broker = await startBroker(host, "--http", "15672");
  await finish(host.start("new_task", ["First", "message."]));
  const at = "http://127.0.0.1:15672";
  const html = await host.get(`${at}/`);
  const parts = Array.from(html.matchAll(/(?:src|href)="([^"]+)"/g), ([, path]) => path!);
  assert(parts.includes("page.js"), html);
  for (const path of parts) assert((await host.get(`${at}/${path}`)).length > 0, path);
  const queue = JSON.parse(await host.get(`${at}/api/v1/queues/%2F/task_queue`));
  assertEquals([queue.ready, queue.durable], [1, true]);
  assertMatch(await host.get(`${at}/metrics`), /^\w+.*queue="task_queue".* 1$/m);
  await endBroker(broker);
}

async function work(host: BareHost): Promise<void> {
  await using broker = await startBroker(host);
  // With an empty body the command's stdin is /dev/null.
  for (const body of ["", "body"]) {
    await finish(host.start("new_task", ["--queue", "work", "--id", `id-${body}`, "-"], {
      stdin: body,
    }));
  }
  // The command is one of our programs: there may be no other. Its queue is missing at first.
  await using worker = host.start("worker", [
    ...["--queue", "work", "--concurrency", "2", "--backoff", "1s", "--"],
    ...["/opt/new_task", "--no-declare", "--queue", "next", "from a command"],
  ]);
  for (const id of ["id-", "id-body"]) {
    await worker.waitForLog(
      new RegExp(`failed \\(exit 69\\), waits \\d.* (ms|s) id=${id} attempt=1`),
    );
  }
  await finish(host.start("new_task", ["--queue", "next", "x"]));
  for (const id of ["id-", "id-body"]) {
    await worker.waitForLog(new RegExp(` done id=${id} attempt=2`));
  }
  worker.kill();
  await finish(worker);

  await finish(host.start("new_task", ["--queue", "work", "--id", "dead", "x"]));
  const refuse = ["--queue", "work", "--max-tasks", "1", "--", "/opt/new_task", "--bogus"];
  const { stderr } = await finish(host.start("worker", refuse));
  assertMatch(stderr, /dead \(rejected\): exit 64 id=dead attempt=1/);
  const { stdout } = await finish(host.start("worker", ["dead", "ls", "--queue", "work"]));
  assertMatch(stdout, /^dead dead-reason="rejected"/);

  // A command that does not end by itself is ended, with its process group.
  await finish(host.start("new_task", ["--queue", "work", "--id", "slow", "x"]));
  const slow = ["--queue", "work", "--max-tasks", "1", "--max-attempts", "1", "--timeout", "1s"];
  const endless = [...slow, "--", "/opt/worker", "--queue", "nothing"];
  const ended = await finish(host.start("worker", endless));
  assertMatch(ended.stderr, /dead \(max-attempts\): timeout id=slow attempt=1/);
  await endBroker(broker);
}

async function fillDisk(host: BareHost): Promise<void> {
  await using broker = await startBroker(host, "--disk-free-limit", `${60 * MB}`);
  // More than the disk holds.
  const count = 600;
  const lines = "x".repeat(MB / 10) + "\n";
  await using sender = host.start(
    "new_task",
    ["--queue", "many", "--lines", "--quiet", "--timeout", "60s"],
    { stdin: lines.repeat(count) },
  );
  await broker.waitForLog(/publishers are blocked/);
  assert(sender.running);
  await using worker = host.start("worker", ["--queue", "many", "--concurrency", "10"]);
  await broker.waitForLog(/publishers are unblocked/);
  await finish(sender);
  await waitUntil("all tasks to be done", () => done(worker) === count);
  worker.kill();
  await finish(worker);
  await endBroker(broker);
}

async function startBroker(host: BareHost, ...args: string[]): Promise<TestProcess> {
  const broker = host.start("broker", ["--data", "/srv/data", ...args], { killOnDispose: true });
  await broker.waitForLog(/ready: amqp:\/\/127\.0\.0\.1:5672 /);
  return broker;
}

/** Ends a broker, which may have complained of nothing but the disk. */
async function endBroker(broker: TestProcess): Promise<void> {
  broker.kill();
  const { code, stderr } = await broker.ended();
  assertEquals(code, 0, stderr);
  const complaints = stderr.split("\n").filter((line) => / (warn|error): /.test(line));
  assertEquals(complaints.filter((line) => !/the disk is (almost )?full/.test(line)), []);
}

/** Waits for the end of a program, which must be a good one. */
async function finish(started: TestProcess): Promise<Output> {
  await using process = started;
  const output = await process.ended();
  assertEquals(output.code, 0, output.stderr);
  return output;
}
