import { assertEquals, assertGreater, assertLess } from "@std/assert";
import { Outbox } from "../../src/broker/net/outbox.ts";

/** Beyond what the kernel buffers for one connection of this machine. */
const MORE_THAN_FITS = 32 * 1024 * 1024;

Deno.test("what is written while a piece is on its way waits until it is cleared itself", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  using client = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
  const outbox = new Outbox(await listener.accept(), () => {});
  outbox.frames.append(new Uint8Array(MORE_THAN_FITS).fill(1));
  outbox.flush();
  // An answer that is only true after a commit: its flush comes then.
  outbox.frames.append(Uint8Array.of(2));
  const read = async (length: number) => {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length;) at += (await client.read(bytes.subarray(at)))!;
    return bytes;
  };
  const first = await read(MORE_THAN_FITS);
  assertEquals([first.at(-1), outbox.isEmpty], [1, false]);
  const last = read(1);
  outbox.frames.append(Uint8Array.of(3));
  outbox.flush();
  await outbox.idle();
  assertEquals(await last, Uint8Array.of(2));
  assertEquals(await read(1), Uint8Array.of(3));
  outbox.close();
});

Deno.test("buffers that grew are given up when nothing is sent, and not while something waits", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  using client = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
  const outbox = new Outbox(await listener.accept(), () => {});
  const received: number[] = [];
  const reading = (async () => {
    for await (const bytes of client.readable) received.push(bytes.length);
  })();
  for (let round = 0; round < 2; round++) {
    outbox.frames.append(new Uint8Array(1_000_000));
    outbox.trim();
    outbox.flush();
    await outbox.idle();
  }
  assertGreater(outbox.frames.bytes.length, 100_000);
  outbox.trim();
  assertLess(outbox.frames.bytes.length, 100_000);
  outbox.close();
  await reading;
  assertEquals(received.reduce((sum, length) => sum + length), 2_000_000);
});
