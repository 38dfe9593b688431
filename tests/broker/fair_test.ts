/** What is cut in pieces: others have their turn, and the pieces make a whole. */
import { assert, assertEquals } from "@std/assert";
import { openPeer, type PeerChannel } from "../support/protocol_peer.ts";
import { tempDir } from "../support/temp.ts";
import { ownThreadTime } from "../support/thread_time.ts";
import { waitUntil } from "../support/wait.ts";
import { portOf, startHere, startProcess } from "./harness.ts";
import { concat, content, method } from "./strangers.ts";

/** Seconds; the heartbeats are for every one of them. */
const STOPPED_S = Number(Deno.env.get("STOPPED_S") ?? 4);

async function countOf(channel: PeerChannel, queue: string): Promise<number> {
  return (await channel.call("queue.declare", { queue, passive: true })).messageCount;
}

function publishes(queue: string, from: number, to: number, properties = {}): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let n = from; n < to; n++) {
    parts.push(
      method(1, "basic.publish", { routingKey: queue }),
      ...content(1, `${n}`, properties),
    );
  }
  return concat(parts);
}

Deno.test("a client that sent its heartbeats while the broker was stopped is still connected", async () => {
  await using broker = startProcess([]);
  await using peer = await openPeer(await portOf(broker), { heartbeat: 1 });
  const channel = await peer.open();
  broker.kill("SIGSTOP");
  try {
    for (let n = 0; n < STOPPED_S * 2; n++) {
      await peer.sendHeartbeat();
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  } finally {
    broker.kill("SIGCONT");
  }
  await channel.call("queue.declare", { queue: "q" });
});

Deno.test("what expires in pieces is dead-lettered once each and in order", async () => {
  const count = 20_000;
  await using dir = await tempDir();
  await using broker = await startHere({ folder: dir.path });
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  await channel.call("queue.declare", { queue: "dead", durable: true });
  const args = { "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead" };
  await channel.call("queue.declare", { queue: "ttl", durable: true, arguments: args });
  await peer.sendBytes(publishes("ttl", 0, count, { deliveryMode: 2, expiration: "500" }));
  await waitUntil("all to expire", async () => await countOf(channel, "dead") === count);
  assertEquals(await countOf(channel, "ttl"), 0);
  await channel.call("basic.consume", { queue: "dead", noAck: true });
  for (let n = 0; n < count; n++) assertEquals((await channel.expectContent()).text, `${n}`);
});

Deno.test("a nack of many is dead-lettered piece by piece, and what comes after it on the channel after it", async () => {
  const count = 20_000;
  await using broker = await startHere();
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  await channel.call("queue.declare", { queue: "dead" });
  await channel.call("queue.declare", {
    queue: "work",
    arguments: { "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead" },
  });
  await peer.sendBytes(publishes("work", 0, count));
  await channel.call("basic.consume", { queue: "work" });
  for (let n = 0; n < count; n++) await channel.expectContent();
  await channel.send("basic.nack", { deliveryTag: 0, multiple: true, requeue: false });
  // The queue goes when its dead have left it.
  await channel.send("queue.delete", { queue: "work" });
  await channel.expect("basic.cancel");
  assertEquals((await channel.expect("queue.delete-ok")).messageCount, 0);
  assertEquals(await countOf(channel, "dead"), count);
});

Deno.test("one publish that dies ten times ten times does not stop the others, nor the end", async () => {
  await using broker = await startHere();
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  await channel.call("exchange.declare", { exchange: "all", type: "fanout" });
  for (let n = 0; n < 10; n++) {
    await channel.call("queue.declare", {
      queue: `d${n}`,
      arguments: { "x-max-length": 0, "x-dead-letter-exchange": "all" },
    });
    await channel.call("queue.bind", { queue: `d${n}`, exchange: "all" });
  }
  const leaving = await openPeer(broker.port);
  const itsChannel = await leaving.open();
  await leaving.sendBytes(concat(Array.from({ length: 3_000 }, (_, n) => {
    return method(1, "queue.declare", { queue: `e${n}`, exclusive: true, noWait: true });
  })));
  await itsChannel.call("confirm.select");
  const start = ownThreadTime().computed;
  await channel.publish({ exchange: "all" }, "x");
  for (let n = 0; n < 20; n++) assertEquals(await countOf(channel, "d1"), 0);
  // Each queue that goes gives the letters their time first.
  await leaving.close();
  await channel.call("queue.delete", { queue: "d1" });
  // The broker is in this thread. It took more than 40 s.
  assert(ownThreadTime().computed - start < 10_000);
});

Deno.test("a small message does not wait for large contents that are under way", async () => {
  await using broker = await startHere();
  await using greedy = await openPeer(broker.port);
  await greedy.open();
  const [header, piece] = content(1, "x".repeat(120_000));
  await greedy.sendBytes(method(1, "basic.publish", { routingKey: "q" }));
  const large = header!.slice();
  new DataView(large.buffer).setBigUint64(7 + 4, 100_000_000n);
  await greedy.sendBytes(large);
  for (let n = 0; n < 500; n++) await greedy.sendBytes(piece!);
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  await channel.call("queue.declare", { queue: "q" });
  await channel.call("confirm.select");
  await channel.publish({ routingKey: "q" }, "small");
  await channel.expect("basic.ack");
});

Deno.test("a publish to very many queues is in all of them when it is confirmed, or its sender has gone", async () => {
  const queues = 700;
  await using broker = await startHere();
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  await channel.call("exchange.declare", { exchange: "all", type: "fanout" });
  for (let n = 0; n < queues; n++) {
    await channel.send("queue.declare", { queue: `q${n}`, noWait: true });
    await channel.send("queue.bind", { queue: `q${n}`, exchange: "all", noWait: true });
  }
  await channel.call("confirm.select");
  await peer.sendBytes(concat([
    method(1, "basic.publish", { exchange: "all" }),
    ...content(1, "confirmed"),
    // It is one of the last, and goes meanwhile or after that.
    method(1, "queue.delete", { queue: `q${queues - 1}`, noWait: true }),
  ]));
  await channel.expect("basic.ack");
  await using other = await openPeer(broker.port);
  const leaving = await other.open();
  await leaving.send("basic.publish", { exchange: "all" });
  await other.sendBytes(concat(content(1, "left behind")));
  await leaving.call("channel.close", { replyCode: 200 });
  for (let n = 0; n < queues - 1; n++) assertEquals(await countOf(channel, `q${n}`), 2);
});

Deno.test("a dead letter for very many queues is in each of them once", async () => {
  const queues = 700;
  await using dir = await tempDir();
  await using broker = await startHere({ folder: dir.path });
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  await channel.call("exchange.declare", { exchange: "all", type: "fanout" });
  const args = { "x-dead-letter-exchange": "all" };
  await channel.call("queue.declare", { queue: "work", durable: true, arguments: args });
  for (let n = 0; n < queues; n++) {
    await channel.send("queue.declare", { queue: `q${n}`, durable: true, noWait: true });
    await channel.send("queue.bind", { queue: `q${n}`, exchange: "all", noWait: true });
  }
  for (let n = 0; n < 3; n++) {
    await channel.publish({ routingKey: "work" }, `${n}`, { deliveryMode: 2 });
  }
  await channel.call("basic.consume", { queue: "work" });
  for (let n = 0; n < 3; n++) await channel.expectContent();
  await channel.send("basic.nack", { deliveryTag: 0, multiple: true, requeue: false });
  await waitUntil("the letters", async () => await countOf(channel, `q${queues - 1}`) === 3);
  for (let n = 0; n < queues; n++) assertEquals(await countOf(channel, `q${n}`), 3);
  await channel.call("basic.consume", { queue: "q0", noAck: true });
  for (let n = 0; n < 3; n++) assertEquals((await channel.expectContent()).text, `${n}`);
});

Deno.test("who publishes what dies at once is held back while its letters wait", async () => {
  const count = 30_000;
  await using broker = await startHere();
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  await channel.call("queue.declare", { queue: "dead" });
  await channel.call("queue.declare", {
    queue: "full",
    arguments: {
      "x-max-length": 0,
      "x-dead-letter-exchange": "",
      "x-dead-letter-routing-key": "dead",
    },
  });
  await peer.sendBytes(publishes("full", 0, count));
  // Its turn comes after the publishes, and most of the letters are sent by then.
  const sent = await countOf(channel, "dead");
  assert(sent >= count - 2_000, `only ${sent} of ${count} letters were sent`);
  await waitUntil("the letters", async () => await countOf(channel, "dead") === count);
});

/** Queues that a fanout exchange fills, none of them stored. */
async function fanout(channel: PeerChannel, exchange: string, count: number): Promise<string[]> {
  const queues = Array.from({ length: count }, (_, n) => `${exchange}${n}`);
  await channel.call("exchange.declare", { exchange, type: "fanout" });
  for (const queue of queues) {
    await channel.send("queue.declare", { queue, noWait: true });
    await channel.send("queue.bind", { queue, exchange, noWait: true });
  }
  await channel.call("queue.declare", { queue: queues[0]!, passive: true });
  return queues;
}

Deno.test("a publish with very many keys, and its dead letter, find each queue once; others go on", async () => {
  await using broker = await startHere({});
  await using peer = await openPeer(broker.port);
  await using other = await openPeer(broker.port);
  const [channel, bystander] = [await peer.open(), await other.open()];
  const queues = await fanout(channel, "all", 300);
  const args = { "x-max-length": 0, "x-dead-letter-exchange": "all" };
  await channel.call("queue.declare", { queue: "grave", arguments: args });
  await channel.call("confirm.select");
  const headers = { CC: Array.from({ length: 8_000 }, (_, n) => `key${n}`) };
  await channel.publish({ exchange: "all" }, "x", { headers });
  let isConfirmed = false;
  const confirmed = channel.expect("basic.ack").then(() => isConfirmed = true);
  // The first answer may have been on its way.
  for (let n = 0; n < 2; n++) await countOf(bystander, queues[0]!);
  assert(!isConfirmed, "a bystander waited for all keys");
  await confirmed;
  await channel.publish({ routingKey: "grave" }, "x", { headers });
  await channel.expect("basic.ack");
  await waitUntil("the letter", async () => await countOf(bystander, queues.at(-1)!) === 2);
  for (const queue of queues) assertEquals(await countOf(bystander, queue), 2, queue);
});

Deno.test("a transaction that returns more than there is room for is refused as a whole", async () => {
  await using broker = await startHere({});
  await using peer = await openPeer(broker.port);
  await using other = await openPeer(broker.port);
  const bystander = await other.open();
  await bystander.call("queue.declare", { queue: "kept" });
  await bystander.publish({ routingKey: "kept" }, "taken");
  const channel = await peer.open();
  await channel.call("tx.select");
  await channel.send("basic.get", { queue: "kept" });
  const { args: { deliveryTag } } = await channel.expectContent("basic.get-ok");
  await channel.send("basic.ack", { deliveryTag });
  await channel.publish({ routingKey: "kept" }, "published");
  const one = concat([
    method(1, "basic.publish", { routingKey: "nowhere", mandatory: true }),
    ...content(1, "x".repeat(10_000)),
  ]);
  await peer.sendBytes(concat(Array(500).fill(one)));
  await channel.send("tx.commit");
  await peer.channel(0).expectClose(506, /^RESOURCE_ERROR - a transaction returns 50\d+ bytes, /);
  await waitUntil("what it took to be back", async () => await countOf(bystander, "kept") > 0);
  await bystander.send("basic.get", { queue: "kept" });
  assertEquals((await bystander.expectContent("basic.get-ok")).text, "taken");
  assertEquals(await countOf(bystander, "kept"), 0);
});

Deno.test("a transaction that would put too many messages into queues is refused as a whole", async () => {
  await using dir = await tempDir();
  await using broker = await startHere({ folder: dir.path, limits: { transaction: 100 } });
  await using other = await openPeer(broker.port);
  const bystander = await other.open();
  const queues = await fanout(bystander, "all", 10);
  await bystander.call("queue.declare", { queue: "kept", durable: true });
  const one = concat([method(1, "basic.publish", { routingKey: "kept" }), ...content(1, "x")]);
  const all = concat([method(1, "basic.publish", { exchange: "all" }), ...content(1, "x")]);
  const nowhere = concat([method(1, "basic.publish", { routingKey: "gone" }), ...content(1, "x")]);
  // What a queue of ours survives a restart with takes longer the first time.
  const rows: [most: Uint8Array[], more: Uint8Array[], counted: number][] = [
    [Array(96).fill(one), [one], 101],
    [Array(10).fill(all), [all], 110],
    [Array(100).fill(nowhere), [nowhere], 101],
    [[one, ...Array(9).fill(all), ...Array(5).fill(one)], [one], 101],
  ];
  let kept = 0;
  let copies = 0;
  for (const [most, more, counted] of rows) {
    await using peer = await openPeer(broker.port);
    const channel = await peer.open();
    await channel.call("tx.select");
    for (let n = 0; n < 2; n++) {
      await peer.sendBytes(concat(most));
      await channel.call("tx.commit");
    }
    kept += 2 * most.filter((bytes) => bytes === one).length;
    copies += 2 * most.filter((bytes) => bytes === all).length;
    await peer.sendBytes(concat([...most, ...more]));
    await channel.send("tx.commit");
    const reason = `a transaction would put ${counted} messages into queues, it may put 100`;
    await peer.channel(0).expectClose(506, `RESOURCE_ERROR - ${reason}`);
    assertEquals(await countOf(bystander, "kept"), kept);
    for (const queue of queues) assertEquals(await countOf(bystander, queue), copies, queue);
  }
});
