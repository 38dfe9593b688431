/** The data file gets shorter when the backlog has gone. */
import { assert, assertEquals } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { fakeDisk, fakeDiskMissing } from "../support/fake_disk.ts";
import { openPeer } from "../support/protocol_peer.ts";
import { run } from "../support/process.ts";
import { tempDir } from "../support/temp.ts";
import { ownThreadTime, threadTime } from "../support/thread_time.ts";
import { unless } from "../support/unless.ts";
import { portOf, startProcess } from "./harness.ts";

const DATA_FILE = import.meta.resolve("../../src/broker/store/file/data_file.ts");
const SHRINKER = import.meta.resolve("../../src/broker/store/file/shrinker.ts");

const PERSISTENT = { deliveryMode: 2 };
const COUNT = 400;
/** On a slow disk nothing but a checkpoint makes it shorter, which nobody else asks for. */
const SLOW_MS = 20;

/** Two queues, whose messages lie between each other. */
async function fill(folder: string): Promise<void> {
  await using broker = startProcess(["--data", folder]);
  await using peer = await openPeer(await portOf(broker));
  const channel = await peer.open();
  await channel.call("confirm.select");
  for (const queue of ["long", "left"]) {
    await channel.call("queue.declare", { queue, durable: true });
  }
  for (let i = 0; i < COUNT; i++) {
    await channel.publish({ routingKey: "long" }, "l".repeat(50_000), PERSISTENT);
    // Between them, so that they have to be moved.
    await channel.publish({ routingKey: "left" }, `${i} `.padEnd(5_000, "s"), PERSISTENT);
  }
  for (let tag = 0; tag < 2 * COUNT;) tag = (await channel.expect("basic.ack")).deliveryTag;
  await peer.close();
  broker.kill();
  assertEquals((await broker.ended()).code, 0);
}

Deno.test("the file gives its room back when the backlog has gone, and others are served", async () => {
  await using dir = await tempDir();
  const path = dir.file("broker.db");
  await fill(dir.path);
  const full = Deno.statSync(path).size;
  assert(full > COUNT * 50_000);
  await using library = await tempDir();
  const env = fakeDiskMissing ? {} : await fakeDisk(library.path, { syncMs: SLOW_MS });
  await using broker = startProcess(["--data", dir.path], { env });
  await using peer = await openPeer(await portOf(broker));
  const channel = await peer.open();
  await channel.call("queue.purge", { queue: "long" });
  // What it waits for processors is the machine's doing.
  const starved = () => threadTime(broker.pid).starved + ownThreadTime().starved;
  const started = Date.now();
  let slowest = 0;
  while (Deno.statSync(path).size > 5_000_000) {
    assert(Date.now() < started + 60_000, `${Deno.statSync(path).size} bytes`);
    const [began, before] = [performance.now(), starved()];
    await channel.call("queue.declare", { queue: "left", durable: true });
    slowest = Math.max(slowest, performance.now() - began - (starved() - before));
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert(slowest < 5_000);
  for (let i = 0; i < COUNT; i++) {
    await channel.send("basic.get", { queue: "left", noAck: true });
    const { args } = await channel.method();
    assertEquals(parseInt((await channel.readContent(args)).text), i);
  }
  await peer.close();
  broker.kill();
  assertEquals((await broker.ended()).code, 0);
  const database = new DatabaseSync(path);
  assertEquals(database.prepare("PRAGMA integrity_check").get()!["integrity_check"], "ok");
  database.close();
});

Deno.test({
  ...unless(fakeDiskMissing, "what a checkpoint has interrupted is shortened behind it"),
  async fn() {
    await using dir = await tempDir();
    const program = `
      const { DataFile } = await import(${JSON.stringify(DATA_FILE)});
      const { Shrinker } = await import(${JSON.stringify(SHRINKER)});
      const file = new DataFile(${JSON.stringify(dir.path)});
      const holds = ${JSON.stringify(dir.file("holds"))};
      file.mark();
      const { database, log, checkpoint } = file;
      // Known as slow.
      log.wrote(1);
      log.syncNow();
      const free = () => database.prepare("PRAGMA freelist_count").get().freelist_count;
      database.exec("CREATE TABLE filler(content BLOB)");
      const fill = database.prepare("INSERT INTO filler VALUES (zeroblob(3000000))");
      fill.run();
      fill.run();
      database.exec("DROP TABLE filler");
      const shrinker = new Shrinker(file, () => true, () => {});
      const until = async (isSo) => {
        for (let looks = 0; !isSo(); looks++) {
          if (looks > 2000) throw new Error(free() + " pages are free");
          shrinker.look();
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
      };
      // So few would not have it begin.
      await until(() => free() < 900);
      const left = free();
      log.wrote(1);
      Deno.writeTextFileSync(holds, "");
      const running = checkpoint.run();
      // Longer than it pauses; nothing is written meanwhile.
      await new Promise((resolve) => setTimeout(resolve, 100));
      console.log(checkpoint.isRunning, free() === left);
      Deno.removeSync(holds);
      await running;
      await until(() => free() <= 256);
      shrinker.stop();
      file.close();`;
    const env = await fakeDisk(dir.path, { syncMs: SLOW_MS });
    const { code, stdout, stderr } = await run(Deno.execPath(), { args: ["eval", program], env });
    assertEquals([code, stdout], [0, "true true\n"], stderr);
  },
});

Deno.test("room that was written meanwhile is kept: what fills and empties would ask for it again", async () => {
  await using dir = await tempDir();
  const { DataFile } = await import(DATA_FILE);
  const { Shrinker } = await import(SHRINKER);
  const file = new DataFile(dir.path);
  file.mark();
  const { database, log } = file;
  const free = () => database.prepare("PRAGMA freelist_count").get().freelist_count as number;
  database.exec("CREATE TABLE filler(content BLOB)");
  database.exec("INSERT INTO filler VALUES (zeroblob(20000000))");
  database.exec("DROP TABLE filler");
  const before = free();
  const slices: (() => void)[] = [];
  using _time = fakeTimeouts(slices);
  const shrinker = new Shrinker(file, () => true, () => {});
  const look = () => {
    shrinker.look();
    while (slices.length > 0) slices.shift()!();
  };
  for (let looks = 0; looks < 20; looks++) {
    log.wrote(2_000);
    look();
  }
  assertEquals(free(), before);
  // What others begin to write while it is at work, too.
  while (slices.length === 0) shrinker.look();
  slices.shift()!();
  assert(free() < before);
  log.wrote(3_000);
  look();
  assert(free() >= 3_000);
  for (let looks = 0; looks < 20; looks++) look();
  assert(free() <= 256);
  shrinker.stop();
  file.close();
});

/** Timers are run by hand. */
function fakeTimeouts(due: (() => void)[]): Disposable {
  const real = globalThis.setTimeout;
  globalThis.setTimeout = ((run: () => void) => due.push(run)) as unknown as typeof setTimeout;
  return { [Symbol.dispose]: () => void (globalThis.setTimeout = real) };
}
