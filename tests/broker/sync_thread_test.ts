/** The thread that syncs the data file of a slow disk. */
import {
  assertEquals,
  assertGreater,
  assertGreaterOrEqual,
  assertMatch,
  assertRejects,
} from "@std/assert";
import { isThere } from "../../src/broker/store/file/folder.ts";
import { SyncThread } from "../../src/broker/store/file/sync_thread.ts";
import { fakeDisk, fakeDiskMissing } from "../support/fake_disk.ts";
import { openPeer, type PeerChannel } from "../support/protocol_peer.ts";
import { run } from "../support/process.ts";
import { tempDir } from "../support/temp.ts";
import { mountDisk, mountMissing } from "../support/tmpfs.ts";
import { unless } from "../support/unless.ts";
import { waitUntil } from "../support/wait.ts";
import { portOf, startProcess } from "./harness.ts";

const DATA_FILE = import.meta.resolve("../../src/broker/store/file/data_file.ts");
const STORE = import.meta.resolve("../../src/broker/store/store.ts");
const SYNC_THREAD = import.meta.resolve("../../src/broker/store/file/sync_thread.ts");

const linuxMissing = Deno.build.os === "linux" ? undefined : "needs Linux";

/** A disk is known as slow after one such sync. */
const SLOW_MS = 20;

/** How often this process has a file open. */
function descriptorsOf(path: string): number {
  const names = [...Deno.readDirSync("/proc/self/fd")].map(({ name }) => `/proc/self/fd/${name}`);
  return names.filter((name) => {
    try {
      return Deno.readLinkSync(name) === path;
    } catch {
      return false; // the descriptor of the folder itself
    }
  }).length;
}

Deno.test({
  ...unless(linuxMissing, "the thread opens its file once, and closes it when told"),
  async fn() {
    await using dir = await tempDir();
    const path = dir.file("data");
    using file = await Deno.open(path, { create: true, read: true, write: true });
    const thread = new SyncThread(path, file);
    assertEquals(await thread.sync(), true);
    assertEquals(await thread.sync(), true);
    assertEquals(descriptorsOf(path), 2);
    thread.close();
    assertEquals(descriptorsOf(path), 1);
  },
});

Deno.test("the thread does not take a file for another that has taken its place", async () => {
  await using dir = await tempDir();
  const path = dir.file("data");
  using file = await Deno.open(path, { create: true, read: true, write: true });
  await Deno.rename(path, dir.file("moved"));
  await Deno.writeTextFile(path, "");
  const thread = new SyncThread(path, file);
  assertEquals(await thread.sync(), false);
  thread.close();
});

Deno.test("without its file the thread says that it cannot sync", async () => {
  await using dir = await tempDir();
  const path = dir.file("data");
  using file = await Deno.open(path, { create: true, read: true, write: true });
  await Deno.remove(path);
  const thread = new SyncThread(path, file);
  assertEquals(await thread.sync(), false);
  thread.close();
});

Deno.test({
  ...unless(
    linuxMissing,
    "where file descriptors are short there is no thread, and the process goes on",
  ),
  async fn() {
    await using dir = await tempDir();
    const program = `
      const { SyncThread } = await import(${JSON.stringify(SYNC_THREAD)});
      const path = ${JSON.stringify(dir.file("data"))};
      const file = Deno.openSync(path, { create: true, read: true, write: true });
      const others = [];
      try {
        for (;;) others.push(Deno.openSync(path));
      } catch {
        // None is left.
      }
      const refused = [];
      for (;;) {
        try {
          const thread = new SyncThread(path, file);
          console.log(await thread.sync());
          thread.close();
          break;
        } catch (error) {
          refused.push(error.message);
          others.pop().close();
        }
      }
      console.log(refused[0]);`;
    const args = ["-c", 'ulimit -n 100 && exec "$0" eval "$1"', Deno.execPath(), program];
    const { code, stdout, stderr } = await run("bash", { args });
    assertEquals(code, 0, stderr);
    assertMatch(stdout, /^true\nToo many open files/);
  },
});

Deno.test({
  ...unless(linuxMissing, "a sync that fails says why"),
  async fn() {
    using file = await Deno.open("/dev/null", { read: true, write: true });
    const thread = new SyncThread("/dev/null", file);
    await assertRejects(() => thread.sync(), Error, "Invalid argument");
    thread.close();
  },
});

for (const syncMs of [0, SLOW_MS]) {
  Deno.test({
    ...unless(
      fakeDiskMissing,
      "when the data file cannot be synced nothing is safe any more, and the log is kept" +
        (syncMs > 0 ? ", on a slow disk" : ""),
    ),
    async fn() {
      await using dir = await tempDir();
      const program = `
        const { DataFile } = await import(${JSON.stringify(DATA_FILE)});
        const { Store } = await import(${JSON.stringify(STORE)});
        const file = new DataFile(${JSON.stringify(dir.path)});
        file.mark();
        file.database.exec("INSERT INTO discarded VALUES (1, 1, 1000, NULL)");
        const store = new Store({ file, onFailure: () => {} });
        const readLog = () => Deno.readFileSync(file.pathOf("broker.db-wal")).toBase64();
        file.log.wrote(1);
        file.log.syncNow();
        if (${syncMs} > 0 && !file.log.isSlow) throw new Error("the disk is not known as slow");
        file.checkpoint.wrote(5_000);
        Deno.writeTextFileSync(${JSON.stringify(dir.file("fails"))}, "");
        await file.checkpoint.run();
        console.log(file.log.failure?.message);
        const left = readLog();
        store.sweep();
        console.log("swept", readLog() === left);
        file.fitLog(0);
        file.standstill.look();
        console.log("emptied", file.emptyLog("RESTART"), readLog() === left);
        store.close();
        console.log("closed", readLog() === left);
        // As the programs end.
        Deno.exit();`;
      const env = await fakeDisk(dir.path, { syncMs });
      const { code, stdout, stderr } = await run(Deno.execPath(), { args: ["eval", program], env });
      assertEquals(code, 0, stderr);
      const [failure, ...others] = stdout.trimEnd().split("\n");
      assertMatch(failure!, /^what was written did not get to the disk/);
      // It may be the only place where that is.
      assertEquals(others, ["swept true", "emptied false true", "closed true"]);
      assertGreater((await Deno.stat(dir.file("broker.db-wal"))).size, 0);
    },
  });
}

const PERSISTENT = { deliveryMode: 2 };
const BODY = new Uint8Array(14_000);
/** More than the log of a small disk may have. */
const ENOUGH = 1_000;
const SMALL_MB = 64;

async function publishAll(channel: PeerChannel): Promise<void> {
  for (let count = 0; count < ENOUGH; count++) {
    await channel.publish({ routingKey: "tasks" }, BODY, PERSISTENT);
  }
}

/** When its connection has ended. */
async function lastConfirmed(channel: PeerChannel): Promise<number> {
  let last = 0;
  try {
    for (;;) last = (await channel.expect("basic.ack")).deliveryTag;
  } catch {
    return last;
  }
}

const EVENTS = [
  { event: "hangs", file: "data-holds", sign: "data-holds.now" },
  { event: "fails", file: "data-fails", sign: undefined },
];

for (const { event, file, sign } of EVENTS) {
  Deno.test({
    ...unless(
      fakeDiskMissing ?? mountMissing,
      `when the sync of the thread ${event} others are served, the broker can be ended, and ` +
        "nothing confirmed is lost",
    ),
    async fn() {
      await using dir = await tempDir();
      await using disk = await mountDisk(SMALL_MB);
      const args = ["--data", `${disk.path}/data`, "--disk-free-limit", "0"];
      const env = await fakeDisk(dir.path, { syncMs: SLOW_MS });
      let confirmed = 0;
      {
        await using broker = startProcess(args, { env });
        const port = await portOf(broker);
        await using peer = await openPeer(port);
        await using bystander = await openPeer(port);
        const channel = await peer.open();
        // The file is marked as in use, and the disk known as slow.
        await channel.call("queue.declare", { queue: "tasks", durable: true });
        await channel.call("confirm.select");
        const own = await bystander.open();
        await own.call("queue.declare", { queue: "own", exclusive: true });
        await own.call("basic.consume", { queue: "own", noAck: true });
        await Deno.writeTextFile(dir.file(file), "");
        const sending = publishAll(channel).catch(() => {});
        await waitUntil(
          "the data file to be synced",
          () => sign === undefined ? !isThere(dir.file(file)) : isThere(dir.file(sign)),
        );
        if (event === "hangs") {
          await own.publish({ routingKey: "own" }, "bystander");
          await own.expectContent();
        }
        broker.kill();
        if (event === "hangs") {
          // Another one, which cannot be the echo of the first.
          await broker.waitForLog(/ending/);
          broker.kill("SIGINT");
        }
        assertEquals((await broker.ended()).code, event === "hangs" ? 130 : 75);
        await sending;
        confirmed = await lastConfirmed(channel);
        assertGreater(Deno.statSync(`${disk.path}/data/broker.db-wal`).size, 0);
      }
      await using broker = startProcess(args);
      await using peer = await openPeer(await portOf(broker));
      const channel = await peer.open();
      const { messageCount } = await channel.call("queue.declare", {
        queue: "tasks",
        passive: true,
      });
      assertGreater(confirmed, 0);
      assertGreaterOrEqual(messageCount, confirmed);
      await peer.close();
      broker.kill();
      assertEquals((await broker.ended()).code, 0);
    },
  });
}
