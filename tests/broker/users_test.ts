import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { DataFile } from "../../src/broker/store/file/data_file.ts";
import { Store } from "../../src/broker/store/store.ts";
import { type LoginAttempt, Users } from "../../src/broker/connection/users.ts";
import { pause } from "../../src/time/timer.ts";
import { ipv6Missing } from "../support/ipv6.ts";
import { run } from "../support/process.ts";
import { connectPeer, openPeer, type Peer, PeerGone } from "../support/protocol_peer.ts";
import { tempDir } from "../support/temp.ts";
import { unless } from "../support/unless.ts";
import { within } from "../support/wait.ts";
import { WireWriter } from "../support/wire.ts";
import { findNamespacesMissing, portOf, startHere, startProcess } from "./harness.ts";

const REFUSED = (mechanism: string) =>
  `ACCESS_REFUSED - Login was refused using authentication mechanism ${mechanism}. For details ` +
  "see the broker logfile.";

/** On a busy machine a hash may take longer than a handshake may. */
const LIMITS = { distrustMs: 1, handshakeMs: 3_600_000 };

/** A connection that has sent its login. */
async function loggingIn(port: number, user: string, password: string): Promise<Peer> {
  const peer = await connectPeer(port);
  await peer.greet();
  await peer.login({ user, password });
  return peer;
}

async function expectRefused(port: number, user: string, password: string): Promise<void> {
  await using peer = await loggingIn(port, user, password);
  await peer.channel(0).expectClose(403, REFUSED("PLAIN"));
  await peer.ended();
}

/** At a broker with the limits that it has by itself: again, should a hash take longer than those. */
async function inTime<T>(logIn: () => Promise<T>): Promise<T> {
  for (let tries = 1;; tries++) {
    try {
      return await logIn();
    } catch (error) {
      if (!(error instanceof PeerGone) || tries === 5) throw error;
    }
  }
}

Deno.test("--user replaces guest, stays in the data, and its password is nowhere to be read", async () => {
  await using dir = await tempDir();
  const secret = "s3cret \u00e4 with spaces";
  await Deno.writeTextFile(dir.file("password"), `${secret}\n`);
  const data = ["--data", dir.file("data")];
  const user = ["--user", "ann", "--password-file", dir.file("password")];
  for (const args of [[...data, ...user], data]) {
    await using broker = startProcess(args);
    const port = await portOf(broker);
    const peer = await inTime(() => openPeer(port, { user: "ann", password: secret }));
    await inTime(() => expectRefused(port, "guest", "guest"));
    await inTime(() => expectRefused(port, "ann", "wrong"));
    await peer.close();
    for (const file of [`/proc/${broker.pid}/cmdline`, `/proc/${broker.pid}/environ`]) {
      assert(!Deno.readTextFileSync(file).includes("s3cret"), file);
    }
    for (const { name } of Deno.readDirSync(dir.file("data"))) {
      const bytes = await Deno.readFile(dir.file(`data/${name}`));
      assert(!new TextDecoder("latin1").decode(bytes).includes("s3cret"), name);
    }
    broker.kill();
    const { stderr } = await broker.ended();
    assert(!stderr.includes("s3cret"), stderr);
    assertStringIncludes(stderr, "warn: login refused user=ann");
  }
  const file = new TextDecoder("latin1").decode(await Deno.readFile(dir.file("data/broker.db")));
  assertStringIncludes(file, "scrypt$");
});

Deno.test("a password is changed by naming the user again; other users stay", async () => {
  await using dir = await tempDir();
  const logins = [["ann", "one"], ["bob", "two"], ["ann", "three"]] as const;
  for (const [name, password] of logins) {
    await using _broker = await startHere({ folder: dir.path, user: { name, password } });
  }
  await using broker = await startHere({ folder: dir.path, limits: LIMITS });
  for (const [user, password] of [["bob", "two"], ["ann", "three"]] as const) {
    await using _peer = await openPeer(broker.port, { user, password });
  }
  await expectRefused(broker.port, "ann", "one");
  await expectRefused(broker.port, "nobody", "one");
});

Deno.test("odd logins are refused like wrong ones, malformed ones without a word", async () => {
  await using broker = await startHere({ limits: { ...LIMITS, silenceMs: 1 } });
  const odd = ["\0\0", "\0guest\0", `\0guest\0${"x".repeat(3_000)}`, "\0\ufeffguest\0guest"];
  const malformed: [mechanism: string, response: string][] = [
    ["PLAIN", ""],
    ["PLAIN", "\0"],
    ["PLAIN", "\0guest"],
    ["PLAIN", "guest\0guest"],
    ["PLAIN", "\0guest\0guest\0"],
    ["PLAIN", "\0guest\0guest\0x"],
    ["PLAIN", "root\0guest\0guest"],
    ["AMQPLAIN", ""],
    ["AMQPLAIN", "rubbish"],
    ["AMQPLAIN", amqplain({ LOGIN: "guest" })],
    ["AMQPLAIN", amqplain({ LOGIN: "guest", PASSWORD: 7 })],
    ["AMQPLAIN", amqplain({ login: "guest", password: "guest" })],
    ["AMQPLAIN", amqplain({ LOGIN: "guest", PASSWORD: "guest" }).slice(0, -1)],
  ];
  const logIn = async (
    mechanism: string,
    response: string,
    check: (peer: Peer) => Promise<unknown>,
  ) => {
    await using peer = await connectPeer(broker.port);
    await peer.greet();
    await peer.login({ mechanism, response });
    await check(peer).catch((error) => {
      const shown = JSON.stringify(response.slice(0, 50));
      throw new Error(`${mechanism} ${shown}: ${error.message}`, { cause: error });
    });
    await peer.ended();
  };
  await Promise.all([
    ...odd.map((response) =>
      logIn("PLAIN", response, (peer) => peer.channel(0).expectClose(403, REFUSED("PLAIN")))
    ),
    ...malformed.map(([mechanism, response]) =>
      logIn(mechanism, response, (peer) => assertRejects(() => peer.channel(0).frame(), PeerGone))
    ),
  ]);
  assert(!broker.log.lines.some((line) => line.includes("xxx")), "a password in the log");
});

Deno.test("whoever guesses waits, and nobody waits for him", async () => {
  const user = { name: "ann", password: "secret" };
  const hosts = ["127.0.0.1", ...ipv6Missing ? [] : ["::1"]];
  await using broker = await startHere({
    user,
    hosts,
    limits: { distrustMs: 3_600_000, handshakeMs: 3_600_000 },
  });
  const guesses = Array.from({ length: 20 }, (_, n) => loggingIn(broker.port, "ann", `guess ${n}`));
  const guessers = await Promise.all(guesses);
  const login = { user: "ann", password: "secret" };
  for (const address of hosts) {
    await using _peer = await openPeer(broker.port, login, address);
  }
  for (const guesser of guessers) {
    assertEquals(guesser.channel(0).unread, 0);
    await guesser[Symbol.asyncDispose]();
  }
});

/** The users of a broker that has not seen any of them log in. */
async function usersOf(folder: string): Promise<Disposable & { users: Users }> {
  const broker = await startHere({ folder, user: { name: "ann", password: "secret" } });
  await broker[Symbol.asyncDispose]();
  const store = new Store({
    file: new DataFile(folder),
    onFailure: () => {},
    onChange: () => {},
    onDiscard: () => {},
  });
  return { users: new Users(store), [Symbol.dispose]: () => store.close() };
}

function login(password: string, address: string, user = "ann"): LoginAttempt {
  return { user, password, address, isWanted: () => true };
}

Deno.test("a crowd of wrong logins from changing addresses keeps nobody out", async () => {
  await using dir = await tempDir();
  using place = await usersOf(dir.path);
  const { users } = place;
  const crowd = Array.from({ length: 6 }, (_, n) => `2001:db8:0:${n}::1`);
  for (const address of crowd) assertEquals(await users.check(login("guess", address)), false);
  // Each of them goes on from other addresses of its network, more of them than there is room for.
  const verdicts: string[] = [];
  const guesses = Array.from({ length: 300 }, async (_, n) => {
    const address = `2001:db8:0:${n % crowd.length}::${n.toString(16)}`;
    verdicts.push(await users.check(login(`guess ${n}`, address)).then(String, ({ name }) => name));
  });
  const newcomer = "2001:db8:1::1";
  assertEquals(await users.check(login("secret", newcomer)), true);
  const hashed = verdicts.filter((verdict) => verdict === "false").length;
  assert(hashed <= 8, `${hashed} guesses were hashed before`);
  // From now on a guess costs nothing.
  assertEquals(await users.check(login("secret", crowd[0]!)), true);
  for (let n = 0; n < 1_000; n++) {
    assertEquals(await users.check(login(`guess ${n}`, crowd[0]!)), false);
    assertEquals(await users.check(login(`guess ${n}`, crowd[0]!, "nobody")), false);
  }
  await Promise.all(guesses);
  assertEquals(verdicts.filter((verdict) => verdict !== "CrowdedError" && verdict !== "false"), []);
  await users.add("ann", "other");
  assertEquals(await users.check(login("secret", newcomer)), false);
  assertEquals(await users.check(login("other", newcomer)), true);
});

Deno.test("a right password that comes again gets in, however many networks guess", async () => {
  await using dir = await tempDir();
  using place = await usersOf(dir.path);
  const { users } = place;
  let over = false;
  let network = 0;
  const crowded = Promise.withResolvers<void>();
  // More than wait, and each from a network that nobody has seen.
  const crowd = Array.from({ length: 300 }, async () => {
    while (!over) {
      const address = `2001:db8:${(++network).toString(16)}::1`;
      await users.check(login(`guess ${network}`, address)).catch(() => {
        crowded.resolve();
        return pause(20);
      });
    }
  });
  await within("more guesses than may wait", crowded.promise);
  let tries = 0;
  for (let isIn = false; !isIn;) {
    tries++;
    isIn = await users.check(login("secret", "2001:db8:ffff::1"))
      .catch(() => pause(100).then(() => false));
  }
  over = true;
  await Promise.all(crowd);
  assert(tries <= 3, `it took ${tries} tries`);
});

Deno.test("who waits for a hash when the broker ends is refused without one", async () => {
  await using dir = await tempDir();
  using place = await usersOf(dir.path);
  const guesses = Array.from({ length: 60 }, async (_, n) => {
    const attempt = login(`guess ${n}`, `192.0.2.${n}`);
    return await place.users.check(attempt).then(() => "hashed", ({ name }) => name);
  });
  place.users.stop();
  const refused = (await Promise.all(guesses)).filter((verdict) => verdict === "CrowdedError");
  assert(refused.length >= 50, `only ${refused.length} were refused`);
});

Deno.test("all clients of a user may come at once after a restart", async () => {
  await using dir = await tempDir();
  using place = await usersOf(dir.path);
  const all = Array.from({ length: 500 }, (_, n) => {
    return place.users.check(login("secret", `192.0.2.${n % 250}`));
  });
  assertEquals((await Promise.all(all)).filter((isRight) => !isRight), []);
});

Deno.test("refused logins are counted in the log instead of written each", async () => {
  const broker = await startHere({ limits: LIMITS });
  const { log } = broker;
  for (let n = 0; n < 30; n++) await expectRefused(broker.port, `stranger ${n}`, "guess");
  await broker[Symbol.asyncDispose]();
  const lines = log.lines.filter((line) => line.startsWith("login refused"));
  assertEquals(lines.length, 11, lines.join("\n"));
  assertStringIncludes(lines[0]!, '"user":"stranger 0"');
  assertStringIncludes(lines[10]!, '"more":20');
});

const namespacesMissing = await findNamespacesMissing();

Deno.test({
  ...unless(namespacesMissing, "guest logs in from this machine only, a user from everywhere"),
  async fn() {
    const script = 'ip link set lo up && ip addr add 192.0.2.1/32 dev lo && exec "$@"';
    const { stdout, stderr } = await run("unshare", {
      args: [
        ...["-n", "sh", "-c", script, "sh", Deno.execPath(), "run", "--quiet", "-A", "--config"],
        new URL("../../deno.json", import.meta.url).pathname,
        new URL("elsewhere.ts", import.meta.url).pathname,
      ],
    });
    const alone = (listen: string) => [
      `${listen} alone guest@127.0.0.1: welcome`,
      `${listen} alone ann@127.0.0.1: 403`,
      `${listen} alone guest@192.0.2.1: 403`,
      `${listen} alone ann@192.0.2.1: 403`,
    ];
    const expected = [
      ...alone("0.0.0.0"),
      ...alone("::"),
      "0.0.0.0 with a user guest@127.0.0.1: 403",
      "0.0.0.0 with a user ann@127.0.0.1: welcome",
      "0.0.0.0 with a user guest@192.0.2.1: 403",
      "0.0.0.0 with a user ann@192.0.2.1: welcome",
    ];
    assertEquals(stdout.trimEnd().split("\n"), expected, stderr);
  },
});

function amqplain(table: Record<string, unknown>): string {
  const writer = new WireWriter();
  writer.table(table);
  return new TextDecoder().decode(writer.take().subarray(4));
}

Deno.test("naming a user again with the same password writes nothing", async () => {
  const store = new Store({ file: new DataFile(undefined), onFailure: () => {} });
  await new Users(store).add("ann", "one");
  const secret = store.users.secretOf("ann");
  await new Users(store).add("ann", "one");
  assertEquals(store.users.secretOf("ann"), secret);
  await new Users(store).add("ann", "two");
  assert(store.users.secretOf("ann") !== secret);
  store.close();
});
