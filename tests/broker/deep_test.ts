/** Backlogs that memory never holds. The files are written by the store itself, which is faster. */
import { assertEquals, assertLess } from "@std/assert";
import { encodeTable, type Field } from "../../src/broker/wire/fields.ts";
import { Content } from "../../src/broker/message/content.ts";
import { Lane } from "../../src/broker/queue/lane.ts";
import { MemoryUse } from "../../src/broker/queue/memory_use.ts";
import { DataFile } from "../../src/broker/store/file/data_file.ts";
import { Store } from "../../src/broker/store/store.ts";
import { memoryUnknown, peakBytes } from "../support/memory.ts";
import { openPeer, type PeerChannel } from "../support/protocol_peer.ts";
import { tempDir } from "../support/temp.ts";
import { portOf, startProcess } from "./harness.ts";

const DEPTH = 100_000;
const PRIORITIES = [0, 3, 9];
const PEAK_BYTES = 180_000_000;

/** A content header without properties: class, weight, size of the body, no flags. */
const HEADER = Uint8Array.of(0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 100, 0, 0);
const ADDRESS = Uint8Array.of(0, 4, ...new TextEncoder().encode("deep"));

/** A queue with priorities, as deep in each of them. */
function makeBacklog(folder: string): void {
  const store = new Store({ file: new DataFile(folder), onFailure: () => {} });
  const id = store.nextQueueId();
  const limit: Field = { type: "signedint", value: 9 };
  const table = encodeTable(new Map([["x-max-priority", limit]]));
  store.changes.addQueue({
    id,
    vhost: "/",
    name: "deep",
    autoDelete: false,
    arguments: table,
  });
  for (const priority of PRIORITIES) {
    const lane = new Lane(store, new MemoryUse(0), id, priority);
    for (let number = 0; number < DEPTH; number++) {
      const body = new TextEncoder().encode(`${priority} ${number}`.padEnd(100));
      const content = Content.join(ADDRESS, HEADER, body);
      lane.append({ content, persistent: true, priority, expiration: undefined }, 0, true);
      if (number % 5_000 === 0) store.commit();
    }
  }
  store.commit();
  store.close();
}

async function countOf(channel: PeerChannel): Promise<number> {
  return (await channel.call("queue.declare", { queue: "deep", passive: true })).messageCount;
}

const memory = memoryUnknown === undefined
  ? "in little memory"
  : `memory ignored: ${memoryUnknown}`;

Deno.test(`a deep backlog: found again, given out by priority, purged at once and for good (${memory})`, async () => {
  await using dir = await tempDir();
  makeBacklog(dir.path);
  const all = DEPTH * PRIORITIES.length;
  {
    await using broker = startProcess(["--data", dir.path]);
    const port = await portOf(broker);
    await using peer = await openPeer(port);
    const channel = await peer.open();
    assertEquals(await countOf(channel), all);
    await channel.call("basic.qos", { prefetchCount: 1000 });
    await channel.call("basic.consume", { queue: "deep", consumerTag: "c" });
    for (let number = 0; number < DEPTH; number++) {
      const { text, args } = await channel.expectContent();
      assertEquals(text.trimEnd(), `9 ${number}`);
      await channel.send("basic.ack", { deliveryTag: args.deliveryTag });
    }
    assertEquals((await channel.expectContent()).text.trimEnd(), "3 0");
    await channel.peer.close();
    await using other = await openPeer(port);
    const purging = await other.open();
    const { messageCount } = await purging.call("queue.purge", { queue: "deep" });
    assertEquals(messageCount, all - DEPTH);
    await purging.call("confirm.select");
    await purging.publish({ routingKey: "deep" }, "after", { deliveryMode: 2 });
    await purging.expect("basic.ack");
    assertEquals(await countOf(purging), 1);
    if (memoryUnknown === undefined) assertLess(peakBytes(broker), PEAK_BYTES);
    broker.kill("SIGKILL");
    await broker.ended();
  }
  await using broker = startProcess(["--data", dir.path]);
  await using peer = await openPeer(await portOf(broker));
  const channel = await peer.open();
  assertEquals(await countOf(channel), 1);
  await channel.send("basic.get", { queue: "deep", noAck: true });
  assertEquals((await channel.expectContent("basic.get-ok")).text, "after");
  await peer.close();
  broker.kill();
  assertEquals((await broker.ended()).code, 0);
});
