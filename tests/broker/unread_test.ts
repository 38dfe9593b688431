/** Clients that do not read large bodies: what they hold is bounded, and nobody waits for them. */
import { Buffer } from "node:buffer";
import { assertEquals, assertGreater, assertLessOrEqual } from "@std/assert";
import { SPILL_BYTES } from "../../src/broker/net/spill_file.ts";
import { openPeer, Peer } from "../support/protocol_peer.ts";
import { tempDir } from "../support/temp.ts";
import { waitUntil } from "../support/wait.ts";
import { startHere } from "./harness.ts";
import { concat, LOGIN, method, sendAll } from "./strangers.ts";

const MB = 1024 * 1024;
/** More than the kernel buffers for one connection. */
const BODY = 12 * MB;
const ROOM = 14 * MB;
const MUTE = 4;

/** A connection that asks for something on channel 1 and reads nothing for now. */
async function connectMutely(port: number, ask: Uint8Array): Promise<Deno.TcpConn> {
  const connection = await Deno.connect({ hostname: "127.0.0.1", port });
  await sendAll(
    connection,
    concat([
      ...LOGIN,
      method(1, "channel.open"),
      method(1, "basic.qos", { prefetchCount: 1 }),
      ask,
    ]),
  );
  return connection;
}

/** A body that shows where a piece of it is missing or in the wrong place. */
function bodyOf(n: number): Uint8Array {
  const words = new Uint32Array(BODY / 4);
  for (let at = 0; at < words.length; at++) words[at] = at * 16 + n;
  return new Uint8Array(words.buffer);
}

for (const kind of ["in memory", "stored"] as const) {
  Deno.test(`who does not read what is ${kind} holds little memory, keeps nobody from his messages, and gets all of his own`, () => {
    return keepMute(kind === "in memory");
  });
}

/** @param isFresh they wait when it comes; else it is read from the store, in chunks */
async function keepMute(isFresh: boolean): Promise<void> {
  await using dir = await tempDir();
  // The disk is looked at often where there is little.
  const limits = { outboxBytes: ROOM, diskShareBytes: 256 * MB };
  await using broker = await startHere({ folder: dir.path, limits });
  const { outboxRoom } = broker.inside;
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  await channel.call("queue.declare", { queue: "large", durable: true });
  await channel.call("confirm.select");
  const properties = { deliveryMode: isFresh ? 1 : 2 };
  const publish = async () => {
    for (let n = 0; n < MUTE + 1; n++) {
      await channel.publish({ routingKey: "large" }, bodyOf(n), properties);
      await channel.expect("basic.ack");
    }
  };
  if (!isFresh) await publish();
  const asks = [
    method(1, "basic.consume", { queue: "large", consumerTag: "c" }),
    method(1, "basic.get", { queue: "large" }),
  ];
  const mute: Deno.TcpConn[] = [];
  const gets = (n: number) => !isFresh && n % 2 === 1;
  for (let n = 0; n < MUTE; n++) {
    mute.push(await connectMutely(broker.port, asks[gets(n) ? 1 : 0]!));
  }
  if (isFresh) {
    await waitUntil("all wait", async () => {
      const args = { queue: "large", passive: true };
      return (await channel.call("queue.declare", args)).consumerCount === MUTE;
    });
    await publish();
  }
  let most = 0;
  await waitUntil("all have begun", async () => {
    most = Math.max(most, outboxRoom.bodies);
    const { messageCount } = await channel.call("queue.declare", { queue: "large", passive: true });
    return messageCount === 1;
  });
  assertLessOrEqual(most, ROOM + BODY);
  // The disk for it is counted as any other.
  await waitUntil("it is seen", () => {
    const { bytes } = outboxRoom.spill;
    const { used = 0 } = broker.inside.alarms;
    return bytes > 0 === isFresh && used >= Deno.statSync(dir.file("broker.db")).size + bytes;
  });

  // Somebody who reads.
  await channel.call("basic.qos", { prefetchCount: 1 });
  await channel.call("basic.consume", { queue: "large", consumerTag: "c" });
  const numbers: number[] = [];
  const note = (body: Uint8Array) => {
    const n = body[0]! % 16;
    assertEquals(Buffer.compare(body, bodyOf(n)), 0);
    numbers.push(n);
  };
  const { args, body } = await channel.expectContent();
  note(body);
  await channel.send("basic.ack", { deliveryTag: args.deliveryTag });
  // What is left of the bodies does not depend on the queue.
  await channel.call("basic.cancel", { consumerTag: "c" });
  await channel.call("queue.delete", { queue: "large" });
  for (const [n, connection] of mute.entries()) {
    await using slow = new Peer(connection);
    const theirs = slow.channel(1);
    await theirs.expect("channel.open-ok");
    await theirs.expect("basic.qos-ok");
    if (!gets(n)) await theirs.expect("basic.consume-ok");
    note((await theirs.expectContent(gets(n) ? "basic.get-ok" : "basic.deliver")).body);
  }
  assertEquals(numbers.sort(), Array.from({ length: MUTE + 1 }, (_, n) => n));
  await waitUntil("all is given back", () => outboxRoom.bodies === 0);
}

Deno.test("what is put aside for clients who do not read takes a quarter of --max-disk", async () => {
  await using dir = await tempDir();
  const limits = { outboxBytes: MB, diskShareBytes: 64 * MB };
  await using broker = await startHere({ folder: dir.path, limits });
  const { outboxRoom: { spill } } = broker.inside;
  const piece = new Uint8Array(1);
  let count = 0;
  while (spill.put(piece) !== undefined) count++;
  assertEquals(count * SPILL_BYTES, 16 * MB);
  assertEquals(spill.bytes, 16 * MB);
});

/** Room for frames, and clients that do not read, who together could have six times as much. */
const SMALL_ROOM = 256 * 1024;
const CROWD = 24;
/** Bytes that each may have where there is next to no room, with what was under way. */
const LITTLE = 16 * 1024;

Deno.test("the more clients do not read, the less each of them holds", async () => {
  await using broker = await startHere({ limits: { outboxBytes: SMALL_ROOM } });
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  await channel.call("queue.declare", { queue: "small" });
  const ask = method(1, "basic.consume", { queue: "small", consumerTag: "c", noAck: true });
  const mute: Deno.TcpConn[] = [];
  for (let n = 0; n < CROWD; n++) mute.push(await connectMutely(broker.port, ask));
  const body = new Uint8Array(8_000);
  await waitUntil("nobody takes more", async () => {
    for (let n = 0; n < 500; n++) await channel.publish({ routingKey: "small" }, body);
    const args = { queue: "small", passive: true };
    return (await channel.call("queue.declare", args)).messageCount > 0;
  });
  assertLessOrEqual(broker.inside.outboxRoom.frames, 2 * SMALL_ROOM + CROWD * LITTLE);
  for (const connection of mute) connection.close();
});

Deno.test("who reads no answers is not read himself, the sooner the less room there is", async () => {
  await using broker = await startHere({ limits: { outboxBytes: SMALL_ROOM } });
  const queue = "q".repeat(200);
  const asks = concat(Array(1_000).fill(method(1, "queue.declare", { queue, passive: true })));
  const mute: Deno.TcpConn[] = [];
  const asking: Promise<void>[] = [];
  for (let n = 0; n < CROWD / 2; n++) {
    const connection = await connectMutely(broker.port, method(1, "queue.declare", { queue }));
    mute.push(connection);
    asking.push((async () => {
      for (let n = 0; n < 200; n++) await sendAll(connection, asks);
    })());
  }
  const sessions = () => [...broker.inside.sessions];
  await waitUntil("nobody is read", () => {
    return sessions().length === CROWD / 2 &&
      sessions().every(({ backpressure }) => backpressure.isWaiting);
  });
  const { frames } = broker.inside.outboxRoom;
  assertGreater(frames, SMALL_ROOM / 2);
  assertLessOrEqual(frames, 2 * SMALL_ROOM + CROWD * LITTLE);
  for (const connection of mute) connection.close();
  await Promise.all(asking);
});
