/** `broker backup`, `check` and `restore`: of a broker that runs, has ended, was killed, or copied. */
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { existsSync } from "node:fs";
import { backUp, restoreData } from "../../src/broker/store/still/backup.ts";
import { StorageError } from "../../src/broker/store/file/storage_error.ts";
import { openPeer, type PeerChannel } from "../support/protocol_peer.ts";
import { type Output, run, spawn } from "../support/process.ts";
import { tempDir } from "../support/temp.ts";
import { unless } from "../support/unless.ts";
import { backups } from "./backups.ts";
import { brokerCommand, portOf, startProcess } from "./harness.ts";
import { FIXTURES } from "./old_data.ts";

const PERSISTENT = { deliveryMode: 2 };
const PAGE = 4_096;

async function act(...args: string[]): Promise<Output> {
  const [command, ...rest] = brokerCommand(args);
  return await run(command, { args: rest });
}

/** A durable queue, and so many messages of so many bytes, confirmed. */
async function fill(channel: PeerChannel, queue: string, count: number, bytes = 100) {
  await channel.call("queue.declare", { queue, durable: true });
  await channel.call("confirm.select");
  for (let i = 0; i < count; i++) {
    await channel.publish({ routingKey: queue }, `${i} `.padEnd(bytes, queue[0]!), PERSISTENT);
  }
  for (let left = count, before = 0; left > 0;) {
    const { deliveryTag } = await channel.expect("basic.ack");
    left -= deliveryTag - before;
    before = deliveryTag;
  }
}

/** Every byte and time of the files of a folder. */
function stateOf(folder: string): string[] {
  return [...Deno.readDirSync(folder)].filter(({ name }) => name !== "reserve").map(({ name }) => {
    const { size, mtime } = Deno.statSync(`${folder}/${name}`);
    return `${name} ${size} ${mtime?.getTime()}`;
  }).sort();
}

Deno.test("backups under load are whole and hold what was confirmed before", async () => {
  const { lost } = await backups({ backups: 2, messages: 2_000 });
  assertEquals(lost, 0);
});

Deno.test("data are checked and backed up running, killed and ended, and restored", async () => {
  await using dir = await tempDir();
  const data = dir.file("data");
  {
    await using broker = startProcess(["--data", data]);
    await using peer = await openPeer(await portOf(broker));
    await fill(await peer.open(), "small", 200);
    const running = await act("check", "--data", data);
    assertEquals(running.code, 0, running.stderr);
    assertMatch(running.stdout, /small +200 +200\n[^]*: whole, in use by a broker\n$/);
    const second = await act("backup", "--data", data, dir.file("data/broker.db"));
    assertEquals(second.code, 65);
    assertMatch(second.stderr, /^broker: cannot write the backup .*: it is there, and is the data/);
    broker.kill("SIGKILL");
    await broker.ended();
  }
  {
    await using broker = startProcess(["--data", dir.file("fresh")]);
    await portOf(broker);
    const fresh = await act("check", dir.file("fresh"));
    assertMatch(fresh.stdout, /^\S+: whole, no queues, in use by a broker\n$/);
  }
  const before = stateOf(data);
  const killed = await act("check", data);
  assertEquals(killed.code, 0, killed.stderr);
  assertMatch(killed.stdout, /small +200 +200\n[^]*: whole\n$/);
  const made = await act("backup", "--data", data, dir.file("one.backup"));
  assertEquals(made.code, 0, made.stderr);
  assertMatch(made.stdout, /one\.backup: 200 messages in 1 queue, \d+ bytes\n/);
  assertEquals(stateOf(data), before, "nothing was written");

  const folder = await act("backup", "--data", data, dir.path);
  assertEquals(folder.code, 66);
  assertMatch(folder.stderr, /^broker: cannot write the backup .*: it is a folder, and must be a/);
  if (Deno.build.os === "linux") {
    const device = await act("backup", "--data", data, "/dev/full");
    // An older Deno lets programs read it: then it is what it is.
    const sentence = device.code === 65
      ? /^broker: cannot write the backup \/dev\/full: it is there, and is no backup\n$/
      : /^broker: cannot write \/dev\/full: devices and system files are closed/;
    assertMatch(device.stderr, sentence);
    assert([65, 66].includes(device.code), `${device.code}`);
  }
  const folderBack = await act("restore", "--data", dir.file("none"), dir.path);
  assertEquals(folderBack.code, 66);
  assertMatch(
    folderBack.stderr,
    /^broker: cannot restore .*: it is a folder, and must be a file\n$/,
  );
  const beyond = dir.file("one.backup/file");
  for (const args of [["check", beyond], ["restore", beyond], ["backup", beyond]]) {
    const { code, stderr } = await act(...args, "--data", args[0] === "restore" ? beyond : data);
    assertEquals(code, 66);
    assertMatch(stderr, /^broker: cannot [^\n]*: not a directory\n$/);
  }
  const whole = Deno.readFileSync(dir.file("one.backup"));
  for (const [name, bytes] of [["cut", whole.subarray(0, 20_000)], ["text", "x".repeat(9_999)]]) {
    const bad = dir.file(name as string);
    Deno.writeFileSync(bad, typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes!);
    const refused = await act("restore", "--data", `${dir.file("none")}/in/it/`, bad);
    assertEquals(refused.code, 65);
    assert(!existsSync(dir.file("none")), "nothing is left");
    assertMatch(
      refused.stderr,
      new RegExp(`^broker: cannot use the data file ${bad}: it is damaged`),
    );
  }

  const full = await act("restore", "--data", data, dir.file("one.backup"));
  assertEquals(full.code, 65);
  assertMatch(full.stderr, /^broker: cannot restore into .*: there is .*broker\.db\n$/);
  const back = await act("restore", "--data", dir.file("back"), dir.file("one.backup"));
  assertEquals(back.code, 0, back.stderr);
  await using broker = startProcess(["--data", dir.file("back")]);
  await using peer = await openPeer(await portOf(broker));
  const channel = await peer.open();
  const { messageCount } = await channel
    .call("queue.declare", { queue: "small", durable: true, passive: true });
  assertEquals(messageCount, 200);
  assert(!broker.stderr.some((line) => line.includes("copy")), "it is no copy");
  await peer.close();
  broker.kill();
  assertEquals((await broker.ended()).code, 0);
  const ended = await act("check", "--data", dir.file("back"));
  assertEquals(ended.code, 0);
  assertMatch(ended.stdout, /small +200 +200\n[^]*: whole\n$/);
});

Deno.test("check names what is damaged and counts what can be read; copies are found out", async () => {
  await using dir = await tempDir();
  const data = dir.file("data");
  {
    await using broker = startProcess(["--data", data]);
    await using peer = await openPeer(await portOf(broker));
    const channel = await peer.open();
    await fill(channel, "good", 10);
    await fill(await peer.open(2), "large", 10, 40_000);
    await fill(await peer.open(3), "small", 2_000);
    await peer.close();
    // While it runs: a copy of the file alone, and one of the folder.
    for (
      const [name, files] of [["alone", ["broker.db"]], ["both", ["broker.db", "broker.db-wal"]]]
    ) {
      Deno.mkdirSync(dir.file(name as string));
      for (const file of files!) Deno.copyFileSync(`${data}/${file}`, dir.file(`${name}/${file}`));
    }
    broker.kill();
    assertEquals((await broker.ended()).code, 0);
  }
  const alone = await act("check", dir.file("alone"));
  assertEquals(alone.code, 65);
  assertMatch(alone.stdout, /the log that belongs to it is not beside it/);
  const both = await act("check", dir.file("both"));
  assertEquals(both.code, 0, both.stdout);
  assertStringIncludes(both.stdout, "whole, a copy of data that a broker was using");

  const path = dir.file("data/broker.db");
  const bytes = await Deno.readFile(path);
  const pagesOf = (letter: string) =>
    Array.from({ length: bytes.length / PAGE }, (_, i) => i).filter((page) =>
      bytes.subarray(page * PAGE, (page + 1) * PAGE)
        .filter((byte) => byte === letter.charCodeAt(0)).length > PAGE / 2
    );
  const small = pagesOf("s");
  for (const page of small.slice(5, 8)) bytes.fill(0xff, page * PAGE, (page + 1) * PAGE);
  // In the middle of a body, another one's bytes.
  bytes.fill(0x78, pagesOf("l")[20]! * PAGE + 1_000, pagesOf("l")[20]! * PAGE + 1_100);
  await Deno.writeFile(path, bytes);
  const { code, stdout, stderr } = await act("check", "--data", data);
  assertEquals(code, 65, stderr);
  assertMatch(stdout, /good +10 +10\n/);
  assertMatch(stdout, /large +10 +9\n/);
  const read = Number(stdout.match(/small +2000 +(\d+)\n/)?.[1]);
  assert(read > 1_800 && read < 2_000, stdout);
  assertMatch(stdout, /damaged: queue "large" of "\/": 1 messages have other bytes/);
  assertMatch(
    stdout,
    new RegExp(`damaged: queue "small" of "/": ${2_000 - read} of 2000 messages`),
  );
  assertMatch(stdout, /broker\.db: damaged\n$/);
  const forPrograms = await act("check", "--json", "--data", data);
  assertEquals(forPrograms.code, 65);
  const { damage, queues, ...rest } = JSON.parse(forPrograms.stdout);
  assertEquals(rest, { path, whole: false, in_use: false, copy: false });
  assertEquals(
    queues,
    [["good", 10, 10], ["large", 10, 9], ["small", 2_000, read]]
      .map(([queue, messages, readable]) => ({ vhost: "/", queue, messages, readable })),
  );
  assertMatch(damage.join("\n"), /^queue "large" of "\/": 1 messages have other bytes/m);
  const refused = await act("backup", "--data", data, dir.file("none.backup"));
  assertEquals(refused.code, 65, refused.stdout);
  assert(![...Deno.readDirSync(dir.path)].some(({ name }) => name.startsWith("none")));

  await Deno.writeTextFile(dir.file("text"), "no data".repeat(1_000));
  assertEquals((await act("check", dir.file("text"))).code, 65);
  const absent = await act("check", dir.file("absent"));
  assertEquals(absent.code, 66);
  assertMatch(absent.stderr, /^broker: cannot read the data of a broker in ".*": there is none\n$/);
});

Deno.test("a backup that is killed leaves no file of its name, and the broker goes on", async () => {
  await using dir = await tempDir();
  const data = dir.file("data");
  // Of a check that was killed while a former broker ran.
  const left = ["", "-wal", "-shm"].map((end) => `broker.db.check${end}`);
  Deno.mkdirSync(data, { mode: 0o700 });
  for (const name of left) Deno.writeTextFileSync(`${data}/${name}`, "left");
  await using broker = startProcess(["--data", data]);
  await using peer = await openPeer(await portOf(broker));
  const names = [...Deno.readDirSync(data)].map(({ name }) => name);
  assertEquals(names.filter((name) => left.includes(name)), []);
  const channel = await peer.open();
  await fill(channel, "small", 100);
  // The broker is asked, and nobody takes its answer.
  Deno.writeTextFileSync(`${data}/standstill-wanted`, "15\n");
  const started = Date.now();
  while (![...Deno.readDirSync(data)].some(({ name }) => name === "standstill")) {
    assert(Date.now() < started + 30_000);
    await channel.call("queue.declare", { queue: "small", durable: true });
  }
  await fill(await peer.open(2), "small", 100);
  const busy = await act("backup", "--data", data, dir.file("one.backup"));
  assertEquals(busy.code, 75);
  assertMatch(busy.stderr, /another process is copying or checking it/);
  Deno.removeSync(`${data}/standstill`);
  const made = await act("backup", "--data", data, dir.file("one.backup"));
  assertEquals(made.code, 0, made.stderr);
  assertMatch(made.stdout, /: 200 messages in 1 queue/);
  await peer.close();
  broker.kill();
  assertEquals((await broker.ended()).code, 0);
});

Deno.test("a check that a signal ends leaves no copy", async () => {
  await using dir = await tempDir();
  const data = dir.file("data");
  await using broker = startProcess(["--data", data]);
  await using peer = await openPeer(await portOf(broker));
  const channel = await peer.open();
  await fill(channel, "large", 400, 100_000);
  const isCopy = (name: string) => name.includes("broker.db.check");
  const names = () => [...Deno.readDirSync(data)].map(({ name }) => name);
  const [command, ...args] = brokerCommand(["check", "--data", data]);
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    // It may be done before it hears the signal.
    for (let isCaught = false; !isCaught;) {
      const watcher = Deno.watchFs(data);
      await using check = spawn(command, { args });
      const ended = check.ended().finally(() => watcher.close());
      for await (const { paths } of watcher) if (paths.some(isCopy)) break;
      check.kill(signal);
      const { code, stderr, stdout } = await ended;
      isCaught = code >= 128;
      assert(isCaught || code === 0, stdout + stderr);
      assertEquals(names().filter(isCopy), []);
    }
  }
  await peer.close();
  broker.kill();
  assertEquals((await broker.ended()).code, 0);
});

Deno.test("data of an older version are no damaged ones", async () => {
  const { code, stdout } = await act("check", `${FIXTURES}v9.db`);
  assertEquals(code, 65);
  assertMatch(
    stdout,
    /^\S+v9\.db: not checked, it has version 9: a broker that starts on it makes it \d+\n$/,
  );
});

Deno.test({
  ...unless(
    Deno.uid() === 0 ? undefined : "only root gives files to others",
    "what root restores belongs to the owner of the folder",
  ),
  fn: async () => {
    await using dir = await tempDir();
    const data = dir.file("data");
    await Deno.mkdir(data);
    await Deno.chown(data, 65_534, 65_533);
    const { code, stderr } = await act("restore", "--data", data, `${FIXTURES}v9.db`);
    assertEquals(code, 0, stderr);
    const { uid, gid } = await Deno.stat(`${data}/broker.db`);
    assertEquals({ uid, gid }, { uid: 65_534, gid: 65_533 });
  },
});

Deno.test({
  ...unless(
    Deno.uid() === 0 ? undefined : "only root gives files to others",
    "the owner of the folder gets no file by a link that he puts there meanwhile",
  ),
  fn: async () => {
    await using dir = await tempDir();
    const data = dir.file("data");
    const others = dir.file("others");
    await Deno.mkdir(data);
    await Deno.chown(data, 65_534, 65_533);
    await Deno.writeTextFile(others, "root's");
    const partial = `${data}/broker.db.partial`;
    assertThrows(
      () =>
        restoreWhile(data, () => {
          Deno.removeSync(partial);
          Deno.symlinkSync(others, partial);
        }),
      StorageError,
    );
    assertEquals([Deno.statSync(others).uid, await Deno.readTextFile(others)], [0, "root's"]);
  },
});

Deno.test("data that come to the folder while it is restored into stay, as of a broker that is started", async () => {
  await using dir = await tempDir();
  const data = dir.file("data");
  const path = `${data}/broker.db`;
  assertThrows(
    () => restoreWhile(data, () => Deno.writeTextFileSync(path, "a broker's")),
    StorageError,
    `cannot restore into ${data}: there is ${path}`,
  );
  assertEquals(await Deno.readTextFile(path), "a broker's");
});

Deno.test("a backup goes into no file of somebody else, as in a folder for all", async () => {
  await using dir = await tempDir();
  const target = dir.file("backup.db");
  const foreign = `${target}.partial`;
  await Deno.writeTextFile(foreign, "another's");
  const { removeSync } = Deno;
  Deno.removeSync = (path, options) => {
    if (path === foreign) throw new Deno.errors.PermissionDenied("the folder is sticky");
    removeSync(path, options);
  };
  try {
    await assertRejects(() => backUp(`${FIXTURES}v9.db`, target), StorageError, "cannot write");
  } finally {
    Deno.removeSync = removeSync;
  }
  assertEquals(await Deno.readTextFile(foreign), "another's");
});

/** @param act done when the data were copied, before they have their name */
function restoreWhile(data: string, act: () => void): void {
  const { statSync } = Deno;
  Deno.statSync = (path) => {
    if (path === data && existsSync(`${data}/broker.db.partial`)) act();
    return statSync(path);
  };
  try {
    restoreData(`${FIXTURES}v9.db`, data);
  } finally {
    Deno.statSync = statSync;
  }
}
