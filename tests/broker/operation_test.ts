import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { forEachRow } from "../e2e/tools.ts";
import { ipv6Missing, ipv6Test } from "../support/ipv6.ts";
import { freePorts, waitForPort } from "../support/ports.ts";
import { type Output, spawn } from "../support/process.ts";
import { openPeer, type Peer } from "../support/protocol_peer.ts";
import { tempDir } from "../support/temp.ts";
import { unless } from "../support/unless.ts";
import { QueueBench } from "../worker/bench.ts";
import { brokerCommand, findNamespacesMissing, portOf, startProcess } from "./harness.ts";

/** Runs a broker that is to end by itself. */
async function refused(args: readonly string[]): Promise<Output> {
  await using broker = startProcess(args);
  return await broker.ended();
}

Deno.test("what cannot be started is one sentence and an exit status", async () => {
  await using dir = await tempDir();
  const blocker = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const other = ipv6Missing ? undefined : Deno.listen({ hostname: "::1", port: 0 });
  await Deno.writeTextFile(dir.file("file"), "text\n");
  await Deno.writeTextFile(dir.file("lines"), "one\ntwo\n");
  await Deno.writeTextFile(dir.file("empty"), "");
  await Deno.mkdir(dir.file("damaged"));
  await Deno.writeTextFile(dir.file("damaged/broker.db"), "this is no database ".repeat(1000));
  const { port } = blocker.addr;
  const rows: [args: string, code: number, sentence: RegExp][] = [
    ["--prot 1", 64, /the option "--prot" is not known; did you mean --port\?/],
    ["--port 65536", 64, /--port must be a whole number from 0 to 65535, and is "65536"/],
    ["--port -1", 64, /--port/],
    ["start", 64, /the broker takes only options, and got "start"/],
    ["--listen=", 64, /--listen must have 1 to 255 bytes, and has 0/],
    ["--listen 0.0.0.0:5672", 64, /--listen must be an address alone, beside --port, and is "0\./],
    ["--vhost=", 64, /--vhost must have 1 to 255 bytes, and has 0/],
    [`--vhost ${"x".repeat(256)}`, 64, /--vhost must have 1 to 255 bytes, and has 256/],
    ["--data=", 64, /--data must have at least 1 byte, and has 0/],
    ["--user=", 64, /--user must have 1 to 255 bytes/],
    ["--transient -d DIR", 64, /one of --transient and --data can be had, and both were given/],
    ["--token-file DIR/file", 64, /--token-file needs --http, and it is not given/],
    ["--user ann", 64, /--user and --password-file need each other/],
    ["--password-file DIR/file", 64, /--user and --password-file need each other/],
    ["--user ann --password-file DIR/none", 66, /cannot read the password file "DIR\/none"/],
    ["--user ann --password-file DIR/lines", 65, /must hold one line, and holds several/],
    ["--user ann --password-file DIR/empty", 65, /must hold one line, and is empty/],
    ["--tls-cert DIR/file", 64, /--tls-cert and --tls-key need each other/],
    ["--tls-cert DIR/none --tls-key DIR/file", 66, /cannot read the PEM file "DIR\/none"/],
    ["--tls-cert DIR/file --tls-key DIR/file", 65, /certificate and key .*: No certificates/],
    [
      "--max-message-size 0",
      64,
      /--max-message-size must be a size such as .* from 1 to 512M, and/,
    ],
    ["--disk-free-limit 5MB", 64, /--disk-free-limit must be a size such as .* of at least 0, and/],
    [`--port ${port}`, 75, /cannot listen on 127\.0\.0\.1 port \d+: address already in use/],
    ["--listen 203.0.113.1", 75, /cannot listen on 203\.0\.113\.1 port 0: cannot assign/],
    ["--listen not-there.invalid", 75, /cannot listen on not-there\.invalid port 0: failed to/],
    ["--data DIR/file", 66, /cannot create the data folder "DIR\/file": there is a file of this/],
    [
      "--data /proc/data",
      66,
      /cannot create the data folder "\/proc\/data": (system folders are|no such)/,
    ],
    ["--data DIR/damaged", 65, /cannot use the data file DIR\/damaged\/broker\.db: it is damaged/],
  ];
  if (other !== undefined) {
    const inUse = /cannot listen on ::1 port \d+: address already in use/;
    rows.push([`--port ${other.addr.port}`, 75, inUse]);
  }
  await forEachRow(rows, ([args]) => args, async ([args, code, sentence]) => {
    const words = args.replaceAll("DIR", dir.path).split(" ");
    const { stdout, stderr, code: got } = await refused(words);
    const shown = stderr.replaceAll(dir.path, "DIR");
    assertEquals({ code: got, stdout }, { code, stdout: "" }, shown);
    assertMatch(shown, sentence);
    assertMatch(shown, /^broker: .*\n$/, "one line");
  });
  blocker.close();
  other?.close();
});

ipv6Test(
  "ready is one sentence on stderr with the URLs; SIGTERM and SIGINT end with 0",
  async () => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      await using broker = startProcess([]);
      const [line] = await broker.waitForLog(/ready.*/);
      assertMatch(line!, /ready: amqp:\/\/127\.0\.0\.1:(\d+) and amqp:\/\/\[::1\]:\1, everything/);
      await using peer = await openPeer(await portOf(broker));
      await using sixth = await openPeer(await portOf(broker), {}, "::1");
      broker.kill(signal);
      for (const control of [peer.channel(0), sixth.channel(0)]) {
        await control.expectClose(320, /^CONNECTION_FORCED - .*shutdown/);
      }
      const { code, stdout, stderr } = await broker.ended();
      assertEquals({ code, stdout }, { code: 0, stdout: "" });
      assertEquals(stderr.trimEnd().split("\n").length, 2, stderr);
    }
  },
);

Deno.test("a client that does not agree to the end cannot stop it; a second signal ends at once", async () => {
  await using broker = startProcess([]);
  await using peer = await openPeer(await portOf(broker));
  broker.kill("SIGTERM");
  await peer.channel(0).expect("connection.close");
  broker.kill("SIGINT");
  assertEquals((await broker.ended()).code, 130);
  await peer.ended();

  await using patient = startProcess([]);
  await using mute = await openPeer(await portOf(patient));
  patient.kill("SIGTERM");
  assertEquals((await patient.ended()).code, 0);
  await mute.ended();
});

Deno.test("SIGHUP without TLS is an orderly end", async () => {
  await using broker = startProcess([]);
  await portOf(broker);
  broker.kill("SIGHUP");
  assertEquals((await broker.ended()).code, 0);
});

Deno.test("SIGUSR2 says how many connections, queues and messages there are, and goes on", async () => {
  await using dir = await tempDir();
  await using broker = startProcess(["--data", dir.file("data")]);
  const port = await portOf(broker);
  broker.kill("SIGUSR2");
  await broker.waitForLog(/status connections=0 queues=0 ready=0 commit=done$/);
  {
    await using bench = await QueueBench.open(`amqp://127.0.0.1:${port}/`);
    await bench.send("a");
    await bench.send("b");
    broker.kill("SIGUSR2");
    await broker.waitForLog(/status connections=1 queues=1 ready=2 commit=done$/);
  }
  broker.kill("SIGTERM");
  assertEquals((await broker.ended()).code, 0);
});

ipv6Test("it listens on the addresses that are named, and the wildcards mean all", async () => {
  const rows: [listen: string[], urls: string[], reachable: string[]][] = [
    [["127.0.0.1"], ["127.0.0.1"], ["127.0.0.1"]],
    [["[::1]"], ["[::1]"], ["::1"]],
    [["127.0.0.2", "127.0.0.3", "127.0.0.2"], ["127.0.0.2", "127.0.0.3"], ["127.0.0.3"]],
    [["0.0.0.0"], ["0.0.0.0"], ["127.0.0.1", "127.0.0.9"]],
    [["0.0.0.0", "::"], ["[::]"], ["127.0.0.1", "::1"]],
    [["::", "0.0.0.0"], ["[::]"], ["127.0.0.1", "::1"]],
    [["::", "127.0.0.1"], ["[::]"], ["127.0.0.1", "::1"]],
  ];
  await forEachRow(rows, ([listen]) => listen.join(), async ([listen, urls, reachable]) => {
    await using broker = startProcess(listen.flatMap((host) => ["--listen", host]));
    const port = await portOf(broker);
    const line = broker.stderr.find((line) => line.includes("ready"))!;
    assertStringIncludes(line, urls.map((host) => `amqp://${host}:${port}`).join(" and "));
    for (const host of reachable) {
      await using _peer = await openPeer(port, {}, host);
    }
    broker.kill();
    assertEquals((await broker.ended()).code, 0);
  });
});

const namespacesMissing = await findNamespacesMissing();

Deno.test({
  ...unless(
    namespacesMissing,
    "a machine that lacks one of the loopbacks is served on the other one",
  ),
  async fn() {
    const noIpv6 = "for one in all lo; do echo 1 > /proc/sys/net/ipv6/conf/$one/disable_ipv6; done";
    const rows: [setUp: string, url: RegExp][] = [
      [noIpv6, /ready: amqp:\/\/127\.0\.0\.1:\d+, .* http:\/\/127\.0\.0\.1:\d+$/],
      ["ip addr del 127.0.0.1/8 dev lo", /ready: amqp:\/\/\[::1\]:\d+, .* http:\/\/\[::1\]:\d+$/],
    ];
    for (const [setUp, url] of rows) {
      const command = brokerCommand(["--port", "0", "--transient", "--http", "0"]);
      const script = `ip link set lo up && ${setUp} && exec "$@"`;
      await using broker = spawn("unshare", {
        args: ["-n", "sh", "-c", script, "sh", ...command],
        killOnDispose: true,
      });
      await broker.waitForLog(url);
      broker.kill();
      assertEquals((await broker.ended()).code, 0);
    }
  },
});

Deno.test("listening beyond this machine without a user is said to be useless", async () => {
  await using open = startProcess(["--listen", "0.0.0.0"]);
  await open.waitForLog(/warn: other machines can connect but not log in: .*--user/);
  await portOf(open);
  open.kill();
  await open.ended();
  await using dir = await tempDir();
  await Deno.writeTextFile(dir.file("password"), "secret\n");
  await using safe = startProcess([
    ...["--listen", "0.0.0.0", "--user", "ann", "--password-file", dir.file("password")],
  ]);
  await portOf(safe);
  safe.kill();
  assert(!/warn/.test((await safe.ended()).stderr));
});

ipv6Test("a port of one's own is taken on both loopbacks", async () => {
  const [port] = freePorts(1);
  await using broker = startProcess(["--port", `${port}`]);
  assertEquals(await portOf(broker), port);
  const peer = await openPeer(port!, {}, "::1");
  await peer.close();
  broker.kill();
  assertEquals((await broker.ended()).code, 0);
});

Deno.test("closed stdin, stdout and stderr do no harm to the data", async () => {
  await using dir = await tempDir();
  const [port] = freePorts(1);
  const data = dir.file("data");
  for (let round = 0; round < 2; round++) {
    await using shell = spawn("/bin/sh", {
      args: [
        ...["-c", 'exec "$@" <&- >&- 2>&-', "sh"],
        ...brokerCommand(["--port", `${port}`, "--data", data]),
      ],
    });
    const peer = await openWhenReady(port!);
    const channel = await peer.open();
    await channel.call("queue.declare", { queue: "tasks", durable: true });
    await channel.call("confirm.select");
    await channel.publish({ routingKey: "tasks" }, "task", { deliveryMode: 2 });
    await channel.expect("basic.ack");
    await peer.close();
    shell.kill("SIGTERM");
    assertEquals((await shell.ended()).code, 0);
  }
  await using broker = startProcess(["--data", data]);
  await using peer = await openPeer(await portOf(broker));
  const channel = await peer.open();
  const { messageCount } = await channel.call("queue.declare", { queue: "tasks", passive: true });
  assertEquals(messageCount, 2);
  await peer.close();
  broker.kill();
  await broker.ended();
});

/** For a broker that cannot say when it is ready. */
async function openWhenReady(port: number): Promise<Peer> {
  await waitForPort("the broker", port);
  return await openPeer(port);
}

Deno.test("the data are for their owner's eyes, in a folder that was there too", async () => {
  await using dir = await tempDir();
  await Deno.chmod(dir.path, 0o755);
  for (const data of [dir.path, dir.file("made/of/two")]) {
    await using broker = startProcess(["--data", data]);
    await portOf(broker);
    for (const { name } of Deno.readDirSync(data)) {
      if (!name.includes(".db")) continue;
      assertEquals(Deno.statSync(`${data}/${name}`).mode! & 0o777, 0o600, name);
    }
    broker.kill();
    assertEquals((await broker.ended()).code, 0);
  }
  assertEquals(Deno.statSync(dir.file("made")).mode! & 0o777, 0o700);
});

Deno.test("a second broker on the same data is refused", async () => {
  await using dir = await tempDir();
  await using first = startProcess(["--data", dir.path]);
  await portOf(first);
  const { code, stderr } = await refused(["--data", dir.path]);
  assertEquals(code, 75);
  assertMatch(stderr, /^broker: cannot use the data file .*: another process is using it\n$/);
  first.kill();
  assertEquals((await first.ended()).code, 0);
});

Deno.test("the disk's free space is seen with the permissions of the task", async () => {
  await using dir = await tempDir();
  await using broker = startProcess([
    ...["--data", dir.path, "--disk-free-limit", `${Number.MAX_SAFE_INTEGER}`],
  ]);
  await broker.waitForLog(/warn: publishers are blocked: the disk is almost full/);
  await portOf(broker);
  broker.kill();
  assertEquals((await broker.ended()).code, 0);
});

const HOST_MEMORY = { HOST_MEMORY: "128M" };

Deno.test("what the user says of the memory counts, on the command line and in the environment", async () => {
  const says = /there are 128 MB of memory: a message may have 10 MB/;
  const args = ["--host-memory", "128M"];
  for (const started of [() => startProcess(args), () => startProcess([], { env: HOST_MEMORY })]) {
    await using broker = started();
    const peer = await openPeer(await portOf(broker));
    await broker.waitForLog(says);
    await peer.close();
    broker.kill();
    assertEquals((await broker.ended()).code, 0);
  }
});

Deno.test("the help names every exit status and signal that these tests see", async () => {
  const { stdout, code } = await refused(["--help", "all"]);
  assertEquals(code, 0);
  for (
    const word of ["64", "65", "66", "70", "75", "77", "130", "143", "SIGTERM", "SIGHUP", "SIGUSR2"]
  ) {
    assertStringIncludes(stdout, word);
  }
  assertEquals(stdout.split("\n").filter((line) => line.length > 100), []);
});
