/** Memory for large frames that have come in part, and who waits for it. */
import { assert, assertEquals } from "@std/assert";
import type { Borrower } from "../../src/broker/net/frame_line.ts";
import { FrameRoom } from "../../src/broker/net/frame_room.ts";
import { FrameSource } from "../../src/broker/net/inbox.ts";
import { LargeBuffers } from "../../src/broker/net/large_buffers.ts";
import { DEFAULT_LIMITS } from "../../src/broker/net/limits.ts";
import type { OutboxRoom } from "../../src/broker/net/outbox_room.ts";
import { Fault } from "../../src/broker/wire/faults.ts";
import { Deadlines } from "../../src/time/deadlines.ts";
import { encodeFrame, encodeHeader, FRAME } from "../support/methods.ts";
import { openPeer, type Peer } from "../support/protocol_peer.ts";
import { waitUntil } from "../support/wait.ts";
import { startHere } from "./harness.ts";
import { method, sendAll } from "./strangers.ts";

function fail(error: unknown): never {
  throw error;
}

/** A room of 400,000 bytes, 300,000 of them for large frames. */
function roomFor(patienceMs: number) {
  const deadlines = new Deadlines(fail);
  const heard: string[] = [];
  const borrower = (name: string, more: Partial<Borrower> = {}): Borrower => ({
    user: "ann",
    network: "here",
    received: 0,
    isBlocked: false,
    isHeldBack: false,
    goesFirst: false,
    goOn: () => void heard.push(`${name} goes on`),
    refuse: () => void heard.push(`${name} is refused`),
    ...more,
  });
  const room = new FrameRoom({ ...DEFAULT_LIMITS, frameBytes: 400_000, patienceMs }, deadlines);
  return { room, borrower, heard, [Symbol.dispose]: () => deadlines.stop() };
}

Deno.test("large frames wait in line when all is lent, but for one", () => {
  using all = roomFor(60_000);
  const { room, borrower, heard } = all;
  const [a, b, first, next, last] = ["a", "b", "first", "next", "last"].map((name) =>
    borrower(name)
  ) as [Borrower, Borrower, Borrower, Borrower, Borrower];
  const asks = (...who: Borrower[]) => who.map((each) => room.ask(each, 140_000));
  assertEquals(asks(a, b, first, next, last), [true, true, true, false, false]);
  // Small ones do not wait for them, nor does somebody for whom all wait elsewhere.
  assertEquals(room.ask(borrower("small"), 10_000), true);
  assertEquals(asks(borrower("urgent", { goesFirst: true })), [true]);
  // Who has some room does not wait for it again.
  assertEquals(asks(a), [true]);
  room.leave(a);
  assertEquals(heard, []);
  room.leave(first);
  assertEquals(heard, ["next goes on"]);
  room.leave(last);
  room.leave(next);
  assertEquals(heard, ["next goes on"]);
});

Deno.test("users take turns, and so do the networks of one user, however many connections each has", () => {
  using all = roomFor(60_000);
  const { room, borrower, heard } = all;
  const of = (name: string, user: string, network: string) => borrower(name, { user, network });
  const ann = ["a", "b", "first", "a4", "a5"].map((name) => of(name, "ann", "here"));
  const others = [of("away", "ann", "away"), of("bob", "bob", "here"), of("bob2", "bob", "here")];
  const asked = [...ann, ...others].map((each) => room.ask(each, 140_000));
  assertEquals(asked, [true, true, true, ...Array(5).fill(false)]);
  const [a, b, first, a4] = ann as [Borrower, Borrower, Borrower, Borrower];
  room.leave(a);
  room.leave(b);
  assertEquals(heard, ["bob goes on"]);
  room.leave(first);
  // Bob has one, and Ann none, then one from here.
  assertEquals(heard.splice(0), ["bob goes on", "a4 goes on", "away goes on"]);
  room.leave(a4);
  room.leave(others[0]!);
  assertEquals(heard.splice(0), ["a5 goes on", "bob2 goes on"]);
});

Deno.test("who is blocked by an alarm keeps the line from nobody", () => {
  using all = roomFor(60_000);
  const { room, borrower, heard } = all;
  const blocked = borrower("blocked", { isBlocked: true, isHeldBack: true });
  assertEquals(room.ask(blocked, 400_000), true);
  assertEquals(room.ask(borrower("other"), 400_000), true);
  assertEquals(room.ask(borrower("third"), 400_000), false);
  room.leave(blocked);
  assertEquals(heard, []);
});

/** A connection whose buffer does not grow by itself. */
async function connect(): Promise<{ near: Deno.Conn; far: Deno.Conn; source: FrameSource }> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const near = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
  const far = await listener.accept();
  const source = new FrameSource(far);
  source.trust(new LargeBuffers(0));
  return { near, far, source };
}

Deno.test("a buffer that is lent for a frame grows as the frame comes, and is given up behind it", async () => {
  const { near, far, source } = await connect();
  const frame = encodeFrame(FRAME.body, 1, new Uint8Array(130_000));
  const read = async (bytes: Uint8Array) => {
    const sent = source.received + bytes.length;
    const sending = sendAll(near, bytes);
    while (source.received < sent) {
      assert(await source.fill());
      if (!source.next(DEFAULT_LIMITS.frameMax) && source.isCramped) source.borrow();
    }
    await sending;
  };
  await read(frame.subarray(0, 1_000));
  assert(source.isBorrowing);
  await read(frame.subarray(1_000, 10_000));
  assertEquals(source.bytes.length, 16 * 1024);
  await read(frame.subarray(10_000, 60_000));
  assertEquals(source.bytes.length, 64 * 1024);
  await read(frame.subarray(60_000));
  assertEquals(source.payloadEnd - source.payloadStart, 130_000);
  assertEquals(source.bytes.length, frame.length);
  assert(source.isEmpty);
  source.giveBack();
  assertEquals([source.isBorrowing, source.bytes.length], [false, 4 * 1024]);
  await read(encodeFrame(FRAME.body, 1, new Uint8Array(1_000)));
  assertEquals(source.payloadEnd - source.payloadStart, 1_000);
  assert(!source.isBorrowing);
  for (const each of [source, near, far]) each.close();
});

const FRAME_BYTES = 130_000;

/** Buffers do not grow by themselves, and two large frames may have come in part. */
function startCramped(patienceMs: number, outboxBytes = 1) {
  return startHere({ limits: { outboxBytes, frameBytes: 400_000, patienceMs } });
}

async function sendHalf(peer: Peer): Promise<void> {
  const frame = encodeFrame(FRAME.body, 1, new Uint8Array(FRAME_BYTES));
  await peer.sendBytes(method(1, "basic.publish", { routingKey: "q" }));
  await peer.sendFrame(FRAME.header, 1, encodeHeader(FRAME_BYTES));
  await peer.sendBytes(frame.subarray(0, 70_000));
}

Deno.test("who sends half a frame and no more does not keep others waiting for ever", async () => {
  await using broker = await startCramped(300);
  const text =
    /^RESOURCE_ERROR - frames that have come in part take \d+ bytes, .* has sent \d+ bytes/;
  const idle = await Promise.all(Array.from({ length: 8 }, () => openPeer(broker.port)));
  const refusals = idle.map(async (peer) => {
    await peer.open();
    await sendHalf(peer);
    await peer.channel(0).expectClose(506, text);
    await peer[Symbol.asyncDispose]();
  });
  refusals.forEach((refusal) => refusal.catch(() => {})); // while nobody waits they may stay
  await using honest = await openPeer(broker.port);
  const channel = await honest.open();
  await channel.call("confirm.select");
  await channel.call("queue.declare", { queue: "q" });
  // A small one does not even wait.
  await channel.publish({ routingKey: "q" }, new Uint8Array(10_000));
  await channel.expect("basic.ack");
  await channel.publish({ routingKey: "q" }, new Uint8Array(FRAME_BYTES));
  await channel.expect("basic.ack");
  await Promise.any(refusals);
  for (const peer of idle) await peer[Symbol.asyncDispose]();
  await Promise.allSettled(refusals);
});

Deno.test("who is refused gives his room to others before he has agreed to his end", async () => {
  await using broker = await startCramped(100);
  const ends: string[] = [];
  const idle = await Promise.all(Array.from({ length: 4 }, () => openPeer(broker.port)));
  const refusals = idle.map(async (peer) => {
    await peer.open();
    await sendHalf(peer);
    await peer.channel(0).expect("connection.close");
    await peer.ended();
    ends.push("refused");
  });
  refusals.forEach((refusal) => refusal.catch(() => {})); // the last one may stay
  await waitUntil("all to be lent", () => {
    return [...broker.inside.sessions].some(({ isCramped }) => isCramped) || ends.length > 0;
  });
  await using honest = await openPeer(broker.port);
  const channel = await honest.open();
  await channel.call("confirm.select");
  await channel.publish({ routingKey: "q" }, new Uint8Array(FRAME_BYTES));
  await channel.expect("basic.ack");
  ends.push("honest");
  await Promise.any(refusals);
  assertEquals(ends[0], "honest");
  for (const peer of idle) await peer[Symbol.asyncDispose]();
  await Promise.allSettled(refusals);
});

Deno.test("large frames that do not fit together come one after another, whoever goes meanwhile", async () => {
  await using broker = await startCramped(60_000);
  const peers = await Promise.all(Array.from({ length: 10 }, () => openPeer(broker.port)));
  for (const peer of peers) {
    await (await peer.open()).call("confirm.select");
    await sendHalf(peer);
  }
  peers[0]!.cut();
  peers[9]!.cut();
  const rest = encodeFrame(FRAME.body, 1, new Uint8Array(FRAME_BYTES)).subarray(70_000);
  await Promise.all(
    peers.slice(1, 8).map(async (peer) => {
      await peer.sendBytes(rest);
      await peer.channel(1).expect("basic.ack");
      // And again, on the same connection.
      await peer.channel(1).publish({ routingKey: "q" }, new Uint8Array(FRAME_BYTES));
      await peer.channel(1).expect("basic.ack");
      await peer.close();
    }),
  );
  for (const peer of peers) await peer[Symbol.asyncDispose]();
});

Deno.test("whose connection is closed while he waits in line does not stay there", async () => {
  await using broker = await startCramped(60_000, 1_000_000);
  const { sessions } = broker.inside;
  const { buffers } = broker.inside.outboxRoom as OutboxRoom;
  buffers.bytes += 1_000_000; // somebody has a buffer that takes all their room
  const others: Peer[] = [];
  for (let n = 0; n < 4; n++) {
    const peer = await openPeer(broker.port);
    others.push(peer);
    await (await peer.open()).call("confirm.select");
    await sendHalf(peer);
  }
  const lined = await waitUntil(
    "one to wait in line",
    () => [...sessions].find(({ isCramped }) => isCramped),
  );
  const [waiting] = others.splice([...sessions].indexOf(lined), 1) as [Peer];
  buffers.bytes -= 1_000_000;

  lined.close(new Fault("connection-forced", "of the test"));
  await waiting.channel(0).expect("connection.close");
  const rest = encodeFrame(FRAME.body, 1, new Uint8Array(FRAME_BYTES)).subarray(70_000);
  await waiting.sendBytes(rest);
  await waitUntil("his buffer to have grown by itself", () => buffers.bytes > 70_000);
  for (const peer of others) {
    await peer.sendBytes(rest);
    await peer.channel(1).expect("basic.ack");
    await peer.close();
  }
  await waiting.channel(0).send("connection.close-ok");
  await waitUntil("all to be gone", () => sessions.size === 0);
  assertEquals(buffers.bytes, 0);
  for (const peer of [waiting, ...others]) await peer[Symbol.asyncDispose]();
});
