/** How often messages of a quorum queue came back survives a restart, whichever came back. */
import { assertEquals } from "@std/assert";
import { openPeer } from "../support/protocol_peer.ts";
import { Random } from "../support/random.ts";
import { tempDir } from "../support/temp.ts";
import { startHere } from "./harness.ts";

const COUNT = 60;
const ROUNDS = 5;

Deno.test("delivery counts are those of each message after a restart, in runs and by themselves", async () => {
  await using dir = await tempDir();
  const random = new Random(11);
  const expected = new Map<string, number>();
  const queues = ["a", "b"];
  {
    await using broker = await startHere({ folder: dir.path });
    await using peer = await openPeer(broker.port);
    const channel = await peer.open();
    for (const queue of queues) {
      const args = { "x-queue-type": "quorum" };
      await channel.call("queue.declare", { queue, durable: true, arguments: args });
      for (let n = 0; n < COUNT; n++) {
        await channel.publish({ routingKey: queue }, `${queue}${n}`, { deliveryMode: 2 });
        expected.set(`${queue}${n}`, 0);
      }
    }
    await channel.call("confirm.select");
    for (let round = 0; round < ROUNDS; round++) {
      const held: [text: string, deliveryTag: number][] = [];
      for (const queue of queues) {
        const most = random.below([...expected.keys()].filter((text) => text[0] === queue).length);
        for (let n = 0; n < most; n++) {
          await channel.send("basic.get", { queue });
          const { text, args } = await channel.expectContent("basic.get-ok");
          held.push([text, args.deliveryTag]);
        }
      }
      for (const [text, deliveryTag] of held) {
        if (random.below(8) > 0) {
          await channel.send("basic.nack", { deliveryTag, requeue: true });
          expected.set(text, expected.get(text)! + 1);
        } else {
          await channel.send("basic.ack", { deliveryTag });
          expected.delete(text);
        }
      }
      // A commit between, or all of them in one.
      if (round % 2 === 0) {
        await channel.publish({ routingKey: "nowhere" });
        await channel.expect("basic.ack");
      }
    }
    await channel.call("basic.qos", {});
  }
  await using broker = await startHere({ folder: dir.path });
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  const found = new Map<string, number>();
  for (const [text] of expected) {
    await channel.send("basic.get", { queue: text[0], noAck: true });
    const { text: got, properties } = await channel.expectContent("basic.get-ok");
    found.set(got, Number(properties.headers?.["x-delivery-count"]));
  }
  assertEquals(found, expected);
});
