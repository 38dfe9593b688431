import { assert, assertEquals } from "@std/assert";
import type { Socket } from "../../src/amqp/dial.ts";
import { Outbox } from "../../src/amqp/outbox.ts";
import { within } from "../support/wait.ts";
import { Random } from "../support/random.ts";

/** The sending side of a connection that takes as many bytes as the test says. */
class Sink implements Socket {
  readonly writes: Uint8Array[] = [];
  closed = false;
  /** How many of the offered bytes the next write takes; a promise holds it back. */
  take: (offered: number) => number | Promise<number> = (offered) => offered;

  get bytes(): Uint8Array {
    return Uint8Array.from(this.writes.flatMap((piece) => [...piece]));
  }
  read(): Promise<null> {
    return Promise.resolve(null);
  }
  async write(bytes: Uint8Array): Promise<number> {
    const n = await this.take(bytes.length);
    this.writes.push(bytes.slice(0, n));
    return n;
  }
  close(): void {
    this.closed = true;
  }
}

function unexpected(error: unknown): never {
  throw error;
}

Deno.test("what is added in one turn of the event loop leaves in one write", async () => {
  const sink = new Sink();
  const outbox = new Outbox(sink, unexpected);
  for (let i = 0; i < 100; i++) outbox.add(Uint8Array.of(i));
  await outbox.flushed();
  assertEquals(sink.writes.length, 1);
  outbox.add(Uint8Array.of(100));
  await outbox.flushed();
  assertEquals(sink.bytes, Uint8Array.from({ length: 101 }, (_, i) => i));
});

Deno.test("nothing is sent in the place of bytes that were taken away", async () => {
  for (const beforehand of [true, false]) {
    const sink = new Sink();
    const body = new Uint8Array(100_000);
    const takeAway = () => void body.buffer.transfer(0);
    sink.take = (offered) => {
      if (offered === body.length) takeAway();
      return 10;
    };
    const errors: unknown[] = [];
    const outbox = new Outbox(sink, (error) => errors.push(error));
    outbox.add(body);
    outbox.add(Uint8Array.of(206));
    if (beforehand) takeAway();
    await within("the end", outbox.flushed());
    assertEquals(errors.length, 1);
    assertEquals(sink.bytes.includes(206), false);
  }
});

Deno.test("bytes of any sizes arrive in order, whatever the socket takes at a time", async () => {
  const random = new Random(3);
  for (let round = 0; round < 30; round++) {
    const sink = new Sink();
    sink.take = (offered) => 1 + random.below(Math.min(offered, 50_000));
    const outbox = new Outbox(sink, unexpected);
    const sizes = [0, 1, 7, 1000, 16 * 1024, 16 * 1024 + 1, 65_536, 65_537, 200_000];
    let count = 0;
    let hash = 0;
    const scratch = new Uint8Array(16 * 1024);
    for (let i = 0; i < 40; i++) {
      const bytes = random.bytes(random.pick(sizes.slice(0, i % 10 === 0 ? 9 : 5)));
      for (const byte of bytes) hash = Math.imul(hash, 31) + byte | 0;
      count += bytes.length;
      if (bytes.length <= scratch.length) {
        scratch.set(bytes);
        outbox.add(scratch.subarray(0, bytes.length));
        // Small pieces belong to the caller again at once.
        scratch.fill(0xee);
      } else outbox.add(bytes);
      if (random.next() < 0.2) await Promise.resolve();
      if (random.next() < 0.1) await outbox.flushed();
    }
    await outbox.flushed();
    let received = 0;
    for (const write of sink.writes) {
      for (const byte of write) received = Math.imul(received, 31) + byte | 0;
    }
    assertEquals([sink.writes.reduce((sum, write) => sum + write.length, 0), received], [
      count,
      hash,
    ]);
  }
});

Deno.test("an outbox is congested above a mark, and drained resolves when there is room", async () => {
  const sink = new Sink();
  const gate = Promise.withResolvers<number>();
  sink.take = () => gate.promise;
  const outbox = new Outbox(sink, unexpected);
  await outbox.drained();
  const big = new Uint8Array(100 * 1024);
  for (let i = 0; i < 11; i++) outbox.add(big);
  assertEquals(outbox.congested, true);
  let resumed = false;
  const drained = outbox.drained().then(() => resumed = true);
  await Promise.resolve();
  assertEquals(resumed, false);
  sink.take = (offered) => offered;
  gate.resolve(big.length);
  await within("room", drained);
  assertEquals(outbox.congested, false);
  await outbox.flushed();
  assertEquals(sink.bytes.length, 11 * big.length);
});

Deno.test("a failing socket is reported once, and discarding wakes who waits for room", async () => {
  const sink = new Sink();
  const gate = Promise.withResolvers<number>();
  sink.take = () => gate.promise;
  const errors: unknown[] = [];
  const outbox = new Outbox(sink, (error) => {
    errors.push(error);
    outbox.discard();
  });
  outbox.add(new Uint8Array(2 * 1024 * 1024));
  outbox.add(new Uint8Array(10));
  const drained = outbox.drained();
  gate.reject(new Deno.errors.BrokenPipe("gone"));
  await within("room", drained);
  await outbox.flushed();
  assertEquals(errors.length, 1);
  assert(errors[0] instanceof Deno.errors.BrokenPipe);
});

Deno.test("with a limit bytes leave in pieces, all of them and in order", async () => {
  const sink = new Sink();
  const outbox = new Outbox(sink, unexpected, 200_000);
  const bytes = new Random(1).bytes(50_000);
  outbox.add(bytes.subarray(0, 100));
  outbox.add(bytes.subarray(100, 30_000));
  outbox.add(bytes.subarray(30_000));
  await within("all to leave", outbox.flushed());
  assertEquals(sink.bytes, bytes);
  assert(sink.writes.every(({ length }) => length <= 10_000));
  assert(outbox.empty);
});
