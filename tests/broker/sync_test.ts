/** What the kernel saw: nothing is told to a client before it is synced to disk. */
import { assert, assertEquals, assertGreater, assertMatch } from "@std/assert";
import { type Arguments, encodeMethod } from "../support/methods.ts";
import { run, spawn } from "../support/process.ts";
import { openPeer } from "../support/protocol_peer.ts";
import { fakeDisk, fakeDiskMissing } from "../support/fake_disk.ts";
import { type TempDir, tempDir } from "../support/temp.ts";
import { unless } from "../support/unless.ts";
import type { ChannelHost } from "../../src/broker/channel/host.ts";
import type { Session } from "../../src/broker/connection/session.ts";
import { FrameWriter } from "../../src/broker/wire/frames.ts";
import { PROMISE_NAMES, type PromiseName } from "../../src/broker/wire/methods.ts";
import { brokerCommand, portOf, startProcess } from "./harness.ts";

const straceMissing = await run("strace", { args: ["-V"] })
  .then(({ code }) => code === 0 ? undefined : "strace does not work here")
  .catch(() => "needs strace");

/** A method frame as strace prints its beginning: type, channel, length, class, method. */
const ACK = String.raw`\1\0\1\0\0\0\r\0<\0P`;
const COMMIT_OK = String.raw`\1\0\1\0\0\0\4\0Z\0\25`;

/** A call of the kernel in a trace: the lines where it begins and where it has returned 0. */
interface Sync {
  begin: number;
  end: number;
}

/** What was synced of a file, whichever descriptor and thread it was. @param file as strace prints it */
function syncsOf(trace: string[], file: string): Sync[] {
  const descriptors = new Set<string>();
  const underWay = new Map<string, number>();
  const syncs: Sync[] = [];
  for (const [at, line] of trace.entries()) {
    // Another thread syncs a duplicate of the descriptor.
    const [, original, opened] = line.match(/ (?:openat|fcntl)\((\w+),.* = (\d+)$/) ?? [];
    const isOurs = line.includes(file) || descriptors.has(original!);
    if (opened !== undefined) descriptors[isOurs ? "add" : "delete"](opened);
    const thread = line.slice(0, line.indexOf(" "));
    const descriptor = line.match(/ f(?:data)?sync\((\d+)/)?.[1];
    if (descriptor !== undefined && descriptors.has(descriptor)) underWay.set(thread, at);
    const begin = underWay.get(thread);
    if (begin === undefined || !/sync(\(| resumed).* = 0$/.test(line)) continue;
    syncs.push({ begin, end: at });
    underWay.delete(thread);
  }
  return syncs;
}

Deno.test({
  ...unless(straceMissing, "a confirm and a commit-ok come after the sync"),
  async fn() {
    await using dir = await tempDir();
    const calls = "trace=openat,fcntl,pwrite64,fsync,fdatasync,sendto,write,writev,sendmsg";
    await using broker = spawn("strace", {
      args: [
        ...["-f", "-s", "5000", "-e", calls, "-o", dir.file("trace")],
        ...brokerCommand(["--port", "0", "--data", dir.file("data")]),
      ],
    });
    await using peer = await openPeer(await portOf(broker));
    const channel = await peer.open();
    await channel.call("queue.declare", { queue: "tasks", durable: true });
    await channel.call("confirm.select");
    await channel.publish({ routingKey: "tasks" }, "needle one", { deliveryMode: 2 });
    await channel.expect("basic.ack");
    await channel.call("channel.close");
    const other = await peer.open();
    await other.call("tx.select");
    await other.publish({ routingKey: "tasks" }, "needle two", { deliveryMode: 2 });
    await other.call("tx.commit");
    await peer.close();
    // strace itself takes no signals; its first line begins with the broker's process id.
    Deno.kill(parseInt(await Deno.readTextFile(dir.file("trace"))), "SIGTERM");
    assertEquals((await broker.ended()).code, 0);

    const trace = (await Deno.readTextFile(dir.file("trace"))).split("\n");
    const parent = trace.findIndex((line) => line.includes(`openat(AT_FDCWD, "${dir.path}"`));
    assertGreater(parent, 0, "the folder above the data was never opened");
    // While others are at work strace prints where a call begins and where it ends.
    const [, thread, descriptor] = trace[parent]!.match(/^(\d+) .* (\d+)$/)!;
    const isSync = new RegExp(String.raw`^${thread} +fsync\(${descriptor}(\) += 0| <unfinished)`);
    const next = trace.slice(parent + 1).find((line) => line.startsWith(`${thread} `));
    assertMatch(next!, isSync, "the entry of the new folder is synced");

    for (const [needle, answer] of [["needle one", ACK], ["needle two", COMMIT_OK]] as const) {
      const write = trace.findIndex((line) => line.includes("pwrite64") && line.includes(needle));
      assertGreater(write, 0, `${needle} was never written`);
      const sync = syncsOf(trace, "/broker.db-wal").find(({ begin }) => begin > write);
      const told = trace.findIndex((line) => line.includes(answer));
      assert(sync !== undefined && sync.end < told, `written ${write}, told ${told}`);
    }
  },
});

/** What to ask for, in order, to get each of the answers that promise something durable. */
const ASKED: [answer: PromiseName, args: Arguments][] = [
  ["queue.declare-ok", { queue: "tasks", durable: true }],
  ["exchange.declare-ok", { exchange: "from", type: "direct", durable: true }],
  ["exchange.declare-ok", { exchange: "to", type: "direct", durable: true }],
  ["queue.bind-ok", { queue: "tasks", exchange: "to", routingKey: "key" }],
  ["exchange.bind-ok", { source: "from", destination: "to", routingKey: "key" }],
  ["basic.ack", {}],
  ["tx.commit-ok", {}],
  ["queue.purge-ok", { queue: "tasks" }],
  ["queue.unbind-ok", { queue: "tasks", exchange: "to", routingKey: "key" }],
  ["exchange.unbind-ok", { source: "from", destination: "to", routingKey: "key" }],
  ["exchange.delete-ok", { exchange: "from" }],
  ["exchange.delete-ok", { exchange: "to" }],
  ["queue.delete-ok", { queue: "tasks" }],
];

/** Bytes as strace -xx prints them. */
function hex(bytes: Uint8Array | string): string {
  const octets = typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes;
  return [...octets].map((octet) => `\\x${octet.toString(16).padStart(2, "0")}`).join("");
}

/** @param env of the broker */
async function assertSyncedBefore(dir: TempDir, env: Record<string, string>): Promise<void> {
  const calls =
    "trace=openat,fcntl,pwrite64,fsync,fdatasync,recvfrom,read,sendto,write,writev,sendmsg";
  await using broker = spawn("strace", {
    env,
    args: [
      ...["-f", "-xx", "-s", "5000", "-e", calls, "-o", dir.file("trace")],
      ...brokerCommand(["--port", "0", "--data", dir.file("data")]),
    ],
  });
  await using peer = await openPeer(await portOf(broker));
  const channel = await peer.open();
  const confirming = await peer.open(2);
  await confirming.call("confirm.select");
  const transacting = await peer.open(3);
  await transacting.call("tx.select");
  for (const [answer, args] of ASKED) {
    if (answer === "basic.ack") {
      await confirming.publish({ routingKey: "tasks" }, "one", { deliveryMode: 2 });
      await confirming.expect(answer);
    } else if (answer === "tx.commit-ok") {
      await transacting.publish({ routingKey: "tasks" }, "two", { deliveryMode: 2 });
      await transacting.call("tx.commit");
    } else {
      await channel.call(answer.slice(0, -"-ok".length), args);
    }
  }
  await peer.close();
  Deno.kill(parseInt(await Deno.readTextFile(dir.file("trace"))), "SIGTERM");
  assertEquals((await broker.ended()).code, 0);

  const trace = (await Deno.readTextFile(dir.file("trace"))).split("\n");
  const log = trace.find((line) => line.includes(hex("/broker.db-wal")))?.match(/= (\d+)$/)?.[1];
  assert(log !== undefined, "the write-ahead log was never opened");
  const syncs = syncsOf(trace, hex("/broker.db-wal"));
  const synced: Record<string, number> = {};
  let from = 0;
  for (const [answer] of ASKED) {
    const ids = hex(encodeMethod(answer).subarray(0, 4));
    const told = trace.findIndex((line, index) =>
      index >= from && /(sendto|write|writev|sendmsg)\(/.test(line) && line.includes(ids)
    );
    assertGreater(told, 0, `${answer} was never sent`);
    const before = trace.slice(from, told);
    const written = before.findLastIndex((line) => line.includes(`pwrite64(${log},`));
    assertGreater(written, 0, `${answer} was sent and nothing written before it`);
    const isSynced = syncs.some(({ begin, end }) => begin > from + written && end < told);
    assert(isSynced, `${answer} was sent before what was written was synced`);
    synced[answer] = (synced[answer] ?? 0) + 1;
    from = told + 1;
  }
  const expected = Object.fromEntries(PROMISE_NAMES.map((name) => [name, 1]));
  assertEquals(synced, { ...expected, "exchange.declare-ok": 2, "exchange.delete-ok": 2 });
}

const SLOW_MS = 5;
const LOG_SYNC = import.meta.resolve("../../src/broker/store/file/log_sync.ts");

for (const ms of [0, SLOW_MS]) {
  Deno.test({
    ...unless(
      straceMissing ?? (ms > 0 ? fakeDiskMissing : undefined),
      "every answer that promises something durable comes after the sync, counted by method" +
        (ms > 0 ? ", and on a slow disk" : ""),
    ),
    async fn() {
      await using dir = await tempDir();
      await assertSyncedBefore(dir, ms > 0 ? await fakeDisk(dir.path, { syncMs: ms }) : {});
    },
  });
}

Deno.test({
  ...unless(fakeDiskMissing, "who waits for a sync is told when none can be made"),
  async fn() {
    await using dir = await tempDir();
    await Deno.writeTextFile(dir.file("log"), "");
    const program = `
      const { LogSync } = await import(${JSON.stringify(LOG_SYNC)});
      const log = new LogSync(${JSON.stringify(dir.file("log"))});
      log.open();
      const syncs = [];
      while (log.pause < Infinity) {
        log.wrote(1);
        syncs.push(log.sync());
      }
      log.wrote(1);
      try {
        log.syncNow();
      } catch (error) {
        console.log(error.message);
      }
      console.log(log.written - log.synced);
      await Promise.all(syncs);
      log.close();`;
    const env = await fakeDisk(dir.path, { syncMs: VERY_SLOW_MS });
    const { code, stdout, stderr } = await run(Deno.execPath(), { args: ["eval", program], env });
    assertEquals(code, 0, stderr);
    assertEquals(stdout, "all that can sync the log are under way\n5\n");
  },
});

for (const ms of [0, SLOW_MS]) {
  Deno.test({
    ...unless(
      fakeDiskMissing,
      "what a failed sync was for is never confirmed, nor what comes after it" +
        (ms > 0 ? ", on a slow disk" : ""),
    ),
    async fn() {
      await using dir = await tempDir();
      const env = await fakeDisk(dir.path, { syncMs: ms });
      const args = ["--data", dir.file("data")];
      const PERSISTENT = { deliveryMode: 2 };
      {
        await using broker = startProcess(args, { env });
        await using peer = await openPeer(await portOf(broker));
        await using other = await openPeer(await portOf(broker));
        const channel = await peer.open();
        await channel.call("queue.declare", { queue: "tasks", durable: true });
        await channel.call("confirm.select");
        const elsewhere = await other.open();
        await elsewhere.call("confirm.select");
        // Slow enough by now to be known as slow.
        for (let i = 0; i < 5; i++) {
          await channel.publish({ routingKey: "tasks" }, "safe", PERSISTENT);
          await channel.expect("basic.ack");
        }
        await Deno.writeTextFile(dir.file("fails"), "");
        await channel.publish({ routingKey: "tasks" }, "lost", PERSISTENT);
        await peer.channel(0).expectClose(541, /the disk has failed/);
        await elsewhere.publish({ routingKey: "tasks" }, "after", PERSISTENT);
        const { reason } = await other.channel(0).expect("connection.blocked");
        assertMatch(reason, /did not get to the disk .*the broker has to be started again/);
        assertEquals(elsewhere.unread, 0);
        broker.kill("SIGKILL");
        await broker.ended();
      }
      await using broker = startProcess(args);
      await using peer = await openPeer(await portOf(broker));
      const channel = await peer.open();
      await channel.call("confirm.select");
      await channel.publish({ routingKey: "tasks" }, "again", PERSISTENT);
      await channel.expect("basic.ack");
      const { messageCount } = await channel.call("queue.declare", {
        queue: "tasks",
        passive: true,
      });
      assertGreater(messageCount, 5);
      await peer.close();
      broker.kill();
      assertEquals((await broker.ended()).code, 0);
    },
  });
}

Deno.test({
  ...unless(fakeDiskMissing, "a broker whose disk has failed does not end as if all were stored"),
  async fn() {
    await using dir = await tempDir();
    const env = await fakeDisk(dir.path, { syncMs: 0 });
    await using broker = startProcess(["--data", dir.file("data")], { env });
    await using peer = await openPeer(await portOf(broker));
    const channel = await peer.open();
    await channel.call("queue.declare", { queue: "tasks", durable: true });
    await Deno.writeTextFile(dir.file("fails"), "");
    await channel.send("queue.declare", { queue: "others", durable: true });
    await peer.channel(0).expectClose(541, /the disk has failed/);
    broker.kill("SIGTERM");
    const { code, stderr } = await broker.ended();
    assertEquals(code, 75);
    assertMatch(
      stderr,
      /cannot store the last changes: what was written did not get to the disk .*; what was acknowledged/,
    );
  },
});

/** After one such sync a disk is known as slow. */
const VERY_SLOW_MS = 20;

Deno.test({
  ...unless(
    fakeDiskMissing,
    "while a sync is under way others are delivered to, and nobody is told of what it is for",
  ),
  async fn() {
    await using dir = await tempDir();
    const env = await fakeDisk(dir.path, { syncMs: VERY_SLOW_MS });
    await using broker = startProcess(["--data", dir.file("data")], { env });
    const port = await portOf(broker);
    await using first = await openPeer(port);
    await using second = await openPeer(port);
    await using bystander = await openPeer(port);
    const own = await bystander.open();
    await own.call("queue.declare", { queue: "own", exclusive: true });
    await own.call("basic.consume", { queue: "own", noAck: true });
    const one = await first.open();
    const other = await second.open();
    // The first sync is waited for; after it the disk is known.
    await one.call("queue.declare", { queue: "known", durable: true });
    await Deno.writeTextFile(dir.file("holds"), "");
    await one.send("queue.declare", { queue: "tasks", durable: true });
    for (let round = 0; round < 3; round++) {
      await own.publish({ routingKey: "own" }, "bystander");
      await own.expectContent();
      // It is there, and not on disk.
      if (round === 0) await other.send("queue.declare", { queue: "tasks", durable: true });
    }
    assertEquals([one.unread, other.unread], [0, 0]);
    await Deno.remove(dir.file("holds"));
    await one.expect("queue.declare-ok");
    await other.expect("queue.declare-ok");
    for (const peer of [first, second, bystander]) await peer.close();
    broker.kill();
    assertEquals((await broker.ended()).code, 0);
  },
});

Deno.test("what promises something durable cannot be sent without waiting for the commit", () => {
  function neverRun(host: ChannelHost, session: Session): void {
    // @ts-expect-error a promise
    host.send(1, "queue.bind-ok", {});
    // @ts-expect-error a promise
    host.send(1, "basic.ack", { deliveryTag: 1, multiple: false });
    // @ts-expect-error nothing is said of what it promises
    host.answerAfterCommit(1, "queue.bind-ok", {});
    // @ts-expect-error messages alone are written past the connection
    host.outbox.frames.method(1, "queue.bind-ok", {});
    // @ts-expect-error a promise by its name
    host.outbox.frames.addressed(1, "queue.bind-ok", () => {}, new Uint8Array(), undefined);
    // @ts-expect-error a promise by its ids
    host.outbox.frames.addressed(1, 50 * 0x10000 + 21, () => {}, new Uint8Array(), undefined);
    // @ts-expect-error not even the connection itself, past its writing
    session.outbox.frames.promise(1, "queue.bind-ok", {});
    // @ts-expect-error nor as another method
    new FrameWriter().method(1, "queue.bind-ok", {});
  }
  assertEquals(typeof neverRun, "function");
});
