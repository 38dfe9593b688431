/** Names that have several addresses, and names that nobody resolves. */
import { assertEquals, assertMatch } from "@std/assert";
import { isLocalhost } from "../../src/amqp/loopback.ts";
import { Transport } from "../../src/amqp/transport.ts";
import { brokerTest, sharedNode } from "../support/broker.ts";
import { spawn } from "../support/process.ts";
import { ipv6Missing, ipv6Test } from "../support/ipv6.ts";
import { Proxy } from "../support/proxy.ts";
import { ScriptedServer } from "../support/scripted_server.ts";
import { tempDir, uniqueName } from "../support/temp.ts";
import { toolCommand } from "../support/tools.ts";
import { commandOf, finish } from "../e2e/tools.ts";
import { portOf, startProcess } from "../broker/harness.ts";
import { makeCertificates } from "./certificates.ts";
import { endpointOf, IDENTITY, open, toolError } from "./harness.ts";

const node = await sharedNode();

/** Takes connections and says nothing until the client has gone. */
function silence(hostname?: string, port?: number): ScriptedServer {
  return new ScriptedServer(
    async (peer) => {
      await peer.ended();
    },
    hostname,
    port,
  );
}

Deno.test("localhost is the name of RFC 6761, and what only looks like it is not", () => {
  for (const name of ["localhost", "LocalHost", "localhost.", "a.localhost", "a.b.localhost."]) {
    assertEquals(isLocalhost(name), true, name);
  }
  for (const name of ["localhost.example", "mylocalhost", ".localhost", "127.0.0.1", "::1", ""]) {
    assertEquals(isLocalhost(name), false, name);
  }
});

ipv6Test(
  "when an address of a name takes the connection and is silent, the next is tried",
  async () => {
    await using silent = silence();
    await using _proxy = await Proxy.start(node.port, silent.port, "::1");
    await Promise.all(["localhost", "broker.localhost"].map(async (host) => {
      const url = `amqp://guest:guest@${host}:${silent.port}/`;
      // Half of it goes by in silence.
      const args = ["--timeout", "10s", "--queue", uniqueName("reach"), "x"];
      const sent = await finish("new_task", args, { url });
      assertEquals([sent.code, sent.stderr], [0, ""]);
    }));
    assertEquals(silent.connections, 2);
  },
  brokerTest,
);

ipv6Test(
  "the next address is tried when the first speaks another protocol, or ends the connection",
  async () => {
    for (const words of ["HTTP/1.1 400 Bad Request\r\n\r\n", ""]) {
      await using other = new ScriptedServer(async (peer) => {
        await peer.sendBytes(new TextEncoder().encode(words));
      });
      await using _proxy = await Proxy.start(node.port, other.port, "::1");
      await using connection = await open(`amqp://guest:guest@localhost:${other.port}/`);
      assertEquals(connection.transport.endpoint.host, "localhost");
    }
  },
  brokerTest,
);

ipv6Test("a refused login is not tried again at another address", async () => {
  await using first = await Proxy.start(node.port);
  await using second = await Proxy.start(node.port, first.port, "::1");
  const endpoint = endpointOf(`amqp://guest:wrong@localhost:${first.port}/`);
  assertEquals((await toolError(Transport.open(endpoint, IDENTITY))).exitCode, 77);
  assertEquals([first.total, second.total], [1, 0]);
}, brokerTest);

ipv6Test("when all addresses of a name are silent, the error names the whole time", async () => {
  await using first = silence();
  await using second = silence("::1", first.port);
  const url = `amqp://localhost:${first.port}/?connection_timeout=1500`;
  const error = await toolError(Transport.open(endpointOf(url), IDENTITY));
  assertMatch(error.message, /^cannot connect to .*: no answer within 1\.5 s$/);
  assertEquals([first.connections, second.connections], [1, 1]);
});

ipv6Test("when one address is silent and another refuses, the error names both", async () => {
  await using silent = silence();
  const url = `amqp://localhost:${silent.port}/?connection_timeout=1500`;
  const error = await toolError(Transport.open(endpointOf(url), IDENTITY));
  assertMatch(error.message, /: no answer within 1\.5 s; at ::1: connection refused$/);
});

ipv6Test(
  "all addresses are tried with TLS, too, and the certificate must be for the name at every one",
  async () => {
    await using dir = await tempDir();
    const { ca, client, server } = await makeCertificates(dir.path);
    await using broker = startProcess(["--tls-cert", server.cert, "--tls-key", server.key]);
    await using silent = silence();
    await using _behind = await Proxy.start(await portOf(broker), silent.port, "::1");
    const urlOf = (host: string, port: number) =>
      `amqps://guest:guest@${host}:${port}/?connection_timeout=8000&cacertfile=${ca}`;
    await using _plain = await open(urlOf("localhost", silent.port));
    const pair = `&certfile=${client.cert}&keyfile=${client.key}`;
    await using _paired = await open(urlOf("localhost", silent.port) + pair);
    assertEquals(silent.connections, 2);
    await using direct = await Proxy.start(await portOf(broker));
    const other = endpointOf(urlOf("other.localhost", direct.port));
    assertMatch((await toolError(Transport.open(other, IDENTITY))).message, /certificate/i);
  },
);

const folder = await tempDir("hosts-");
globalThis.addEventListener("unload", () => Deno.removeSync(folder.path, { recursive: true }));

/** Starts a program where the file of hosts, and nothing else, is another. */
async function spawnWithHosts(hosts: string, args: readonly string[], url?: string) {
  const dir = await tempDir("hosts-", folder.path);
  await Deno.writeTextFile(dir.file("hosts"), hosts);
  await Deno.writeTextFile(dir.file("resolv.conf"), "nameserver 127.0.0.1\n");
  const script = `mount --bind "$0/hosts" /etc/hosts &&
    mount --bind "$0/resolv.conf" "$(readlink -f /etc/resolv.conf)" && exec "$@"`;
  return spawn("unshare", {
    args: ["-m", "sh", "-c", script, dir.path, ...args],
    env: { AMQP_URL: url },
  });
}

/** As that, to its end. */
async function withHosts(hosts: string, args: readonly string[], url?: string) {
  await using process = await spawnWithHosts(hosts, args, url);
  return await process.ended();
}

const hostsMissing = await (async () => {
  if (ipv6Missing !== undefined) return ` (ignored: ${ipv6Missing})`;
  const { code, stderr } = await withHosts("", ["true"]).catch((error) => ({
    code: 1,
    stderr: String(error),
  }));
  return code === 0 ? "" : ` (ignored: cannot replace the file of hosts: ${stderr.trim()})`;
})();
const hostsTest = hostsMissing === "" ? brokerTest : Deno.test.ignore;

hostsTest(`all addresses of any name are tried${hostsMissing}`, async () => {
  await using first = silence("::1");
  await using _second = silence("127.0.0.2", first.port);
  await using _proxy = await Proxy.start(node.port, first.port, "127.0.0.3");
  const hosts = "127.0.0.2 many.test\n127.0.0.3 many.test\n::1 many.test\n";
  const url = `amqp://guest:guest@many.test:${first.port}/`;
  // Each address has a third of it.
  const args = ["--queue", uniqueName("reach"), "--timeout", "10s"];
  const sent = await withHosts(hosts, commandOf("new_task", args), url);
  assertEquals([sent.code, sent.stderr], [0, ""]);
  assertEquals(first.connections, 1, "the silent address was not the first");
});

hostsTest(`our broker listens on localhost without them${hostsMissing}`, async () => {
  await using dir = await tempDir();
  const args = ["--listen", "localhost", "--port", "0", "--data", dir.file("data")];
  await using broker = await spawnWithHosts("", toolCommand("broker", args));
  await broker.waitForLog(/ready: amqp:\/\/127\.0\.0\.1:\d+ and amqp:\/\/\[::1\]:\d+/);
  broker.kill("SIGTERM");
  assertEquals((await broker.ended()).code, 0);
});

hostsTest(`localhost needs no file of hosts and no resolver${hostsMissing}`, async () => {
  const url = `amqp://guest:guest@localhost:${node.port}/`;
  const sent = await withHosts("", commandOf("new_task", ["--queue", uniqueName("reach")]), url);
  assertEquals([sent.code, sent.stderr], [0, ""]);
});
