import { assertEquals } from "@std/assert";
import { pause } from "../../src/time/timer.ts";
import { openPeer } from "../support/protocol_peer.ts";
import { tempDir } from "../support/temp.ts";
import { portOf, startHere, startProcess } from "./harness.ts";

Deno.test("what a broker does a moment after its start it does not do when it has ended by then", async () => {
  await using dir = await tempDir();
  const broker = await startHere({ folder: dir.path });
  // Set after the broker's, which has the same length, and so over after it.
  const moment = pause(200);
  await broker[Symbol.asyncDispose]();
  await moment;
});

Deno.test("SIGTERM writes what nobody waits for: publishes without confirms, acknowledgements", async () => {
  await using dir = await tempDir();
  for (const expected of [0, 4, 8, 12]) {
    await using broker = startProcess(["--data", dir.path]);
    await using peer = await openPeer(await portOf(broker));
    const channel = await peer.open();
    const declared = await channel.call("queue.declare", { queue: "tasks", durable: true });
    assertEquals(declared.messageCount, expected);
    for (let i = 0; i < 5; i++) {
      await channel.publish({ routingKey: "tasks" }, "task", { deliveryMode: 2 });
    }
    await channel.send("basic.get", { queue: "tasks" });
    const { args } = await channel.expectContent("basic.get-ok");
    await channel.send("basic.ack", { deliveryTag: args.deliveryTag });
    await channel.call("basic.qos"); // the acknowledgement was worked off
    broker.kill("SIGTERM");
    await peer.channel(0).expectClose(320, /^CONNECTION_FORCED/);
    assertEquals((await broker.ended()).code, 0);
  }
});

Deno.test("who has closed his connection, and does not end it, is cut off", async () => {
  await using broker = await startHere();
  await using peer = await openPeer(broker.port);
  await peer.channel(0).call("connection.close", { replyCode: 200, replyText: "bye" });
  await peer.ended();
});
