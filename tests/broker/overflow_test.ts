/** A queue that is too long: while more goes than goes at once, and before its consumers had theirs. */
import { assertEquals } from "@std/assert";
import type { Content } from "../../src/broker/message/content.ts";
import { openPeer } from "../support/protocol_peer.ts";
import { startHere } from "./harness.ts";

/** So many go for one that is as large as all of them. */
const MANY = 30_000;

Deno.test("what goes in pieces goes in its order, and nobody sees the queue before all of it has gone", async () => {
  await using broker = await startHere();
  await using peer = await openPeer(broker.port);
  await using other = await openPeer(broker.port);
  const [channel, getting] = [await peer.open(), await other.open()];
  const count = 5_000;
  const args = {
    "x-max-length-bytes": 4 * count,
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": "dead",
  };
  await channel.call("queue.declare", { queue: "dead" });
  await channel.call("queue.declare", { queue: "q", arguments: args });
  const texts = Array.from({ length: count }, (_, n) => `${n}`.padStart(4, "0"));
  for (const text of texts) await channel.publish({ routingKey: "q" }, text);
  await channel.call("confirm.select");
  const large = "y".repeat(4 * count);
  await channel.publish({ routingKey: "q" }, large);
  await channel.expect("basic.ack");
  await getting.send("basic.get", { queue: "q" });
  const got = await getting.expectContent("basic.get-ok");
  assertEquals([got.args.messageCount, got.text.length], [0, large.length]);
  await channel.call("basic.consume", { queue: "dead", noAck: true });
  for (const text of texts) {
    assertEquals((await channel.expectContent()).text, text);
  }
});

for (const waiting of ["publish", "get"]) {
  Deno.test(`who waits with a ${waiting} for what a queue drops goes on when it is deleted`, async () => {
    await using broker = await startHere();
    await using peer = await openPeer(broker.port);
    await using other = await openPeer(broker.port);
    const [channel, deleting] = [await peer.open(), await other.open()];
    const args = { "x-max-length-bytes": MANY };
    await channel.call("queue.declare", { queue: "other" });
    await channel.call("queue.declare", { queue: "q", arguments: args });
    for (let n = 0; n < MANY; n++) await channel.publish({ routingKey: "q" }, "x");
    await channel.call("basic.qos");
    await channel.publish({ routingKey: "q" }, "y".repeat(MANY));
    await channel.send("basic.get", { queue: waiting === "get" ? "q" : "other" });
    await deleting.call("queue.delete", { queue: "q" });
    if (waiting === "get") await channel.expectClose(404, /no queue 'q'/);
    else await channel.expect("basic.get-empty");
  });
}

Deno.test("what comes back to a full quorum queue that has other work is for its consumers first", async () => {
  await using broker = await startHere();
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  const args = { "x-queue-type": "quorum", "x-max-length": 1 };
  await channel.call("queue.declare", { queue: "q", durable: true, arguments: args });
  const { scheduler, vhosts } = broker.inside;
  const queue = [...vhosts.get("/")!.queues][0]!;
  await channel.publish({ routingKey: "q" }, "first");
  await channel.call("basic.qos");
  const first = queue.get();
  if (first === undefined || first === "busy") throw new Error("the first is not there");
  await channel.publish({ routingKey: "q" }, "second");
  await channel.call("basic.qos");
  const delivered: string[] = [];
  await new Promise<void>((resolve) => {
    queue.addConsumer({
      exclusive: false,
      priority: 0,
      canceled: false,
      askForRoom: () => true,
      deliver(_message, { body }: Content) {
        delivered.push(new TextDecoder().decode(body));
        if (delivered.at(-1) === "second") resolve();
      },
      queueGone() {},
    });
    scheduler.add(queue);
    queue.requeue([first.message]);
  });
  assertEquals(delivered, ["first", "second"]);
});
