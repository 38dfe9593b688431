/** A share of the disk for the data, and what becomes of publishers when it is full. */
import { assert, assertEquals, assertGreater, assertStringIncludes } from "@std/assert";
import { openPeer } from "../support/protocol_peer.ts";
import { tempDir } from "../support/temp.ts";
import { portOf, startProcess } from "./harness.ts";

const PERSISTENT = { deliveryMode: 2 };
const SHARE = 20 * 1024 * 1024;
const BODY = "m".repeat(20_000);

function sizeOf(folder: string): number {
  return [...Deno.readDirSync(folder)]
    .reduce((sum, { name }) => sum + Deno.statSync(`${folder}/${name}`).size, 0);
}

async function drain(port: number): Promise<number> {
  const peer = await openPeer(port);
  const channel = await peer.open();
  for (let count = 0;; count++) {
    await channel.send("basic.get", { queue: "tasks", noAck: true });
    const { name, args } = await channel.method();
    if (name === "basic.get-empty") {
      await peer.close();
      return count;
    }
    await channel.readContent(args);
  }
}

Deno.test("with its share of the disk full the broker blocks publishers until there is room", async () => {
  await using dir = await tempDir();
  await using broker = startProcess([
    ...["--data", dir.path, "--max-disk", "20M", "--http", "0"],
  ]);
  const port = await portOf(broker);
  const [, page] = await broker.waitForLog(/page at (http:\S+)/);
  await using peer = await openPeer(port);
  const channel = await peer.open();
  await channel.call("queue.declare", { queue: "tasks", durable: true });
  await channel.call("confirm.select");
  const control = peer.channel(0);
  let sent = 0;
  for (let tag = 0; control.unread === 0; sent++) {
    await channel.publish({ routingKey: "tasks" }, BODY, PERSISTENT);
    while (sent - tag > 20 && control.unread === 0) {
      if (channel.unread > 0) tag = (await channel.expect("basic.ack")).deliveryTag;
      else await new Promise((resolve) => setTimeout(resolve, 1));
    }
    assertGreater(2_000, sent);
  }
  const { reason } = await control.expect("connection.blocked");
  assertEquals(reason, "the data take their share of the disk");
  assertGreater(SHARE, sizeOf(dir.path));
  assertGreater(sent, 300);
  const metrics = await (await fetch(new URL("/metrics", page))).text();
  assertStringIncludes(metrics, "\nworkqueue_broker_alarm 1\n");
  assertStringIncludes(
    metrics,
    '\nworkqueue_broker_alarm_reason{reason="the data take their share of the disk"} 1\n',
  );
  const used = Number(/workqueue_broker_disk_used_bytes (\d+)/.exec(metrics)?.[1]);
  assert(used > SHARE / 2 && used < SHARE, String(used));
  assertGreater(await drain(port), 300);
  await control.expect("connection.unblocked");
  await peer.close();
  broker.kill();
  assertEquals((await broker.ended()).code, 0);
});

Deno.test("--when-full reject refuses publishes with confirms, and blocks others", async () => {
  await using dir = await tempDir();
  await using broker = startProcess([
    ...["--data", dir.path, "--max-disk", "20M", "--when-full", "reject"],
  ]);
  const port = await portOf(broker);
  const peer = await openPeer(port);
  const channel = await peer.open();
  await channel.call("queue.declare", { queue: "tasks", durable: true });
  await channel.call("confirm.select");
  let confirmed = 0;
  for (let sent = 0;; sent++) {
    await channel.publish({ routingKey: "tasks" }, BODY, PERSISTENT);
    const { name } = await channel.method();
    if (name === "basic.nack") break;
    assertEquals(name, "basic.ack");
    confirmed++;
    assertGreater(2_000, sent);
  }
  assertGreater(SHARE, sizeOf(dir.path));
  // Nothing else became of it: it goes on, and hears of each.
  for (let i = 0; i < 3; i++) {
    await channel.publish({ routingKey: "tasks" }, BODY, PERSISTENT);
    assertEquals((await channel.method()).name, "basic.nack");
  }
  const deaf = await openPeer(port);
  const silent = await deaf.open();
  await silent.publish({ routingKey: "tasks" }, BODY, PERSISTENT);
  await deaf.channel(0).expect("connection.blocked");

  // The one that waits may come when there is room.
  const drained = await drain(port);
  assert(drained === confirmed || drained === confirmed + 1, `${drained} of ${confirmed}`);
  await deaf.channel(0).expect("connection.unblocked");
  await channel.publish({ routingKey: "tasks" }, BODY, PERSISTENT);
  assertEquals((await channel.method()).name, "basic.ack");
  await peer.close();
  await deaf.close();
  broker.kill();
  assertEquals((await broker.ended()).code, 0);
});
