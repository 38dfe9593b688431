/** Data with which the broker does not start stay what they were: each file, and every byte of it. */
import { assertEquals, assertMatch } from "@std/assert";
import { createHash } from "node:crypto";
import { DatabaseSync } from "node:sqlite";
import { openPeer } from "../support/protocol_peer.ts";
import { run } from "../support/process.ts";
import { type TempDir, tempDir } from "../support/temp.ts";
import { brokerCommand, portOf, startProcess } from "./harness.ts";

const DATA = "broker.db";

/** Makes version 9 of the present one. */
const OLD = `DROP TABLE pack; PRAGMA user_version = 9; ALTER TABLE discarded DROP COLUMN of;
  DROP TABLE chunk; DROP TRIGGER IF EXISTS message_gone; DROP INDEX shared_gone;
  ALTER TABLE shared DROP COLUMN body;`;
const LOG = "broker.db-wal";
const PAGE = 4_096;

/** What a broker that was killed, and a check beside it, may leave. */
const LEFT_BEHIND = ["scratch.db", "reserve", "broker.db.check", "standstill-wanted"];

/** The files of a folder, each with a hash of its bytes. */
function filesOf(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => {
    const bytes = Deno.readFileSync(`${folder}/${name}`);
    return `${name} ${bytes.length} ${createHash("sha256").update(bytes).digest("hex")}`;
  }).sort();
}

/** Data of a broker that was killed: a part of them is in the log. */
async function makeKilled(folder: string): Promise<void> {
  {
    await using broker = startProcess(["--data", folder]);
    await using peer = await openPeer(await portOf(broker));
    const channel = await peer.open();
    await channel.call("confirm.select");
    for (const queue of ["one", "two"]) {
      await channel.call("queue.declare", { queue, durable: true });
      for (let i = 0; i < 20; i++) {
        await channel.publish({ routingKey: queue }, queue.repeat(200), { deliveryMode: 2 });
        await channel.expect("basic.ack");
      }
    }
    await channel.call("basic.qos", { prefetchCount: 1 });
    await channel.call("basic.consume", { queue: "one" });
    await channel.expectContent("basic.deliver");
    broker.kill("SIGKILL");
    await broker.ended();
  }
  for (const name of LEFT_BEHIND) Deno.writeTextFileSync(`${folder}/${name}`, "left behind");
}

/** The same files, with the same log, after some SQL: closing it would empty the log. */
function change(folder: string, sql: string): void {
  const [data, log] = [`${folder}/${DATA}`, `${folder}/${LOG}`];
  const database = new DatabaseSync(data);
  database.exec(sql);
  const [dataBytes, logBytes] = [Deno.readFileSync(data), Deno.readFileSync(log)];
  database.close();
  // The file itself: another one would be taken for a copy.
  Deno.writeFileSync(data, dataBytes);
  Deno.writeFileSync(log, logBytes);
}

/** What the log holds gets into the file. */
function emptyLog(folder: string): void {
  const database = new DatabaseSync(`${folder}/${DATA}`);
  database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  database.close();
}

/** Pages whose type is that of a table's leaf are no pages of SQLite any more. */
function damage(folder: string, first: number, last: number): void {
  using file = Deno.openSync(`${folder}/${DATA}`, { write: true });
  for (let page = first; page <= last; page++) {
    file.seekSync(page * PAGE, Deno.SeekMode.Start);
    file.writeSync(new Uint8Array(100).fill(0xa5));
  }
}

async function copyTo(folder: string, killed: string): Promise<void> {
  await Deno.mkdir(folder);
  for (const { name } of Deno.readDirSync(killed)) {
    await Deno.copyFile(`${killed}/${name}`, `${folder}/${name}`);
  }
}

interface Case {
  name: string;
  /** Given the folder, which has the data of a broker that was killed. */
  prepare: (folder: string) => void;
  /** Has it while the broker tries to start. */
  hold?: (folder: string) => Disposable;
  code: number;
  says: RegExp;
  /** It is where the broker was killed, and not a copy of it. */
  isOriginal?: true;
}

const CASES: readonly Case[] = [
  {
    name: "of a newer version",
    prepare: (folder) => change(folder, "PRAGMA user_version = 1000"),
    code: 65,
    says: /it has version 1000, this broker knows up to \d+\n$/,
  },
  {
    name: "of a newer version, from a backup",
    prepare(folder) {
      change(folder, "DELETE FROM in_use; PRAGMA user_version = 1000");
      const database = new DatabaseSync(`${folder}/${DATA}`);
      database.exec("PRAGMA journal_mode = DELETE");
      database.close();
    },
    code: 65,
    says: /it has version 1000, this broker knows up to \d+\n$/,
  },
  {
    name: "of another program",
    prepare: (folder) => change(folder, "PRAGMA application_id = 7"),
    code: 65,
    says: /it is a SQLite file of another program\n$/,
  },
  {
    name: "of another program, without an id",
    prepare: (folder) => change(folder, "PRAGMA application_id = 0; PRAGMA user_version = 0"),
    code: 65,
    says: /it is a SQLite file of another program\n$/,
  },
  {
    name: "with a damaged beginning",
    prepare(folder) {
      Deno.writeFileSync(`${folder}/${LOG}`, new Uint8Array());
      damage(folder, 0, 0);
    },
    code: 65,
    says: /it is damaged or not a data file of this broker\n$/,
  },
  {
    name: "without a table",
    prepare: (folder) => change(folder, "ALTER TABLE paused RENAME TO lost"),
    code: 66,
    says: /no such table: paused\n$/,
    isOriginal: true,
  },
  {
    name: "of an old version, and without a table",
    prepare: (folder) =>
      change(
        folder,
        OLD +
          "ALTER TABLE lane RENAME TO lost",
      ),
    code: 66,
    says: /no such table: lane\n$/,
    isOriginal: true,
  },
  {
    name: "a copy that is not whole",
    prepare(folder) {
      emptyLog(folder);
      const { size } = Deno.statSync(`${folder}/${DATA}`);
      damage(folder, size / PAGE - 3, size / PAGE - 1);
      change(folder, "CREATE TABLE more(value)");
    },
    code: 65,
    says: /it was copied while a broker was using it, and is not whole/,
  },
  {
    name: "a copy that is not whole, and of an old version",
    prepare: (folder) =>
      change(
        folder,
        OLD +
          "ALTER TABLE lane DROP COLUMN last_position; UPDATE lane SET depth = 100",
      ),
    code: 65,
    says: /it was copied while a broker was using it, and is not whole/,
  },
  {
    name: "whose log has lost its file",
    prepare: (folder) => Deno.removeSync(`${folder}/${DATA}`),
    code: 66,
    says: /it is missing or empty, and there is .*, which holds data that belong to it\n$/,
  },
  {
    name: "that another process is using",
    prepare: (folder) => change(folder, "CREATE TABLE more(value)"),
    hold(folder) {
      const database = new DatabaseSync(`${folder}/${DATA}`);
      database.exec("PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE");
      return database;
    },
    code: 75,
    says: /another process is using it\n$/,
  },
];

Deno.test("data with which the broker does not start are left as they are, with their log", async (t) => {
  await using dir: TempDir = await tempDir();
  const killed = dir.file("killed");
  await makeKilled(killed);
  for (const [number, { name, prepare, hold, code, says, isOriginal }] of CASES.entries()) {
    await t.step(name, async () => {
      const folder = dir.file(isOriginal ? `killed${number}` : `copy${number}`);
      if (isOriginal) await makeKilled(folder);
      else await copyTo(folder, killed);
      prepare(folder);
      const before = filesOf(folder);
      using _held = hold?.(folder);
      const [command, ...args] = brokerCommand(["--port", "0", "--data", folder]);
      const refused = await run(command, { args });
      assertEquals(refused.code, code, refused.stderr);
      assertMatch(refused.stderr, says);
      assertEquals(filesOf(folder), before);
    });
  }
});
