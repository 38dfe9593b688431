/** The data file gets shorter when the backlog has gone. */
import { assert, assertEquals } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { fakeDisk, fakeDiskMissing } from "../support/fake_disk.ts";
import { openPeer } from "../support/protocol_peer.ts";
import { tempDir } from "../support/temp.ts";
import { ownThreadTime, threadTime } from "../support/thread_time.ts";
import { portOf, startProcess } from "./harness.ts";

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
