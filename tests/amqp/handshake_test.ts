/** Logging in at peers that are no broker, odd brokers, or brokers that change their mind. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { Transport } from "../../src/amqp/transport.ts";
import { ConnectionError, EXIT } from "../../src/errors.ts";
import { FRAME } from "../support/methods.ts";
import type { Peer } from "../support/protocol_peer.ts";
import { ScriptedServer } from "../support/scripted_server.ts";
import { Typed } from "../support/wire.ts";
import { endpointOf, IDENTITY, toolError } from "./harness.ts";

const START = {
  versionMajor: 0,
  versionMinor: 9,
  serverProperties: { product: "odd", version: "1" },
  mechanisms: "PLAIN",
  locales: "en_US",
};
const TUNE = { channelMax: 100, frameMax: 131072, heartbeat: 0 };

interface Case {
  readonly name: string;
  readonly play: (peer: Peer) => Promise<unknown>;
  /** Part of the error's sentence. */
  readonly sentence: string;
  readonly exitCode?: number;
  readonly fatal?: boolean;
  /** Appended to the URL. */
  readonly query?: string;
}

/** Tries each case at the same time: most of them are waits. */
async function all(cases: readonly Case[]): Promise<void> {
  await Promise.all(cases.map(async ({ name, play, query = "", ...expected }) => {
    await using server = new ScriptedServer(async (peer) => {
      await play(peer);
      await peer.ended();
    });
    const error = await toolError(Transport.open(endpointOf(server.url + query), IDENTITY));
    assertEquals(error.constructor, ConnectionError, name);
    assertStringIncludes(error.message, expected.sentence, name);
    assertEquals(error.exitCode, expected.exitCode ?? EXIT.temporary, `${name}: ${error.message}`);
    assertEquals((error as ConnectionError).fatal, expected.fatal ?? false, name);
    assertEquals(error.message.includes("guest:"), false, name);
  }));
}

async function start(peer: Peer, changes: Record<string, unknown> = {}): Promise<void> {
  await peer.greeting.next();
  await peer.channel(0).send("connection.start", { ...START, ...changes });
}

async function tune(peer: Peer, changes: Record<string, unknown> = {}): Promise<void> {
  await start(peer);
  await peer.channel(0).expect("connection.start-ok");
  await peer.channel(0).send("connection.tune", { ...TUNE, ...changes });
}

async function refuse(peer: Peer, replyCode: number, replyText: string): Promise<void> {
  await peer.channel(0).send("connection.close", { replyCode, replyText });
  await peer.channel(0).expect("connection.close-ok");
}

function text(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}

Deno.test("what is no AMQP broker is named for what it is, and not tried again", async () => {
  const foreign = { exitCode: EXIT.protocol, fatal: true };
  await all([
    {
      name: "HTTP",
      play: (peer) => peer.sendBytes(text("HTTP/1.1 400 Bad Request\r\n\r\n")),
      sentence: 'AMQP 0-9-1 is required, and it answered "HTTP/1.1 400 Bad Request',
      ...foreign,
    },
    {
      name: "TLS alert",
      play: (peer) => peer.sendBytes(Uint8Array.of(0x15, 3, 3, 0, 2, 2, 22)),
      sentence: "it speaks TLS: use amqps://",
      ...foreign,
    },
    {
      name: "AMQP 1.0",
      play: (peer) => peer.sendBytes(Uint8Array.of(0x41, 0x4d, 0x51, 0x50, 3, 1, 0, 0)),
      sentence: "AMQP 0-9-1 is required, and it asks for 3-1-0-0",
      ...foreign,
    },
    {
      name: "terminal escapes",
      play: (peer) => peer.sendBytes(Uint8Array.of(0x1b, 0x5b, 0x32, 0x4a)),
      sentence: '"\\u001b[2J"',
      ...foreign,
    },
    {
      name: "AMQP 0-8 in frames",
      play: (peer) => start(peer, { versionMinor: 8 }),
      sentence: "AMQP 0-9 is required, and it speaks 0-8",
      exitCode: EXIT.protocol,
    },
  ]);
});

Deno.test("a peer that says nothing, or stops in the middle, is given up in time", async () => {
  const query = "?connection_timeout=300";
  const sentence = "no answer within 300 ms";
  await all([
    { name: "nothing", play: () => Promise.resolve(), sentence, query },
    {
      name: "half a frame",
      play: (peer) => peer.sendBytes(Uint8Array.of(1, 0, 0, 0, 0)),
      sentence,
      query,
    },
    { name: "start only", play: start, sentence, query },
    { name: "tune only", play: tune, sentence, query },
    {
      name: "heartbeats only, which are no progress",
      play: async (peer) => {
        await start(peer);
        for (let i = 0; i < 5; i++) await peer.sendHeartbeat();
      },
      sentence,
      query,
    },
  ]);
});

Deno.test("a socket that closes at any step of the handshake is a temporary failure", async () => {
  const sentence = "during the handshake";
  async function cut(peer: Peer): Promise<void> {
    await peer.greeting.next();
    peer.cut();
  }
  await all([
    { name: "at once", play: (peer) => Promise.resolve(peer.cut()), sentence },
    { name: "after the greeting", play: cut, sentence },
    {
      name: "half a frame",
      play: async (peer) => {
        await peer.greeting.next();
        await peer.sendBytes(Uint8Array.of(1, 0, 0, 0, 0, 1, 0, 0));
        peer.cut();
      },
      sentence,
    },
    { name: "after start", play: (peer) => start(peer).then(() => peer.cut()), sentence },
    { name: "after tune", play: (peer) => tune(peer).then(() => peer.cut()), sentence },
  ]);
});

Deno.test("a connection.close at any step says why, and only a refusal is for good", async () => {
  const sentence = "cannot log in at amqp://guest@127.0.0.1:";
  const denied = { exitCode: EXIT.noPermission, fatal: true };
  await all([
    {
      name: "instead of tune",
      play: async (peer) => {
        await start(peer);
        await peer.channel(0).expect("connection.start-ok");
        await refuse(peer, 403, "ACCESS_REFUSED - no");
      },
      sentence: "ACCESS_REFUSED - no (403)",
      ...denied,
    },
    {
      name: "instead of open-ok",
      play: async (peer) => {
        await tune(peer);
        await peer.channel(0).expect("connection.tune-ok");
        await peer.channel(0).expect("connection.open");
        await refuse(peer, 530, "NOT_ALLOWED - vhost x not found");
      },
      sentence: "NOT_ALLOWED - vhost x not found (530)",
      ...denied,
    },
    {
      name: "instead of start",
      play: async (peer) => {
        await peer.greeting.next();
        await refuse(peer, 320, "CONNECTION_FORCED - shutdown");
      },
      sentence,
    },
    {
      name: "with a reply code that does not exist",
      play: async (peer) => {
        await peer.greeting.next();
        await refuse(peer, 999, "");
      },
      sentence,
      exitCode: EXIT.protocol,
    },
  ]);
});

Deno.test("methods out of turn are a protocol error: the login is not sent twice, nor a timer lost", async () => {
  const sentence = "came out of turn";
  const broken = { sentence, exitCode: EXIT.protocol };
  await all([
    {
      name: "tune first",
      play: async (peer) => {
        await peer.greeting.next();
        await peer.channel(0).send("connection.tune", { ...TUNE, heartbeat: 1 });
      },
      ...broken,
    },
    {
      name: "open-ok first",
      play: async (peer) => {
        await peer.greeting.next();
        await peer.channel(0).send("connection.open-ok");
      },
      ...broken,
    },
    {
      name: "start twice",
      play: async (peer) => {
        await start(peer);
        await start0(peer);
      },
      ...broken,
    },
    {
      name: "tune twice",
      play: async (peer) => {
        await tune(peer, { heartbeat: 5 });
        await peer.channel(0).send("connection.tune", TUNE);
      },
      ...broken,
    },
    {
      name: "close-ok unasked",
      play: (peer) => start(peer).then(() => peer.channel(0).send("connection.close-ok")),
      ...broken,
    },
    {
      name: "secure",
      play: (peer) => start(peer).then(() => peer.channel(0).send("connection.secure")),
      ...broken,
    },
    {
      name: "a client's method",
      play: (peer) => start(peer).then(() => peer.channel(0).send("connection.open")),
      ...broken,
    },
    {
      name: "an unknown class",
      play: async (peer) => {
        await start(peer);
        await peer.sendFrame(FRAME.method, 0, Uint8Array.of(3, 231, 0, 1, 9, 9));
      },
      ...broken,
    },
  ]);
  async function start0(peer: Peer): Promise<void> {
    await peer.channel(0).send("connection.start", START);
  }
});

Deno.test("frames that cannot be are a protocol error", async () => {
  const exitCode = EXIT.protocol;
  await all([
    {
      name: "type 7",
      play: (peer) => start(peer).then(() => peer.sendFrame(7, 0, new Uint8Array(1))),
      sentence: "a frame type must be 1, 2, 3 or 8, and is 7",
      exitCode,
    },
    {
      name: "an empty method",
      play: (peer) => start(peer).then(() => peer.sendFrame(1, 0, new Uint8Array(0))),
      sentence: "a method frame is too short",
      exitCode,
    },
    {
      name: "start cut short",
      play: async (peer) => {
        await peer.greeting.next();
        await peer.sendFrame(1, 0, Uint8Array.of(0, 10, 0, 10, 0, 9, 0, 0));
      },
      sentence: "a frame cannot be read",
      exitCode,
    },
    {
      name: "a table longer than its frame",
      play: async (peer) => {
        await peer.greeting.next();
        await peer.sendFrame(
          1,
          0,
          Uint8Array.of(0, 10, 0, 10, 0, 9, 255, 255, 255, 255, 0, 0, 0, 0),
        );
      },
      sentence: "a frame cannot be read",
      exitCode,
    },
    {
      name: "a frame over every limit",
      play: async (peer) => {
        await peer.greeting.next();
        await peer.sendBytes(Uint8Array.of(1, 0, 0, 0x7f, 255, 255, 255));
      },
      sentence: "a frame must be at most 131072 bytes, and one of 2147483647 arrived",
      exitCode,
    },
    {
      name: "a frame without its end",
      play: async (peer) => {
        await peer.greeting.next();
        await peer.sendBytes(Uint8Array.of(8, 0, 0, 0, 0, 0, 0, 1).with(0, 1));
      },
      sentence: "a frame must end with the byte 206",
      exitCode,
    },
    {
      name: "a frame_max below the least allowed",
      play: (peer) => tune(peer, { frameMax: 100 }),
      sentence: "frame_max must be at least 4096, and is 100",
      exitCode,
    },
  ]);
});

Deno.test("a login mechanism that the broker does not offer is named, with what it offers", async () => {
  await all([
    {
      name: "EXTERNAL at a broker with PLAIN",
      play: (peer) => start(peer, { mechanisms: "PLAIN AMQPLAIN" }),
      query: "?auth_mechanism=external",
      sentence: "the login mechanism must be one of PLAIN, AMQPLAIN, and is EXTERNAL",
      exitCode: EXIT.noPermission,
      fatal: true,
    },
    {
      name: "PLAIN at a broker with something unknown",
      play: (peer) => start(peer, { mechanisms: "X-ODD" }),
      sentence: "must be one of X-ODD, and is PLAIN",
      exitCode: EXIT.noPermission,
      fatal: true,
    },
  ]);
});

/** Opens at a server that goes through the handshake as given; hands out what both sides saw. */
async function opened(
  start: Record<string, unknown>,
  tuned: Record<string, unknown>,
  look: (
    transport: Transport,
    startOk: Record<string, unknown>,
    tuneOk: Record<string, unknown>,
  ) => void,
  query = "",
): Promise<void> {
  const seen = Promise.withResolvers<[Record<string, unknown>, Record<string, unknown>]>();
  await using server = new ScriptedServer(async (peer) => {
    await peer.greeting.next();
    const control = peer.channel(0);
    await control.send("connection.start", { ...START, ...start });
    const startOk = await control.expect("connection.start-ok");
    await control.send("connection.tune", { ...TUNE, ...tuned });
    const tuneOk = await control.expect("connection.tune-ok");
    await control.expect("connection.open");
    await control.send("connection.open-ok");
    seen.resolve([startOk, tuneOk]);
    await control.expect("connection.close");
    await control.send("connection.close-ok");
    await peer.ended();
  });
  const transport = await Transport.open(endpointOf(server.url + query), IDENTITY);
  try {
    look(transport, ...await seen.promise);
  } finally {
    await transport.shutdown();
  }
}

Deno.test("what the broker says of itself is kept, and odd properties do no harm", async () => {
  await opened({}, {}, ({ server }, startOk) => {
    assertEquals(server, { product: "odd", version: "1", page: "", instance: "" });
    assertEquals([startOk.mechanism, startOk.response], ["PLAIN", "\0guest\0guest"]);
  });
  const odd: Record<string, unknown>[] = [
    {},
    { product: 5, version: null },
    { product: "odd", x: new Typed("Z", null), version: "1" },
    { product: ["a"], capabilities: { list: [{}] }, __proto__x: 1 },
    { product: "p".repeat(60_000) },
  ];
  await Promise.all(odd.map((serverProperties) =>
    opened({ serverProperties }, {}, ({ server }) => {
      assertEquals([typeof server.product, typeof server.version], ["string", "string"]);
    })
  ));
});

Deno.test("a proposal of 0 means no limit; otherwise the lesser value is taken", async () => {
  const cases: [Record<string, number>, string, Record<string, number>][] = [
    [{ channelMax: 0, frameMax: 0, heartbeat: 0 }, "", {
      channelMax: 0,
      frameMax: 131072,
      heartbeat: 30,
    }],
    [{ channelMax: 0, frameMax: 4096, heartbeat: 5 }, "", {
      channelMax: 0,
      frameMax: 4096,
      heartbeat: 5,
    }],
    [{ channelMax: 7, frameMax: 2 ** 32 - 1, heartbeat: 65535 }, "", {
      channelMax: 7,
      frameMax: 131072,
      heartbeat: 30,
    }],
    [{ channelMax: 7, frameMax: 9000, heartbeat: 60 }, "?heartbeat=0&channel_max=4", {
      channelMax: 4,
      frameMax: 9000,
      heartbeat: 0,
    }],
    [{ channelMax: 7, frameMax: 9000, heartbeat: 60 }, "?heartbeat=70&channel_max=9", {
      channelMax: 7,
      frameMax: 9000,
      heartbeat: 60,
    }],
  ];
  await Promise.all(
    cases.map(([proposal, query, agreed]) =>
      opened({}, proposal, (transport, _, tuneOk) => {
        assertEquals(tuneOk, agreed);
        assertEquals([transport.frameMax, transport.channelMax], [
          agreed.frameMax,
          agreed.channelMax,
        ]);
      }, query)
    ),
  );
});

Deno.test("a password of many kilobytes, as tokens are, is sent whole", async () => {
  const password = "t\u00fc".repeat(20_000);
  const seen = Promise.withResolvers<string>();
  await using server = new ScriptedServer(async (peer) => {
    await start(peer);
    const { response } = await peer.channel(0).expect("connection.start-ok");
    seen.resolve(response);
  });
  const endpoint = { ...endpointOf(server.url), password };
  await toolError(Transport.open(endpoint, IDENTITY));
  assertEquals((await seen.promise) === `\0guest\0${password}`, true);
});
