/** Time that does not pass evenly: a loop that was busy for long, a clock that somebody sets. */
import { assertEquals } from "@std/assert";
import { openPeer, type PeerChannel } from "../support/protocol_peer.ts";
import { tempDir } from "../support/temp.ts";
import { waitUntil } from "../support/wait.ts";
import { startHere } from "./harness.ts";

Deno.test("messages whose time is over die before their queue, whose time is over too", async () => {
  await using broker = await startHere();
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  await channel.call("queue.declare", { queue: "dead" });
  // Whoever declares it uses it: its time begins anew.
  const use = () =>
    channel.call("queue.declare", {
      queue: "short-lived",
      arguments: {
        "x-message-ttl": 3_000,
        "x-expires": 4_000,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "dead",
      },
    });
  await use();
  const count = 2_500;
  for (let i = 0; i < count; i++) {
    await channel.publish({ routingKey: "short-lived" }, `${i}`);
    if (i % 100 === 99) await use();
  }
  // The broker is in this process: its timers wait as well.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 4_100);
  const ready = async () =>
    (await channel.call("queue.declare", { queue: "dead" })).messageCount === count;
  await waitUntil("all of them to be dead letters", ready);
});

for (const [name, hours] of [["back", -1], ["forward", 1]] as const) {
  Deno.test(`a clock that is set ${name} changes no deadline, heartbeat or time to live`, async () => {
    const before = Date.now;
    try {
      await using broker = await startHere();
      await using peer = await openPeer(broker.port, { heartbeat: 1 });
      const channel = await peer.open();
      await channel.call("queue.declare", { queue: "dead" });
      const letters = { "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead" };
      await channel.call("queue.declare", { queue: "short", arguments: letters });
      await channel.call("queue.declare", { queue: "long", arguments: letters });
      await channel.call("queue.declare", { queue: "brief", arguments: { "x-expires": 300 } });
      await channel.publish({ routingKey: "short" }, "short", { expiration: "200" });
      await channel.publish({ routingKey: "long" }, "long", { expiration: "600000" });
      await channel.call("basic.qos", {});
      await peer.expectHeartbeat();

      // The broker is in this process.
      Date.now = () => before() + hours * 3_600_000;
      for (let i = 0; i < 2; i++) {
        await peer.sendHeartbeat();
        await peer.expectHeartbeat();
      }
      await channel.call("basic.consume", { queue: "dead", noAck: true });
      assertEquals((await channel.expectContent()).text, "short");
      const { messageCount } = await channel.call("queue.declare", {
        queue: "long",
        passive: true,
      });
      assertEquals(messageCount, 1);
      await waitUntil("the unused queue to go", async () => {
        await using other = await openPeer(broker.port);
        const probe = await other.open();
        await probe.send("queue.declare", { queue: "brief", passive: true });
        return (await probe.method()).name === "channel.close";
      });
    } finally {
      Date.now = before;
    }
  });
}

Deno.test("what was stored before the start follows a clock that is set right after it", async () => {
  await using dir = await tempDir();
  const hour = 3_600_000;
  const letters = { "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead" };
  const delayed = { expiration: `${hour}`, deliveryMode: 2 };
  const publish = async (channel: PeerChannel, body: string) => {
    await channel.call("confirm.select");
    await channel.publish({ routingKey: "waiting" }, body, delayed);
    await channel.expect("basic.ack");
  };
  {
    await using broker = await startHere({ folder: dir.path });
    await using peer = await openPeer(broker.port);
    const channel = await peer.open();
    await channel.call("queue.declare", { queue: "waiting", durable: true, arguments: letters });
    await channel.call("queue.declare", { queue: "dead", durable: true });
    await publish(channel, "stored");
  }
  const before = Date.now;
  try {
    await using broker = await startHere({ folder: dir.path });
    await using peer = await openPeer(broker.port);
    const channel = await peer.open();
    await publish(channel, "before it was set");
    Date.now = () => before() + hour;
    const consumer = await peer.open(2);
    await consumer.call("basic.consume", { queue: "dead", noAck: true });
    assertEquals((await consumer.expectContent()).text, "stored");
    await publish(await peer.open(3), "after it was set");
    const { messageCount } = await channel.call("queue.declare", {
      queue: "waiting",
      passive: true,
    });
    assertEquals(messageCount, 2);
  } finally {
    Date.now = before;
  }
  // This process's clock is behind again: only the time of the one stored last is an hour off.
  await using broker = await startHere({ folder: dir.path });
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  const waiting = await channel.call("queue.declare", { queue: "waiting", passive: true });
  assertEquals(waiting.messageCount, 2);
});
