/** What a killed broker knows of the messages that it had delivered. */
import { assertEquals } from "@std/assert";
import { DeliveredMarks } from "../../src/broker/store/file/delivered_marks.ts";
import { startBroker } from "../support/embedded.ts";
import { openPeer } from "../support/protocol_peer.ts";
import { tempDir } from "../support/temp.ts";

const PERSISTENT = { deliveryMode: 2 };
const COUNT = 12;
const SEEN = 5;

/** Takes all messages of a queue, and leaves them there. @returns whether each is redelivered */
async function flags(port: number, queue: string): Promise<boolean[]> {
  await using peer = await openPeer(port);
  const channel = await peer.open();
  await channel.call("basic.consume", { queue });
  const found: boolean[] = [];
  for (let i = 0; i < COUNT; i++) {
    const { args } = await channel.expectContent();
    found.push(args["redelivered"] as boolean);
  }
  return found;
}

Deno.test("what was delivered before a kill comes again with the flag, and nothing else does", async () => {
  await using broker = await startBroker();
  {
    await using peer = await openPeer(broker.port);
    const channel = await peer.open();
    await channel.call("confirm.select");
    await channel.call("basic.qos", { prefetchCount: SEEN });
    for (const queue of ["gone", "first", "last"]) {
      await channel.call("queue.declare", { queue, durable: true });
      for (let i = 0; i < COUNT; i++) {
        await channel.publish({ routingKey: queue }, `${i}`, PERSISTENT);
        await channel.expect("basic.ack");
      }
      // Each consumer has its own limit.
      await channel.call("basic.consume", { queue });
      for (let i = 0; i < SEEN; i++) await channel.expectContent();
      if (queue !== "gone") continue;
      await channel.send("queue.delete", { queue });
      await channel.expect("basic.cancel");
      await channel.expect("queue.delete-ok");
    }
    // Before a commit that would take along what the last one has delivered.
    await broker.kill();
  }
  // Of what nobody touches between two kills, too.
  for (let kills = 0; kills < 2; kills++) {
    await broker.start();
    await broker.kill();
  }
  await broker.start();
  const seen = Array.from({ length: COUNT }, (_, i) => i < SEEN);
  assertEquals(await flags(broker.port, "first"), seen);
  assertEquals(await flags(broker.port, "last"), seen);
});

Deno.test("a lane that goes before its mark is written has none", async () => {
  await using dir = await tempDir();
  const path = dir.file("delivered");
  const marks = new DeliveredMarks(path);
  const [gone, stays] = [{ id: 1, deliveredTo: 7 }, { id: 2, deliveredTo: 8 }];
  marks.note(stays);
  marks.note(gone);
  marks.forget(gone);
  marks.write();
  marks.close();
  const left = new DeliveredMarks(path);
  assertEquals([left.takeOver(gone.id), left.takeOver(stays.id)], [0, 8]);
});

Deno.test("lanes that have no slot keep no others from theirs", async () => {
  await using dir = await tempDir();
  const path = dir.file("delivered");
  const marks = new DeliveredMarks(path);
  const lanes = Array.from({ length: 4_097 }, (_, n) => ({ id: n + 1, deliveredTo: 1 }));
  for (const lane of lanes) {
    marks.note(lane);
    marks.write();
  }
  const [first, last] = [lanes[0]!, lanes.at(-1)!];
  first.deliveredTo = last.deliveredTo = 2;
  marks.note(last);
  marks.note(first);
  marks.write();
  marks.close();
  const left = new DeliveredMarks(path);
  assertEquals([left.takeOver(first.id), left.takeOver(last.id)], [2, 0]);
});

Deno.test("a mark that no lane can have is none: the file is never synced", async () => {
  await using dir = await tempDir();
  const path = dir.file("delivered");
  const marks = new DeliveredMarks(path);
  const [torn, whole] = [{ id: 1, deliveredTo: 2 ** 40 }, { id: 2, deliveredTo: 2 ** 30 }];
  marks.note(torn);
  marks.note(whole);
  marks.write();
  marks.close();
  const left = new DeliveredMarks(path);
  assertEquals([left.takeOver(torn.id), left.takeOver(whole.id)], [0, 2 ** 30]);
});
