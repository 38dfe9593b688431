/** Checkpoints: which pages are written when. */
import { assert, assertEquals, assertGreater, assertMatch, assertNotEquals } from "@std/assert";
import { EXIT } from "../../src/errors.ts";
import { DATA_FILE, DataFile } from "../../src/broker/store/file/data_file.ts";
import { fakeDisk, fakeDiskMissing } from "../support/fake_disk.ts";
import { openPeer } from "../support/protocol_peer.ts";
import { tempDir } from "../support/temp.ts";
import { mountDisk, mountMissing } from "../support/tmpfs.ts";
import { unless } from "../support/unless.ts";
import { portOf, startProcess } from "./harness.ts";
import { type DiskRecord, readRecords } from "./recorded_disk.ts";

const PERSISTENT = { deliveryMode: 2 };
const BODY_BYTES = 14_000;
const WINDOW = 200;

/**
 * On a small disk the log is short; on a quick one SQLite would empty it then. Bodies enough to fill
 * it, and so few that the log is not made shorter for what they leave of the disk.
 */
const DISKS = [
  { syncMs: 0, megabytes: 200, count: 1_500 },
  { syncMs: 10, megabytes: 64, count: 1_000 },
];

const FRAME_HEAD = 24;
const LOG_HEAD = 32;

/** Whether a page of the log is written, and not a head. */
function isPage({ kind, file, bytes }: DiskRecord): boolean {
  return kind === "write" && file === 1 && bytes.length > LOG_HEAD;
}

for (const { syncMs, megabytes, count } of DISKS) {
  Deno.test({
    ...unless(
      fakeDiskMissing ?? mountMissing,
      "the log is emptied between commits: synced, copied, and begun with one page" +
        (syncMs > 0 ? ", on a slow disk" : ""),
    ),
    async fn() {
      await using dir = await tempDir();
      const env = await fakeDisk(dir.path, { syncMs, record: dir.file("record") });
      await using disk = await mountDisk(megabytes);
      await using broker = startProcess(
        ["--data", `${disk.path}/data`, "--disk-free-limit", "0"],
        { env },
      );
      await using peer = await openPeer(await portOf(broker));
      const channel = await peer.open();
      await channel.call("queue.declare", { queue: "tasks", durable: true });
      await channel.call("confirm.select");
      const body = new Uint8Array(BODY_BYTES);
      for (let sent = 0, confirmed = 0; confirmed < count;) {
        while (sent < count && sent - confirmed < WINDOW) {
          await channel.publish({ routingKey: "tasks" }, body, PERSISTENT);
          sent++;
        }
        confirmed = (await channel.expect("basic.ack")).deliveryTag;
      }
      // Whatever was begun is over, and more is written behind it.
      for (let n = 0; n < 2; n++) {
        await channel.publish({ routingKey: "tasks" }, "last", PERSISTENT);
        await channel.expect("basic.ack");
      }
      // Whoever synced the file has not ended the locks on it, which are the process's.
      await using second = startProcess(["--data", `${disk.path}/data`]);
      const { code, stderr } = await second.ended();
      assertEquals(code, EXIT.temporary, stderr);
      assertMatch(stderr, /another process is using it/);
      broker.kill("SIGKILL");
      await broker.ended();
      const records = await readRecords(dir.file("record"));
      // The last one: those before were of the start.
      const copied = records.findLastIndex(({ kind, file }) => kind === "write" && file === 0);
      assertGreater(copied, 0);
      const behind = records.slice(copied + 1);
      const [begun, done] = ["begin", "end"].map((kind) =>
        behind.findIndex((record) => record.kind === kind && record.file === 0)
      ) as [number, number];
      const first = behind.findIndex(isPage);
      // A quick disk is waited for.
      if (syncMs > 0) {
        const { thread } = behind[begun]!;
        assertNotEquals(thread, behind[first]!.thread, "the main thread syncs the data file");
      }
      assert(
        0 <= begun && begun < done && done < first,
        "the data file is synced before the log begins",
      );
      const head = behind.slice(0, first).findLast(({ kind }) => kind === "write");
      assertEquals([head?.at, head?.bytes.length], [LOG_HEAD, FRAME_HEAD], "the log begins anew");
      const next = behind.findIndex((record, index) => index > first && isPage(record));
      const isSynced = behind.slice(first, next).some(({ kind, file }) =>
        kind === "end" && file === 1
      );
      assert(isSynced, "one page is synced before the next one is written");
      const lastCopy = records.slice(0, copied).findLastIndex((record) => isPage(record));
      const since = records.slice(lastCopy, copied).filter(({ file }) => file === 1);
      assert(since.some(({ kind }) => kind === "end"), "the log is synced before it is copied");
    },
  });
}

Deno.test("a file that has come to stand still is left as it is by a checkpoint that was due before", async () => {
  await using dir = await tempDir();
  const file = new DataFile(dir.path);
  file.mark();
  file.database.prepare("INSERT INTO user VALUES (?, ?)").run(Uint8Array.of(1), "secret");
  const read = () => Deno.readFile(dir.file(DATA_FILE));
  const before = await read();
  file.checkpoint.isPaused = true;
  await file.checkpoint.run();
  assertEquals(await read(), before);
  file.checkpoint.isPaused = false;
  await file.checkpoint.run();
  assertNotEquals(await read(), before);
  file.close();
});
