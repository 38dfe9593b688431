/** Buffers of connections that are over. */
import { assert, assertEquals } from "@std/assert";
import { FrameSource } from "../../src/broker/net/inbox.ts";
import { LargeBuffers } from "../../src/broker/net/large_buffers.ts";
import { Outbox } from "../../src/broker/net/outbox.ts";
import { OutboxRoom } from "../../src/broker/net/outbox_room.ts";
import { DEFAULT_LIMITS } from "../../src/broker/net/limits.ts";
import { Deadlines } from "../../src/time/deadlines.ts";
import { encodeFrame, FRAME } from "../support/methods.ts";
import { concat, sendAll } from "./strangers.ts";
import { Scheduler } from "../../src/time/scheduler.ts";

function fail(error: unknown): never {
  throw error;
}

/** A connection that has sent a megabyte of frames, read with such buffers, and is still there. */
async function busyOne(buffers: LargeBuffers): Promise<{ far: Deno.Conn; source: FrameSource }> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  using near = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
  const far = await listener.accept();
  const bytes = concat(Array(1_000).fill(encodeFrame(FRAME.body, 1, new Uint8Array(1_000))));
  const sending = sendAll(near, bytes);
  const source = new FrameSource(far);
  source.trust(buffers);
  while (source.received < bytes.length) {
    assert(await source.fill());
    while (source.next(DEFAULT_LIMITS.frameMax));
  }
  await sending;
  return { far, source };
}

Deno.test("the buffers of a connection that is over give their memory back at once", async () => {
  const buffers = new LargeBuffers(1_000_000);
  const { far, source } = await busyOne(buffers);
  assert(source.bytes.length > 50_000);
  assert(buffers.bytes > 40_000);
  const host = {
    scheduler: new Scheduler(fail, () => false),
    deadlines: new Deadlines(fail),
    afterSockets: setImmediate,
  };
  const outbox = new Outbox(far, new OutboxRoom(DEFAULT_LIMITS, undefined, host), () => {});
  outbox.frames.append(new Uint8Array(1_000_000));
  const { frames } = outbox;
  outbox.close();
  source.close();
  assertEquals([source.bytes.length, frames.bytes.length, buffers.bytes], [0, 0, 0]);
  // Whoever does not know it yet may still write something.
  outbox.frames.heartbeat();
  outbox.close();
});

Deno.test("large buffers are for as many connections as there is memory", async () => {
  const buffers = new LargeBuffers(200_000);
  const connections = [];
  for (let n = 0; n < 5; n++) connections.push(await busyOne(buffers));
  const sizes = connections.map(({ source }) => source.bytes.length);
  assert(sizes[0]! > 50_000, `${sizes}`);
  assertEquals(sizes.at(-1), 4 * 1024);
  for (const { far, source } of connections) {
    source.close();
    far.close();
  }
  assertEquals(buffers.bytes, 0);
});
