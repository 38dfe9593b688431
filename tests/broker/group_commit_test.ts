/** Group commit: nothing that changes waits for somebody to ask. */
import { assertEquals } from "@std/assert";
import { Broker } from "../../src/broker/server.ts";
import type { StoredLane } from "../../src/broker/store/messages/lane_counters.ts";
import { DataFile } from "../../src/broker/store/file/data_file.ts";
import { DeliveredMarks } from "../../src/broker/store/file/delivered_marks.ts";
import { Store } from "../../src/broker/store/store.ts";
import { Lane } from "../../src/broker/queue/lane.ts";
import { MemoryUse } from "../../src/broker/queue/memory_use.ts";
import { GroupCommit } from "../../src/broker/store/group_commit.ts";
import { openPeer, type PeerChannel } from "../support/protocol_peer.ts";
import { tempDir } from "../support/temp.ts";
import { waitUntil } from "../support/wait.ts";
import { Log } from "./harness.ts";

const PERSISTENT = { deliveryMode: 2 };

/** @param stored what the file says of the queue `tasks`; asking for it is no event in the broker */
function fileTest(
  name: string,
  fn: (
    channel: PeerChannel,
    stored: () => StoredLane | undefined,
    log: { readonly written: number; readonly synced: number },
  ) => Promise<void>,
): void {
  Deno.test(name, async () => {
    await using dir = await tempDir();
    const options = { hosts: ["127.0.0.1"], port: 0, version: "0.0.0", log: new Log() };
    const broker = await Broker.start({ ...options, folder: dir.path });
    try {
      await using peer = await openPeer(broker.port);
      const channel = await peer.open();
      await channel.call("queue.declare", { queue: "tasks", durable: true });
      await fn(channel, () => broker.store.lanes()[0], broker.store.file.log);
    } finally {
      await broker.stop();
    }
  });
}

fileTest(
  "a publish without confirm is written, though nothing else happens",
  async (channel, stored) => {
    await channel.publish({ routingKey: "tasks" }, "work", PERSISTENT);
    await waitUntil("the message to be in the file", () => stored()?.depth === 1);
  },
);

fileTest(
  "a transient message for which memory has no room changes nothing in the data file",
  async (channel, _stored, log) => {
    await channel.call("confirm.select");
    const { written } = log;
    const body = "x".repeat(20_000);
    await channel.publish({ routingKey: "tasks" }, body);
    await channel.expect("basic.ack");
    assertEquals(log.written, written);
    await channel.send("basic.get", { queue: "tasks", noAck: true });
    const { body: bytes } = await channel.expectContent("basic.get-ok");
    assertEquals(new TextDecoder().decode(bytes), body);
  },
);

fileTest("what expires is deleted, though nothing else happens", async (channel, stored) => {
  await channel.call("confirm.select");
  const properties = { ...PERSISTENT, expiration: "100" };
  await channel.publish({ routingKey: "tasks" }, "work", properties);
  await channel.expect("basic.ack"); // it was stored
  await waitUntil("the message to be deleted", () => stored()!.depth === 0);
});

fileTest(
  "that a message was delivered is written, though nothing else happens",
  async (channel, stored, log) => {
    await channel.call("confirm.select");
    await channel.publish({ routingKey: "tasks" }, "work", PERSISTENT);
    await channel.expect("basic.ack");
    await channel.call("basic.consume", { queue: "tasks" });
    const { synced } = log;
    await channel.expectContent();
    let syncedWithMark = -1;
    await waitUntil("the mark to be in the file", () => {
      syncedWithMark = log.synced;
      return stored()!.deliveredTo === 1;
    });
    // The end of a short task takes it along to the disk.
    assertEquals(syncedWithMark, synced);
    await waitUntil("the mark to be on disk", () => log.synced === log.written);
  },
);

Deno.test("a commit that a timer makes in the middle of a turn leaves out nothing of it", async () => {
  const store = new Store({ file: new DataFile(undefined), onFailure: () => {} });
  let letters = 0;
  const groupCommit = new GroupCommit(store, { run: () => void (letters = 0) });
  store.changes.removeExchange("/", "any");
  groupCommit.endTurn();
  // The end of the next turn, which would send it, has not come yet.
  letters = 1;
  await waitUntil("the commit", () => !store.dirty);
  assertEquals(letters, 0);
  groupCommit.stop();
  store.close();
});

Deno.test("what was delivered after the commit is marked before those who wait for it send", async () => {
  await using dir = await tempDir();
  const store = new Store({ file: new DataFile(dir.path), onFailure: () => {} });
  const groupCommit = new GroupCommit(store, { run: () => {} });
  const lane = new Lane(store, new MemoryUse(Infinity), 1, 0);
  const sent = Promise.withResolvers<number>();
  groupCommit.flush({
    needsCommit: true,
    flush() {},
    committed() {
      lane.deliveredTo = 7;
      store.delivered(lane);
      return () => sent.resolve(new DeliveredMarks(`${dir.path}/delivered`).takeOver(lane.id));
    },
  });
  assertEquals(await sent.promise, 7);
  await groupCommit.stop();
  store.close();
});

Deno.test("a turn that ends after the last commit commits nothing more: the store is closed", async () => {
  const store = new Store({ file: new DataFile(undefined), onFailure: () => {} });
  const groupCommit = new GroupCommit(store, { run: () => {} });
  groupCommit.schedule();
  await groupCommit.stop();
  store.changes.removeExchange("/", "any");
  store.close();
  // With somebody who waits for it the turn would commit at once, and not by a timer.
  groupCommit.whenSafe(() => {});
  // The turn ends before this.
  await new Promise((resolve) => setImmediate(resolve));
});
