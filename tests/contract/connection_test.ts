import { assert, assertEquals, assertGreaterOrEqual, assertRejects } from "@std/assert";
import {
  ALL_CAPABILITIES,
  type PeerChannel,
  PeerGone,
  PROTOCOL_HEADER,
} from "../support/protocol_peer.ts";
import { WireWriter } from "../support/wire.ts";
import { contract } from "./contract.ts";

contract("Another protocol's header is answered with AMQP 0-9-1's and the end", async (t) => {
  const peer = await t.rawPeer();
  await peer.sendBytes(new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n").subarray(0, 8));
  assertEquals(await peer.greeting.next(), PROTOCOL_HEADER);
  await peer.ended();
});

contract(
  "connection.start offers 0-9, PLAIN and AMQPLAIN, and the capabilities that clients ask for",
  async (t) => {
    const peer = await t.rawPeer();
    const start = await peer.greet();
    assertEquals([start.versionMajor, start.versionMinor], [0, 9]);
    const mechanisms = start.mechanisms.split(" ");
    assert(mechanisms.includes("PLAIN") && mechanisms.includes("AMQPLAIN"), start.mechanisms);
    assert(start.locales.split(" ").includes("en_US"));
    const { capabilities, product, version, platform } = start.serverProperties;
    for (const name of [...Object.keys(ALL_CAPABILITIES), "per_consumer_qos", "direct_reply_to"]) {
      assertEquals(capabilities[name], true, name);
    }
    for (const text of [product, version, platform]) assertEquals(typeof text, "string");
  },
);

contract("connection.tune proposes limits and never 0", async (t) => {
  const peer = await t.rawPeer();
  const tune = await peer.handshake();
  assertGreaterOrEqual(tune.frameMax, 8192);
  assertGreaterOrEqual(tune.channelMax, 1);
  assertGreaterOrEqual(tune.heartbeat, 1);
});

contract("A client may tune down to one channel and frames of 4096", async (t) => {
  const channel = await t.channel({ channelMax: 1, frameMax: 4096, heartbeat: 60 });
  const queue = await t.queue(channel);
  const body = "x".repeat(10_000);
  await channel.publish({ routingKey: queue }, body);
  await channel.send("basic.get", { queue, noAck: true });
  const message = await channel.expectContent("basic.get-ok");
  assertEquals(message.text, body);
  assertEquals(message.bodyFrames, [4088, 4088, 1824]);
});

contract(
  "Tuning beyond what the server proposes, or frames below 4096, opens no connection",
  async (t) => {
    const proposal = { channelMax: 2047, frameMax: 131072 };
    const refused = [
      { ...proposal, frameMax: 4095 },
      { ...proposal, frameMax: 1 << 20 },
      { ...proposal, frameMax: 0 },
      { ...proposal, channelMax: 65535 },
      { ...proposal, channelMax: 0 },
    ];
    await Promise.all(refused.map(async (answer) => {
      const peer = await t.rawPeer();
      await peer.greet();
      await peer.login();
      const control = peer.channel(0);
      assertEquals((await control.expect("connection.tune")).frameMax, proposal.frameMax);
      await control.send("connection.tune-ok", answer);
      await expectRefusal(control);
    }));
  },
);

contract("AMQPLAIN logs in with a table", async (t) => {
  const response = new WireWriter();
  response.table({ LOGIN: "guest", PASSWORD: "guest" });
  const peer = await t.rawPeer();
  await peer.handshake({
    mechanism: "AMQPLAIN",
    response: new TextDecoder().decode(response.take().subarray(4)),
  });
});

for (const mechanism of ["PLAIN", "AMQPLAIN"]) {
  const login = new WireWriter();
  login.table({ LOGIN: "guest", PASSWORD: "wrong" });
  const response = mechanism === "PLAIN"
    ? "\0guest\0wrong"
    : new TextDecoder().decode(login.take().subarray(4));

  contract(
    `A wrong ${mechanism} login closes with 403 for clients that announce authentication_failure_close`,
    async (t) => {
      const peer = await t.rawPeer();
      await peer.greet();
      await peer.login({ mechanism, response });
      await peer.channel(0).expectClose(
        403,
        `ACCESS_REFUSED - Login was refused using authentication mechanism ${mechanism}. For details see the broker logfile.`,
      );
      await peer.ended();
    },
  );
}

contract("A user that does not exist is refused like a wrong password", async (t) => {
  const peer = await t.rawPeer();
  await peer.greet();
  await peer.login({ user: "nobody" });
  await peer.channel(0).expectClose(
    403,
    /^ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN\./,
  );
});

contract("A malformed login ends without a word", async (t) => {
  const table = new WireWriter();
  table.table({ LOGIN: "guest" });
  const withoutPassword = new TextDecoder().decode(table.take().subarray(4));
  const rows = [["PLAIN", ""], ["PLAIN", "\0guest"], ["AMQPLAIN", withoutPassword]] as const;
  await Promise.all(rows.map(async ([mechanism, response]) => {
    const peer = await t.rawPeer();
    await peer.greet();
    await peer.login({ mechanism, response });
    await assertRejects(() => peer.channel(0).frame(), PeerGone);
  }));
});

contract(
  "A wrong login without authentication_failure_close ends the connection without a word, a mechanism that was not offered ends it",
  async (t) => {
    const refused = await t.rawPeer();
    await refused.greet();
    await refused.login({ password: "wrong", capabilities: {} });
    const external = await t.rawPeer();
    await external.greet();
    await external.login({ mechanism: "EXTERNAL", response: "" });
    await Promise.all([
      assertRejects(() => refused.channel(0).frame(), PeerGone),
      expectRefusal(external.channel(0)),
    ]);
  },
);

contract("A virtual host that does not exist is refused with 530", async (t) => {
  const peer = await t.rawPeer();
  await peer.greet();
  await peer.login();
  const control = peer.channel(0);
  const tune = await control.expect("connection.tune");
  await control.send("connection.tune-ok", tune);
  await control.send("connection.open", { virtualHost: "nowhere" });
  await control.expectClose(530, "NOT_ALLOWED - vhost nowhere not found");
  await peer.ended();
});

contract("connection.close is answered", async (t) => {
  const peer = await t.peer();
  await peer.channel(0).call("connection.close", { replyCode: 200, replyText: "done" });
});

contract("update-secret with the password that holds is answered", async (t) => {
  const peer = await t.peer();
  await peer.channel(0).call("connection.update-secret", {
    newSecret: "guest",
    reason: "rotation",
  });
  await peer.open(1);
});

contract("Heartbeats come from the server at half the interval that was tuned", async (t) => {
  const peer = await t.peer({ heartbeat: 2 });
  const pauseMs = async () => {
    const since = performance.now();
    await peer.expectHeartbeat();
    return performance.now() - since;
  };
  // A busy machine may hold one up; at the whole interval none would come sooner.
  for (let heard = 1; await pauseMs() > 1_500; heard++) assert(heard < 10, "they come too late");
});

contract(
  "A silent client is dropped after two intervals; one that sends heartbeats, a busy one and one that tuned to 0 are kept",
  async (t) => {
    const silent = await t.peer({ heartbeat: 1 });
    const quiet = await t.peer({ heartbeat: 1 });
    const busy = await (await t.peer({ heartbeat: 1 })).open(1);
    const off = await t.peer({ heartbeat: 0 });
    let dropped = false;
    const watch = silent.ended().then(() => dropped = true);
    while (!dropped) { // the broker's own clock
      await quiet.sendHeartbeat();
      await busy.call("basic.qos", { prefetchCount: 1 });
      await quiet.expectHeartbeat();
    }
    await watch;
    await quiet.open(1);
    await busy.call("basic.qos", { prefetchCount: 2 });
    await off.open(1);
    await assertRejects(() => off.expectHeartbeat(1));
  },
);

/**
 * RabbitMQ ends a connection that goes wrong before it is open without a word, after three
 * seconds; a broker may also say why first.
 */
async function expectRefusal(control: PeerChannel): Promise<void> {
  try {
    const { name } = await control.method();
    assertEquals(name, "connection.close");
    await control.send("connection.close-ok");
  } catch (error) {
    if (!(error instanceof PeerGone)) throw error;
  }
  await control.peer.ended();
}

contract("Before they are tuned frames of more than 4096 octets end the connection", async (t) => {
  const peer = await t.rawPeer();
  await peer.greet();
  await peer.login({ response: `\0guest\0${"long".repeat(1024)}` });
  await peer.ended();
});
