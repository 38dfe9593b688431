import { assertEquals, assertGreater, assertLess } from "@std/assert";
import { Content } from "../../src/broker/message/content.ts";
import { Outbox } from "../../src/broker/net/outbox.ts";
import { OutboxRoom } from "../../src/broker/net/outbox_room.ts";
import { Deadlines } from "../../src/time/deadlines.ts";
import { Scheduler } from "../../src/time/scheduler.ts";

const fail = (error: unknown) => {
  throw error;
};

function roomOf(
  bytes: number,
  folder?: string,
  afterSockets: (run: () => void) => void = setImmediate,
): OutboxRoom {
  const scheduler = new Scheduler(fail, () => false);
  const limits = { outboxBytes: bytes, spillBytes: 1024 * 1024 * 1024, diskShareBytes: Infinity };
  return new OutboxRoom(limits, folder, {
    scheduler,
    deadlines: new Deadlines(fail),
    afterSockets,
  });
}

const room = roomOf(Infinity);

/** Beyond what the kernel buffers for one connection of this machine. */
const MORE_THAN_FITS = 32 * 1024 * 1024;

Deno.test("what is written while a piece is on its way waits until it is cleared itself", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  using client = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
  const outbox = new Outbox(await listener.accept(), room, () => {});
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
  const outbox = new Outbox(await listener.accept(), room, () => {});
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

Deno.test("what was written up to a place is sent, and what is behind it waits", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  using client = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
  const outbox = new Outbox(await listener.accept(), room, () => {});
  /** Sends up to a place. @returns the values that come */
  const sentTo = async (end: number): Promise<number[]> => {
    outbox.flushTo(end);
    const bytes = new Uint8Array(1024 * 1024);
    const values = new Set<number>();
    for (let left = end - sent; left > 0;) {
      const count = (await client.read(bytes.subarray(0, left)))!;
      for (const value of bytes.subarray(0, count)) values.add(value);
      left -= count;
    }
    sent = end;
    return [...values];
  };
  let sent = 0;
  const write = (value: number): number => {
    outbox.frames.append(new Uint8Array(1_000).fill(value));
    return outbox.end;
  };
  const one = write(1);
  const two = write(2);
  write(3);
  assertEquals(await sentTo(one), [1]);
  assertEquals(await sentTo(two), [2]);
  // Sent already.
  outbox.flushTo(one);
  // More than is there, once the rest is taken back.
  const gone = write(4);
  outbox.takeBack();
  assertEquals(outbox.isEmpty, true);
  const next = write(5);
  assertGreater(gone, next - 1);
  outbox.flushTo(gone);
  assertEquals(await sentTo(next), [5]);
  assertEquals(outbox.isEmpty, true);
  outbox.close();
});

Deno.test("a large body goes with what is behind it, never before what it waits for", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  using client = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
  const outbox = new Outbox(await listener.accept(), room, () => {});
  outbox.frames.append(Uint8Array.of(1));
  const answer = outbox.end;
  const content = Content.join(Uint8Array.of(0, 0), new Uint8Array(18), new Uint8Array(300_000));
  outbox.content(1, content, 131_072);
  // The answer is in one piece with the beginning of the content.
  outbox.flushTo(answer);
  assertEquals(outbox.isEmpty, false);
  outbox.flush();
  const bytes = new Uint8Array(400_000);
  let received = 0;
  const reading = (async () => {
    while (received < 300_000) received += (await client.read(bytes.subarray(received)))!;
  })();
  await outbox.idle();
  await reading;
  assertEquals([bytes[0], outbox.isEmpty], [1, true]);
  outbox.close();
});

Deno.test("while a large body is sent nothing behind it is cleared before its time", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  using client = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
  const outbox = new Outbox(await listener.accept(), room, () => {});
  const body = new Uint8Array(MORE_THAN_FITS);
  outbox.content(1, Content.join(Uint8Array.of(0, 0), new Uint8Array(18), body), 131_072);
  outbox.flush();
  // The body is on its way.
  const bytes = new Uint8Array(1024 * 1024);
  let received = (await client.read(bytes))!;
  outbox.frames.append(Uint8Array.of(7));
  const answer = outbox.end;
  // An answer that waits for another commit.
  outbox.frames.append(Uint8Array.of(9));
  outbox.flushTo(answer);
  let last: number | undefined;
  while (received < MORE_THAN_FITS || (last !== 7 && last !== 9)) {
    const count = (await client.read(bytes))!;
    received += count;
    last = bytes[count - 1];
  }
  assertEquals([last, outbox.isEmpty], [7, false]);
  outbox.flush();
  assertEquals([await client.read(bytes), bytes[0]], [1, 9]);
  outbox.close();
});

Deno.test("of large bodies some megabytes go to clients who read them, then others are looked at", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const most = 2 * 1024 * 1024 + 400_000;
  const atOnce: number[] = [];
  let sent = 0;
  const shared = roomOf(Infinity, undefined, (run) => {
    atOnce.push(sent - atOnce.reduce((sum, bytes) => sum + bytes, 0));
    setImmediate(run);
  });
  const body = new Uint8Array(3 * 1024 * 1024);
  const all = await Promise.all(Array.from({ length: 3 }, async () => {
    const client = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
    const far = await listener.accept();
    let left = 0;
    const counted = {
      read: (bytes: Uint8Array) => far.read(bytes),
      async write(bytes: Uint8Array) {
        // What the kernel has not taken comes again.
        sent += bytes.length - left;
        const count = await far.write(bytes);
        left = bytes.length - count;
        return count;
      },
      close: () => far.close(),
    };
    const outbox = new Outbox(counted as Deno.Conn, shared, () => {});
    for (let n = 0; n < 2; n++) {
      outbox.content(1, Content.join(Uint8Array.of(0, 0), new Uint8Array(18), body), 131_072);
    }
    outbox.flush();
    const reading = client.readable.pipeTo(new WritableStream());
    return { outbox, reading };
  }));
  for (const { outbox } of all) await outbox.idle();
  for (const { outbox } of all) outbox.close();
  await Promise.all(all.map(({ reading }) => reading));
  assertGreater(sent, 6 * body.length);
  assertGreater(atOnce.length, 3);
  assertLess(Math.max(...atOnce), most);
});

Deno.test("who waits for his turn is not one who does not read, and his end gives all back", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  using client = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
  const waits = Promise.withResolvers<() => void>();
  const shared = roomOf(Infinity, undefined, waits.resolve);
  assertEquals(shared.turns.next(MORE_THAN_FITS), undefined);
  const outbox = new Outbox(await listener.accept(), shared, () => {});
  const body = new Uint8Array(MORE_THAN_FITS);
  outbox.content(1, Content.join(Uint8Array.of(0, 0), new Uint8Array(18), body), 131_072);
  outbox.flush();
  const looked = await waits.promise;
  assertEquals([outbox.isEmpty, outbox.isStalled(-1)], [false, false]);
  assertGreater(shared.bodies, body.length);
  outbox.close();
  looked();
  assertEquals([shared.bodies, shared.frames], [0, 0]);
  // The header of its content, and then the end.
  const bytes = new Uint8Array(1_000);
  assertLess((await client.read(bytes))!, 100);
  assertEquals(await client.read(bytes), null);
});
