import { assert, assertEquals, assertThrows } from "@std/assert";
import { FrameBuffer } from "../../src/amqp/frame_buffer.ts";
import { FrameReader } from "../../src/amqp/frame_reader.ts";
import { parseUrls } from "../../src/amqp/url.ts";
import { FRAME_HEADER_BYTES } from "../../src/amqp/protocol.ts";
import { ConnectionError, EXIT } from "../../src/errors.ts";
import { encodeFrame } from "../support/methods.ts";
import { Random } from "../support/random.ts";

const MAX_PAYLOAD = 64;

/** Feeds bytes in pieces of the given sizes, as a socket would, and gives the frames that come out. */
function cut(bytes: Uint8Array, pieceSize: () => number): Uint8Array[] {
  const buffer = new FrameBuffer(MAX_PAYLOAD);
  const frames: Uint8Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const n = Math.min(pieceSize(), buffer.room.length, bytes.length - at);
    buffer.room.set(bytes.subarray(at, at + n));
    at += n;
    buffer.add(n);
    while (buffer.take((start, end) => frames.push(buffer.bytes.slice(start, end))));
  }
  assertEquals(buffer.unused.length, 0, "bytes left over");
  return frames;
}

function joined(frames: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(frames.flatMap((frame) => [...frame]));
}

Deno.test("every split of a byte stream in two gives the same frames", () => {
  const frames = [[], [1], [1, 2, 3], new Array(MAX_PAYLOAD).fill(0xce), []].map((payload, i) =>
    encodeFrame(1, i, Uint8Array.from(payload))
  );
  const stream = joined(frames);
  for (let at = 0; at <= stream.length; at++) {
    let first = true;
    assertEquals(
      cut(stream, () => {
        const size = first && at > 0 ? at : stream.length;
        first = false;
        return size;
      }),
      frames,
    );
  }
  assertEquals(cut(stream, () => 1), frames);
});

Deno.test("a content header may be as long as there is room, whatever was agreed", () => {
  const most = 2 * MAX_PAYLOAD + FRAME_HEADER_BYTES + 1;
  const frames = [most, 0, MAX_PAYLOAD + 1].map((size) =>
    encodeFrame(2, 1, new Uint8Array(size).fill(7))
  );
  for (const piece of [1, 3, 1000]) assertEquals(cut(joined(frames), () => piece), frames);
  assertThrows(
    () => cut(encodeFrame(2, 1, new Uint8Array(most + 1)), () => 1000),
    ConnectionError,
    `at most ${most} bytes`,
  );
});

Deno.test("random frames in random pieces come out as they went in", () => {
  const random = new Random(2);
  for (let round = 0; round < 200; round++) {
    const frames = Array.from(
      { length: random.below(30) },
      () =>
        encodeFrame(
          random.below(256),
          random.below(65536),
          random.bytes(random.below(MAX_PAYLOAD + 1)),
        ),
    );
    const most = 1 + random.below(200);
    assertEquals(cut(joined(frames), () => 1 + random.below(most)), frames);
  }
});

Deno.test("a frame over the limit is refused at its header, before its payload arrives", () => {
  for (const size of [MAX_PAYLOAD + 1, 2 ** 31, 2 ** 32 - 1]) {
    const header = encodeFrame(3, 1, new Uint8Array()).subarray(0, FRAME_HEADER_BYTES);
    new DataView(header.buffer).setUint32(3, size);
    const error = assertThrows(() => cut(header, () => 1), ConnectionError, `${size} arrived`);
    assertEquals([error.exitCode, error.fatal], [EXIT.protocol, false]);
  }
});

Deno.test("a frame with a wrong end byte is refused", () => {
  const frame = encodeFrame(1, 0, Uint8Array.of(1, 2));
  frame[frame.length - 1] = 0;
  const error = assertThrows(() => cut(frame, () => 99), ConnectionError, "ended with 0");
  assertEquals(error.exitCode, EXIT.protocol);
});

Deno.test("what comes in one read is handed on in slices, and others run between two", async () => {
  const frame = encodeFrame(1, 1, new Uint8Array(1_000));
  const count = 120;
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const [socket, peer] = await Promise.all([
    Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port }),
    listener.accept(),
  ]);
  const bytes = joined(new Array(count).fill(frame));
  for (let sent = 0; sent < bytes.length;) sent += await peer.write(bytes.subarray(sent));
  peer.close();
  const [endpoint] = parseUrls("amqp://localhost");
  let came = 0;
  let cameFirst = 0;
  await new FrameReader(socket, endpoint!, 131_072).run({
    isEnded: false,
    heard: () => {},
    onFrame: () => {
      if (came++ === 0) queueMicrotask(() => cameFirst = came);
    },
    onEnd: () => {},
    onFault: (error) => {
      throw error;
    },
  });
  socket.close();
  assertEquals(came, count);
  assert(cameFirst * frame.length < 40_000, `${cameFirst} came in one go`);
});
