import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { ToolError } from "../../src/errors.ts";
import { createLogger } from "../../src/observe/log.ts";
import type { ReceivedTask } from "../../src/task/task.ts";
import { openDedupe } from "../../src/worker/dedupe.ts";
import { run } from "../support/process.ts";
import { taskWith } from "../support/task.ts";
import { tempDir } from "../support/temp.ts";

const log = createLogger({ name: "test", write: () => {} });
const DAY_MS = 86_400_000;

const task = taskWith();

Deno.test("a dedupe file that cannot be used ends with the status of its reason", async () => {
  await using dir = await tempDir("dedupe-");
  const locked = dir.file("locked.db");
  using other = new DatabaseSync(locked);
  other.exec("BEGIN EXCLUSIVE");
  await Deno.writeTextFile(dir.file("text"), "no database ".repeat(100));
  const foreign = dir.file("foreign.db");
  using another = new DatabaseSync(foreign);
  another.exec("CREATE TABLE done (something)");
  const rows = [
    [locked, 75, /is locked$/],
    ["/dev/full", 75, /disk is full$/],
    [dir.file("none/done.db"), 66, /unable to open/],
    [dir.path, 66, /unable to open/],
    ["", 66, /unable to open/],
    [dir.file("text"), 65, /not a database$/],
    [foreign, 65, /no such column/],
  ] as const;
  for (const [path, status, words] of rows) {
    const error = await assertRejects(() => openDedupe(path, DAY_MS, log), ToolError);
    assertEquals(error.exitCode, status, error.message);
    assertMatch(error.message, words);
  }
});

Deno.test("a dedupe file of any name keeps its ids", async () => {
  await using dir = await tempDir("dedupe-");
  // In a process of its own: tests that run beside this one have the same directory.
  const program = new URL("dedupe_names.ts", import.meta.url).pathname;
  const names = ["done.db", ":memory:", "file:done.db?mode=memory"];
  const { stdout, stderr } = await run(Deno.execPath(), {
    args: ["run", "-A", "--no-check", program, ...names],
    cwd: dir.path,
  });
  assertEquals(stdout, names.map((name) => `${name} true\n`).join(""), stderr);
});

/** Clocks that a test sets. */
function testClocks(wall: number) {
  return {
    time: { wall, monotonic: 0 },
    wall() {
      return this.time.wall;
    },
    monotonic() {
      return this.time.monotonic;
    },
  };
}

Deno.test("ids are kept when the host's clock is set, and for no longer than asked otherwise", async () => {
  await using dir = await tempDir("dedupe-");
  const path = dir.file("done.db");
  const clocks = testClocks(60_000); // A board that begins in 1970 ...
  const first = await openDedupe(path, DAY_MS, log, clocks);
  first.add(task);
  clocks.time.wall = Date.UTC(2026, 0, 1); // ... hears what time it is ...
  assertEquals(first.has(task), true);
  first.add({ ...task, id: "u" });
  first.close();
  clocks.time.wall += 50 * 365 * DAY_MS; // ... is told nonsense, and corrected.
  for (const wall of [clocks.time.wall, 0, Date.UTC(2026, 0, 1)]) {
    clocks.time.wall = wall;
    const again = await openDedupe(path, DAY_MS, log, clocks);
    assertEquals([again.has(task), again.has({ ...task, id: "u" })], [true, true]);
    again.close();
  }
  const last = await openDedupe(path, DAY_MS, log, clocks);
  clocks.time.monotonic += DAY_MS;
  assertEquals(last.has(task), false);
  last.close();
});

Deno.test("ids of a worker that runs for seconds now and then do not stay for ever", async () => {
  await using dir = await tempDir("dedupe-");
  const path = dir.file("done.db");
  const clocks = testClocks(Date.UTC(2026, 0, 1));
  const first = await openDedupe(path, DAY_MS, log, clocks);
  first.add(task);
  first.close();
  for (let hour = 1; hour <= 24; hour++) {
    clocks.time.wall += 3_600_000;
    const again = await openDedupe(path, DAY_MS, log, clocks);
    assertEquals(again.has(task), hour < 24, `hour ${hour}`);
    again.close();
  }
});

Deno.test("ids are told apart byte for byte", async () => {
  await using dir = await tempDir("dedupe-");
  const dedupe = await openDedupe(dir.file("done.db"), DAY_MS, log);
  /** A task whose id is these bytes, as it comes from a broker. */
  function taskOf(...id: number[]): ReceivedTask {
    return {
      ...task,
      id: new TextDecoder().decode(new Uint8Array(id)),
      receivedProperties: new Uint8Array([0x00, 0x80, id.length, ...id]),
    };
  }
  dedupe.add(taskOf(0, 0, 0, 0xc8));
  assertEquals(dedupe.has(taskOf(0, 0, 0, 0xc8)), true);
  for (const other of [[0, 0, 0, 0xc9], [0, 0, 0, 0xef, 0xbf, 0xbd], [0], [0, 0, 0, 0]]) {
    assertEquals(dedupe.has(taskOf(...other)), false, String(other));
  }
  dedupe.close();
});

Deno.test("an id is written down when others let the file go, and is told when they do not", async () => {
  await using dir = await tempDir("dedupe-");
  const path = dir.file("done.db");
  const said: string[] = [];
  const told = createLogger({ name: "test", write: (line) => void said.push(line) });
  const open = (patienceMs: number) =>
    openDedupe(
      path,
      DAY_MS,
      told,
      { wall: Date.now, monotonic: () => performance.now() },
      patienceMs,
    );
  const dedupe = await open(60_000);
  const impatient = await open(0);
  using other = new DatabaseSync(path);
  other.exec("BEGIN IMMEDIATE");
  const adding = dedupe.add({ ...task, id: "waits" });
  assert(adding !== undefined);
  await impatient.add({ ...task, id: "gives up" });
  assertEquals([dedupe.has({ ...task, id: "waits" }), said.length], [false, 1]);
  assertMatch(said[0]!, /fails: database is locked id=.*gives up/);
  other.exec("ROLLBACK");
  await adding;
  assertEquals(dedupe.has({ ...task, id: "waits" }), true);
  assertEquals(dedupe.add({ ...task, id: "at once" }), undefined);
  other.exec("BEGIN IMMEDIATE");
  for (const each of [dedupe, impatient]) each.close();
  assertEquals(said.length, 1);
});
