/** A body that several queues have is on disk once, and goes with the last of them. */
import { assert, assertEquals } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { openPeer, type PeerChannel } from "../support/protocol_peer.ts";
import { tempDir } from "../support/temp.ts";
import { waitUntil } from "../support/wait.ts";
import { startHere } from "./harness.ts";

const QUEUES = 40;
const SIZE = 100_000;

async function withBroker(folder: string, use: (channel: PeerChannel) => Promise<void>) {
  await using broker = await startHere({ folder });
  await using peer = await openPeer(broker.port);
  await use(await peer.open());
}

function stored(folder: string): { contents: number; copies: number; rows: number } {
  const database = new DatabaseSync(`${folder}/broker.db`);
  try {
    const { contents, copies } = database
      .prepare("SELECT count(*) contents, coalesce(sum(copies), 0) copies FROM shared").get()!;
    const { rows } = database.prepare("SELECT count(*) rows FROM message").get()!;
    return { contents: Number(contents), copies: Number(copies), rows: Number(rows) };
  } finally {
    database.close();
  }
}

async function take(channel: PeerChannel, queue: string): Promise<string> {
  await channel.send("basic.get", { queue, noAck: true });
  return (await channel.expectContent("basic.get-ok")).text;
}

Deno.test("a body that 40 queues have is stored once, and goes with the last of them", async () => {
  await using dir = await tempDir();
  const bodies = [1, 2].map((n) => `${n}`.repeat(SIZE));
  await withBroker(dir.path, async (channel) => {
    await channel.call("exchange.declare", { exchange: "all", type: "fanout", durable: true });
    for (let n = 0; n < QUEUES; n++) {
      await channel.call("queue.declare", { queue: `q${n}`, durable: true });
      await channel.call("queue.bind", { queue: `q${n}`, exchange: "all" });
    }
    await channel.call("confirm.select");
    for (const body of [...bodies, "small"]) {
      await channel.publish({ exchange: "all" }, body, { deliveryMode: 2 });
      await channel.expect("basic.ack");
    }
  });
  assertEquals(stored(dir.path), { contents: 2, copies: 2 * QUEUES, rows: 3 * QUEUES });
  const { size } = await Deno.stat(dir.file("broker.db"));
  assert(size < 4 * SIZE, `the file has ${size} bytes`);

  // After a restart each queue has its own; one is purged, one deleted, the others are read.
  await withBroker(dir.path, async (channel) => {
    assertEquals((await channel.call("queue.purge", { queue: "q0" })).messageCount, 3);
    assertEquals((await channel.call("queue.delete", { queue: "q1" })).messageCount, 3);
    for (let n = 2; n < QUEUES; n++) assertEquals(await take(channel, `q${n}`), bodies[0]);
    assertEquals(await take(channel, "q2"), bodies[1]);
  });
  const left = QUEUES - 3;
  await waitUntil("given up rows to be deleted", () => {
    assertEquals(stored(dir.path), { contents: 1, copies: left, rows: 2 * left + 1 });
    return true;
  });
  await withBroker(dir.path, async (channel) => {
    for (let n = 2; n < QUEUES; n++) await channel.call("queue.purge", { queue: `q${n}` });
  });
  assertEquals(stored(dir.path), { contents: 0, copies: 0, rows: 0 });
});
