/**
 * The broker on a host with 128 MB: bodies of 10 MB among small tasks. SMALL_HOST_TASKS and
 * SMALL_HOST_BODIES make it longer (`deno task small-host`).
 */
import { assertEquals } from "@std/assert";
import { openPeer, PeerGone } from "../support/protocol_peer.ts";
import { spawn } from "../support/process.ts";
import { startBroker } from "../support/embedded.ts";
import { diskDir, hostTest, SMALL_HOST_ENV, smallHost } from "../support/small_host.ts";
import type { ToolName } from "../support/tools.ts";
import { portOf } from "./harness.ts";
import { mixedLoad } from "./mixed_load.ts";

const HOST_BYTES = 128 * 1024 * 1024;
const TASKS = Number(Deno.env.get("SMALL_HOST_TASKS") ?? 5_000);
const BODIES = Number(Deno.env.get("SMALL_HOST_BODIES") ?? 10);
const BODY_BYTES = 10 * 1024 * 1024;
const TOO_LARGE_BYTES = 100 * 1024 * 1024;
const WINDOW = 500;
const PERSISTENT = { deliveryMode: 2 };

/** Twelve clients, each with some transactions of 20 bodies of 1 MB one after another. */
const CROWD = 12;
const ROUNDS = 2;
const HELD = 20;
const HELD_BYTES = 1_000_000;
/** Connections that publish large bodies at the same time, and milliseconds that one may take. */
const PUBLISHERS = 8;
const CROWD_MS = 60_000;
/** Milliseconds in which each had its turn, on a loaded machine too. */
const HOLD_MS = 60_000;

hostTest("many tasks wait, bodies of 10 MB come and go, nobody is killed", async () => {
  await using dir = await diskDir();
  await using host = smallHost(HOST_BYTES)!;
  const [command, ...args] = host.command("broker", ["--port", "0", "--data", dir.path]);
  await using broker = spawn(command, { args, killOnDispose: true });
  await using peer = await openPeer(await portOf(broker));
  const channel = await peer.open();
  await channel.call("queue.declare", { queue: "tasks", durable: true });
  await broker.waitForLog(/there are 128 MB of memory: a message may have 10 MB/);
  const refused = await peer.open(3);
  const body = new Uint8Array(TOO_LARGE_BYTES);
  await refused.publish({ routingKey: "tasks" }, body, PERSISTENT);
  await refused.expectClose(406, /message size 104857600 is larger than configured max size/);
  await channel.call("queue.declare", { queue: "large", durable: true });
  await channel.call("confirm.select");

  const task = new Uint8Array(100);
  for (let sent = 0, confirmed = 0; confirmed < TASKS;) {
    if (sent < TASKS && sent - confirmed < WINDOW) {
      await channel.publish({ routingKey: "tasks" }, task, PERSISTENT);
      sent++;
    } else confirmed = (await channel.expect("basic.ack")).deliveryTag;
  }
  for (let index = 0; index < BODIES; index++) {
    const body = new Uint8Array(BODY_BYTES).fill(index);
    await channel.publish({ routingKey: "large" }, body, PERSISTENT);
    await channel.expect("basic.ack");
  }
  await channel.call("basic.consume", { queue: "large", noAck: true });
  for (let index = 0; index < BODIES; index++) {
    const { body } = await channel.expectContent();
    assertEquals([body.length, body[0], body.at(-1)], [BODY_BYTES, index % 256, index % 256]);
  }
  // To a consumer that waits it goes before it is on disk, and from the disk when it comes back.
  const other = await peer.open(2);
  await other.call("queue.declare", { queue: "direct", durable: true });
  await other.call("basic.consume", { queue: "direct" });
  const again = new Uint8Array(BODY_BYTES).fill(1);
  await other.publish({ routingKey: "direct" }, again, PERSISTENT);
  for (let index = 0; index < 3; index++) {
    const delivery = await other.expectContent();
    assertEquals([delivery.body.length, delivery.body.indexOf(0)], [BODY_BYTES, -1]);
    const { deliveryTag } = delivery.args;
    await other.send("basic.nack", { deliveryTag, requeue: true });
  }
  const { messageCount } = await channel.call("queue.declare", { queue: "tasks", passive: true });
  assertEquals(messageCount, TASKS);
  await peer.close();

  assertEquals(host.killed(), 0);
  broker.kill();
  assertEquals((await broker.ended()).code, 0);
});

hostTest("a broker and a worker of small and large tasks share it", async () => {
  const every = { task: 0.1, large: 0.25, burst: 0.5 };
  const { killed } = await mixedLoad({ seconds: 1, backlog: 2_000, every, burst: 500 });
  assertEquals(killed, 0);
});

hostTest("a broker and worker forward share it, a worker and new_task come and go", async () => {
  await using dir = await diskDir();
  await using target = await startBroker();
  await using host = smallHost(HOST_BYTES)!;
  const start = (name: ToolName, ...words: string[]) => {
    const [command, ...args] = host.command(name, words);
    const env = { ...SMALL_HOST_ENV, TO_AMQP_URL: target.url };
    return spawn(command, { args, env, killOnDispose: true });
  };
  await using broker = start("broker", "--port", "0", "--data", dir.path);
  const port = await portOf(broker);
  const url = `amqp://127.0.0.1:${port}/`;
  await using peer = await openPeer(port);
  const channel = await peer.open();
  await channel.call("queue.declare", { queue: "readings", durable: true });
  await channel.call("confirm.select");
  const task = new Uint8Array(100);
  for (let sent = 0, confirmed = 0; confirmed < TASKS;) {
    if (sent < TASKS && sent - confirmed < WINDOW) {
      await channel.publish({ routingKey: "readings" }, task, PERSISTENT);
      sent++;
    } else confirmed = (await channel.expect("basic.ack")).deliveryTag;
  }
  const way = ["--queue", "readings", "--url", url, "--rate", "2000/s"];
  await using forwarder = start("worker", "forward", ...way);
  await forwarder.waitForLine(/Forwarding tasks/);
  await using there = await openPeer(target.port);
  const arriving = await there.open();
  const arrived = async () =>
    (await arriving.call("queue.declare", { queue: "readings", passive: true })).messageCount;
  while (await arrived() < TASKS && host.killed() === 0) {
    await using once = start("new_task", "--queue", "jobs", "--url", url, "once");
    assertEquals((await once.ended()).code, 0);
    await using worker = start("worker", "--queue", "jobs", "--url", url, "--max-tasks", "1");
    assertEquals((await worker.ended()).code, 0);
  }
  assertEquals([host.killed(), await arrived()], [0, TASKS]);
  await there.close();
  await peer.close();
  for (const process of [forwarder, broker]) {
    process.kill();
    assertEquals((await process.ended()).code, 0);
  }
});

for (
  const { megabytes, bytes, each } of [
    { megabytes: 128, bytes: 9_800_000, each: 2 },
    { megabytes: 96, bytes: 2_000_000, each: 7 },
  ]
) {
  hostTest(
    `large bodies of many publishers wait in ${megabytes} MB until they are written`,
    async () => {
      await using dir = await diskDir();
      await using host = smallHost(megabytes * 1024 * 1024)!;
      const [command, ...args] = host.command("broker", ["--port", "0", "--data", dir.path]);
      await using broker = spawn(command, { args, killOnDispose: true });
      const port = await portOf(broker);
      await using peer = await openPeer(port);
      const channel = await peer.open();
      for (const queue of ["a", "b", "c"]) {
        await channel.call("queue.declare", { queue, durable: true });
        await channel.call("queue.bind", { queue, exchange: "amq.fanout" });
      }
      await Promise.all(Array.from({ length: PUBLISHERS }, async (_, n) => {
        await using publisher = await openPeer(port);
        const publishing = await publisher.open();
        await publishing.call("confirm.select");
        const address = n % 2 === 0 ? { routingKey: "a" } : { exchange: "amq.fanout" };
        const body = new Uint8Array(bytes).fill(n);
        for (let sent = 0, confirmed = 0; confirmed < each;) {
          if (sent < each) {
            sent++;
            await publishing.publish(address, body, { deliveryMode: 1 + (n >> 1) % 2 });
          } else confirmed = (await publishing.expect("basic.ack", CROWD_MS)).deliveryTag;
        }
      }));
      assertEquals(host.killed(), 0);
      const ready = await channel.call("queue.declare", { queue: "b", passive: true });
      assertEquals(ready.messageCount, each * PUBLISHERS / 2);
      await peer.close();
      broker.kill();
      assertEquals((await broker.ended()).code, 0);
    },
  );
}

hostTest("what many hold in transactions waits or is refused, nobody is killed", async () => {
  await using dir = await diskDir();
  await using host = smallHost(HOST_BYTES)!;
  const [command, ...args] = host.command("broker", ["--port", "0", "--data", dir.path]);
  await using broker = spawn(command, { args, killOnDispose: true });
  const port = await portOf(broker);
  await Promise.all(Array.from({ length: CROWD }, async () => {
    for (let round = 0; round < ROUNDS; round++) await holdUntilRefused(port);
  }));
  assertEquals(host.killed(), 0);
  await using peer = await openPeer(port);
  await peer.close();
  broker.kill();
  assertEquals((await broker.ended()).code, 0);
});

/** Publishes in a transaction until that takes more than one connection may have. */
async function holdUntilRefused(port: number): Promise<void> {
  const peer = await openPeer(port);
  const channel = await peer.open();
  await channel.call("tx.select");
  const refused = peer.channel(0).expect("connection.close", HOLD_MS);
  const body = new Uint8Array(HELD_BYTES);
  const sending = (async () => {
    for (let count = 0; count < HELD; count++) {
      await channel.publish({ routingKey: "nowhere" }, body, PERSISTENT);
    }
  })().catch((error) => {
    if (!isEnd(error)) throw error;
  });
  assertEquals((await refused).replyCode, 506);
  await peer[Symbol.asyncDispose]();
  await sending;
}

/** The connection was ended while something was sent. */
function isEnd(error: unknown): boolean {
  return error instanceof PeerGone || error instanceof Deno.errors.ConnectionReset ||
    error instanceof Deno.errors.BrokenPipe || error instanceof Deno.errors.BadResource ||
    error instanceof Deno.errors.Interrupted;
}
