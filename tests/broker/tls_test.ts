import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { makeCertificates } from "../amqp/certificates.ts";
import { received, send, start, stop } from "../e2e/tools.ts";
import { ipv6Missing } from "../support/ipv6.ts";
import { run, spawn, type TestProcess } from "../support/process.ts";
import {
  connectPeer,
  type HandshakeOptions,
  Peer,
  PROTOCOL_HEADER,
} from "../support/protocol_peer.ts";
import { tempDir } from "../support/temp.ts";
import { toolCommand } from "../support/tools.ts";
import { waitUntil } from "../support/wait.ts";
import { brokerCommand, portOf, startHere, startProcess } from "./harness.ts";

const dir = await tempDir();
const { ca, otherCa, server, client } = await makeCertificates(dir.path);
globalThis.addEventListener("unload", () => Deno.removeSync(dir.path, { recursive: true }));

function startTls(cert = server.cert, key = server.key): TestProcess {
  return startProcess(["--tls-cert", cert, "--tls-key", key]);
}

async function openTls(port: number, trusted = ca, options: HandshakeOptions = {}): Promise<Peer> {
  const caCerts = [Deno.readTextFileSync(trusted)];
  const connection = await Deno.connectTls({ hostname: "localhost", port, caCerts });
  try {
    await connection.handshake();
  } catch (error) {
    connection.close();
    throw error;
  }
  const peer = new Peer(connection);
  await peer.handshake(options);
  return peer;
}

async function end(broker: TestProcess): Promise<string> {
  broker.kill();
  const { code, stderr } = await broker.ended();
  assertEquals(code, 0);
  assert(!stderr.includes("a fault in the broker"), stderr);
  return stderr;
}

Deno.test("over TLS contents of any size go both ways, and our tools work", async () => {
  await using broker = startTls();
  const port = await portOf(broker);
  const addresses = ["127\\.0\\.0\\.1", ...ipv6Missing ? [] : ["\\[::1\\]"]];
  const urls = addresses.map((address) => `amqps://${address}:\\d+`).join(" and ");
  assertMatch(broker.stderr.at(-1)!, new RegExp(`ready: ${urls},`));
  const peer = await openTls(port);
  const channel = await peer.open(1);
  await channel.call("queue.declare", { queue: "q" });
  const body = crypto.getRandomValues(new Uint8Array(60_000));
  const large = new Uint8Array(3_000_000).map((_, index) => body[index % body.length]!);
  for (const sent of [new Uint8Array(), body, large]) {
    await channel.publish({ routingKey: "q" }, sent);
    await channel.send("basic.get", { queue: "q", noAck: true });
    assertEquals((await channel.expectContent("basic.get-ok")).body, sent);
  }
  await peer.close();

  const url = `amqps://guest:guest@localhost:${port}/?cacertfile=${encodeURIComponent(ca)}`;
  await using worker = start("worker", [], { url });
  await worker.waitForLine(/Waiting for messages/);
  await send(["over", "TLS"], { url });
  await worker.waitForLine(/Done/);
  assertEquals(received(worker), ["over TLS"]);
  await stop(worker);
  await end(broker);
});

Deno.test("clients without TLS, of another authority, or that end in the middle do no harm", async () => {
  await using broker = startTls();
  const port = await portOf(broker);
  await using plain = await connectPeer(port);
  await plain.sendBytes(PROTOCOL_HEADER);
  await plain.ended();
  await assertRejects(() => openTls(port, otherCa));
  const hello = Uint8Array.of(22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3);
  for (let length = 0; length <= hello.length; length++) {
    await using gone = await connectPeer(port);
    await gone.sendBytes(hello.subarray(0, length));
  }
  const peer = await openTls(port);
  await peer.close();
  await end(broker);
});

Deno.test("a TLS handshake that does not get on is ended; others are served meanwhile", async () => {
  const tls = {
    cert: Deno.readTextFileSync(server.cert),
    key: Deno.readTextFileSync(server.key),
  };
  await using broker = await startHere({ tls, hosts: ["localhost"], limits: { handshakeMs: 400 } });
  const mute = await Promise.all([0, 5].map(async (length) => {
    const peer = await connectPeer(broker.port);
    await peer.sendBytes(Uint8Array.of(22, 3, 1, 2, 0).subarray(0, length));
    return peer;
  }));
  // On a busy machine its own handshake may take too long, too.
  const decent = await waitUntil("somebody else's handshake", () => openTls(broker.port));
  for (const peer of mute) {
    await peer.ended();
    await peer[Symbol.asyncDispose]();
  }
  await decent.close();
});

Deno.test("a heartbeat is missed through TLS too", async () => {
  await using broker = startTls();
  await using peer = await openTls(await portOf(broker), ca, { heartbeat: 1 });
  await peer.expectHeartbeat();
  await peer.ended();
  assertStringIncludes(await end(broker), "no heartbeat from the client");
});

Deno.test("TLS goes on after a shortage of file descriptors", async () => {
  const args = ["--port", "0", "--transient", "--tls-cert", server.cert, "--tls-key", server.key];
  await using broker = spawn("/bin/sh", {
    args: ["-c", 'ulimit -n 64; exec "$@"', "sh", ...brokerCommand(args)],
    killOnDispose: true,
  });
  const port = await portOf(broker);
  const crowd = await Promise.all(
    Array.from({ length: 70 }, () => Deno.connect({ hostname: "127.0.0.1", port })),
  );
  await broker.waitForLog(/cannot (accept|open) a connection .*[Tt]oo many open/);
  for (const connection of crowd) connection.close();
  const peer = await waitUntil("a TLS connection", () => openTls(port));
  await peer.open(1);
  await peer.close();
  await end(broker);
});

Deno.test("a certificate and key that do not fit are one sentence and 65", async () => {
  const rows: [cert: string, key: string, why: RegExp][] = [
    [server.cert, client.key, /keys may not be consistent/],
    [server.key, server.key, /No certificates found/],
    [server.cert, server.cert, /No keys found/],
  ];
  for (const [cert, key, why] of rows) {
    await using broker = startTls(cert, key);
    const { code, stderr } = await broker.ended();
    assertMatch(stderr, why);
    assertMatch(stderr, /^broker: cannot use the certificate and key of --tls-cert.*\n$/);
    assertEquals(code, 65);
  }
});

Deno.test("SIGHUP reads the certificate again: new connections get it, present ones stay", async () => {
  const [cert, key] = [dir.file("renewed.pem"), dir.file("renewed.key")];
  const use = (from: { cert: string; key: string }) => {
    Deno.copyFileSync(from.cert, cert);
    Deno.copyFileSync(from.key, key);
  };
  const next = await makeCertificates(await Deno.makeTempDir({ dir: dir.path }));
  use(server);
  await using broker = startTls(cert, key);
  const port = await portOf(broker);
  const present = await openTls(port);

  use(next.server);
  broker.kill("SIGHUP");
  await broker.waitForLog(/new connections get the certificate as it is now/);
  await assertRejects(() => openTls(port, ca));
  await (await openTls(port, next.ca)).close();

  Deno.writeTextFileSync(cert, "no certificate");
  broker.kill("SIGHUP");
  await broker.waitForLog(/error: the former certificate stays error="cannot use the certificate/);
  Deno.removeSync(key);
  broker.kill("SIGHUP");
  await broker.waitForLog(/error: the former certificate stays error="cannot read the PEM file/);
  await (await openTls(port, next.ca)).close();
  await present.open(1);
  await present.close();
  await end(broker);
});

Deno.test("an authority's own certificate is refused, and it is said what must be there", async () => {
  const broker = startTls(ca, ca.replace(/pem$/, "key"));
  await using _ = broker;
  const url = `amqps://localhost:${await portOf(broker)}/`;
  const [command, ...args] = toolCommand("new_task", ["--url", url, "--cacert", ca, "x"]);
  const { code, stderr } = await run(command, { args });
  assertEquals(code, 75);
  assertMatch(
    stderr,
    /CaUsedAsEndEntity.*; the server needs one that is no authority's \(CA:FALSE\)\n$/,
  );
  await end(broker);
});
