/** Whole sessions, damaged at every byte, against a running broker. */
import { assert, assertEquals } from "@std/assert";
import { encodeFrame, FRAME } from "../support/methods.ts";
import { Random } from "../support/random.ts";
import { tempDir, uniqueName } from "../support/temp.ts";
import { portOf, startProcess } from "./harness.ts";
import {
  concat,
  inParallel,
  LOGIN,
  method,
  play,
  sendAll,
  validSession,
  type Verdict,
  Witness,
} from "./strangers.ts";

/** The same on every run; TEST_SEED tries others. */
const SEED = Number(Deno.env.get("TEST_SEED") ?? 1);

/** Most of the time goes by in the delays after wrong logins. */
const WIDTH = 32;

async function withBroker(check: (port: number) => Promise<void>): Promise<void> {
  await using dir = await tempDir();
  await using broker = startProcess(["--data", dir.path]);
  const port = await portOf(broker);
  await using witness = await Witness.start(port);
  await witness.publish();
  await check(port);
  await witness.publish();
  await witness.check();
  broker.kill();
  const { code, stderr } = await broker.ended();
  assertEquals(code, 0);
  assert(!stderr.includes("a fault in the broker"), stderr);
}

Deno.test("a session with one bit flipped, at every byte, ends with a right reply code or closed", async () => {
  await withBroker(async (port) => {
    const random = new Random(SEED);
    assertEquals(await play(port, concat(validSession(uniqueName("whole")))), "close-ok");
    const length = concat(validSession(uniqueName())).length;
    const seen = new Set<Verdict>();
    const places = Array.from({ length }, (_, at) => ({ at, bit: 1 << random.below(8) }));
    await inParallel(places, WIDTH, async ({ at, bit }) => {
      const bytes = concat(validSession(uniqueName()));
      bytes[at]! ^= bit;
      try {
        seen.add(await play(port, bytes));
      } catch (error) {
        throw new Error(`TEST_SEED=${SEED}, byte ${at} ^ ${bit}`, { cause: error });
      }
    });
    // No 403: who goes on sending after a wrong password is closed without a word.
    for (const verdict of ["close-ok", "closed", 501, 503, 504, 505, 530] as const) {
      assert(seen.has(verdict), `${verdict} was not among ${[...seen].join(", ")}`);
    }
  });
});

Deno.test("a session that ends at any byte, by FIN or RST, or is followed by rubbish, harms nobody", async () => {
  await withBroker(async (port) => {
    const { length } = concat(validSession(uniqueName()));
    await inParallel(Array.from({ length }, (_, at) => at), WIDTH, async (at) => {
      const bytes = concat(validSession(uniqueName())).subarray(0, at);
      if (at % 3 === 0) return void await play(port, bytes);
      using connection = await Deno.connect({ hostname: "127.0.0.1", port });
      await sendAll(connection, bytes);
      if (at % 3 === 1) connection.closeWrite();
      else return; // unread answers make it an RST
      const chunk = new Uint8Array(65_536);
      while (await connection.read(chunk).catch(() => null) !== null);
    });
  });
});

Deno.test("a reply code arrives whatever wrong frames follow the first one", async () => {
  await withBroker(async (port) => {
    const wrong = [
      method(3, "basic.recover-async"),
      encodeFrame(FRAME.heartbeat, 0, Uint8Array.of(1)),
      encodeFrame(FRAME.header, 1, Uint8Array.of(1)),
      encodeFrame(200, 0, new Uint8Array()),
      method(0, "connection.tune-ok"),
      Uint8Array.of(1, 0, 0, 255, 255, 255, 255),
    ];
    for (const next of wrong) {
      const bytes = concat([...LOGIN, method(3, "basic.recover-async"), next]);
      assertEquals(await play(port, bytes), 504);
    }
  });
});

Deno.test("a session that arrives byte by byte is a session", async () => {
  await withBroker(async (port) => {
    using connection = await Deno.connect({ hostname: "127.0.0.1", port });
    connection.setNoDelay();
    const bytes = concat(validSession(uniqueName()));
    const chunk = new Uint8Array(65_536);
    const received: number[] = [];
    const reading = (async () => {
      for (;;) {
        const count = await connection.read(chunk).catch(() => null);
        if (count === null) return;
        received.push(...chunk.subarray(0, count));
      }
    })();
    for (const byte of bytes) await sendAll(connection, Uint8Array.of(byte));
    await reading;
    const closeOk = [1, 0, 0, 0, 0, 0, 4, 0, 10, 0, 51, 206];
    assertEquals(received.slice(-closeOk.length), closeOk);
  });
});

Deno.test("other protocols are told ours, or are closed", async () => {
  await withBroker(async (port) => {
    const rows = [
      "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
      "AMQP\x03\x01\x00\x00",
      "AMQP\x00\x01\x00\x00",
      "AMQP\x00\x00\x09\x02",
      "amqp\x00\x00\x09\x01",
      "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
      "\0".repeat(100),
      "SSH-2.0-OpenSSH_9.2\r\n",
    ];
    for (const text of rows) {
      using connection = await Deno.connect({ hostname: "127.0.0.1", port });
      await sendAll(connection, Uint8Array.from(text, (character) => character.charCodeAt(0)));
      const chunk = new Uint8Array(64);
      const count = await connection.read(chunk);
      assertEquals(chunk.subarray(0, count!), LOGIN[0], text);
    }
  });
});
