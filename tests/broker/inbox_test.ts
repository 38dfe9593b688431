/** Buffers of connections that are over. */
import { assert, assertEquals } from "@std/assert";
import { FrameSource } from "../../src/broker/net/inbox.ts";
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

Deno.test("the buffers of a connection that is over give their memory back at once", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  using near = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
  const far = await listener.accept();
  const bytes = concat(Array(1_000).fill(encodeFrame(FRAME.body, 1, new Uint8Array(1_000))));
  const sending = sendAll(near, bytes);
  const source = new FrameSource(far);
  source.trust();
  while (source.received < bytes.length) {
    assert(await source.fill());
    while (source.next(DEFAULT_LIMITS.frameMax));
  }
  await sending;
  assert(source.bytes.length > 50_000);
  const host = { scheduler: new Scheduler(fail, () => false), deadlines: new Deadlines(fail) };
  const outbox = new Outbox(far, new OutboxRoom(DEFAULT_LIMITS, undefined, host), () => {});
  outbox.frames.append(new Uint8Array(1_000_000));
  const { frames } = outbox;
  outbox.close();
  source.close();
  assertEquals([source.bytes.length, frames.bytes.length], [0, 0]);
  // Whoever does not know it yet may still write something.
  outbox.frames.heartbeat();
  outbox.close();
});
