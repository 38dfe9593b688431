/** The thread that syncs the data file of a slow disk. */
import { assertEquals, assertGreater, assertMatch, assertRejects } from "@std/assert";
import { SyncThread } from "../../src/broker/store/file/sync_thread.ts";
import { fakeDisk, fakeDiskMissing } from "../support/fake_disk.ts";
import { run } from "../support/process.ts";
import { tempDir } from "../support/temp.ts";

const DATA_FILE = new URL("../../src/broker/store/file/data_file.ts", import.meta.url).href;

const STORE = new URL("../../src/broker/store/store.ts", import.meta.url).href;
const SYNC_THREAD = new URL("../../src/broker/store/file/sync_thread.ts", import.meta.url).href;

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
  name: "the thread opens its file once, and closes it when told" +
    (Deno.build.os === "linux" ? "" : " (ignored: needs Linux)"),
  ignore: Deno.build.os !== "linux",
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
  name: "where file descriptors are short there is no thread, and the process goes on" +
    (Deno.build.os === "linux" ? "" : " (ignored: needs Linux)"),
  ignore: Deno.build.os !== "linux",
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
  name: "a sync that fails says why" +
    (Deno.build.os === "linux" ? "" : " (ignored: needs Linux)"),
  ignore: Deno.build.os !== "linux",
  async fn() {
    using file = await Deno.open("/dev/null", { read: true, write: true });
    const thread = new SyncThread("/dev/null", file);
    await assertRejects(() => thread.sync(), Error, "Invalid argument");
    thread.close();
  },
});

for (const syncMs of [0, SLOW_MS]) {
  Deno.test({
    name: "when the data file cannot be synced nothing is safe any more, and the log is kept" +
      (syncMs > 0 ? ", on a slow disk" : "") +
      (fakeDiskMissing ? ` (ignored: ${fakeDiskMissing})` : ""),
    ignore: fakeDiskMissing !== undefined,
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
