import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { ToolError } from "../../src/errors.ts";
import { createLogger } from "../../src/observe/log.ts";
import type { Task } from "../../src/task/task.ts";
import { openDedupe } from "../../src/worker/dedupe.ts";
import { tempDir } from "../support/temp.ts";

const log = createLogger({ name: "test", write: () => {} });
const DAY_MS = 86_400_000;

const task: Task = {
  ...{ id: "t", body: new Uint8Array(), properties: {}, queue: "q", exchange: "" },
  ...{ routingKey: "q", redelivered: false },
};

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
  const before = Deno.cwd();
  Deno.chdir(dir.path);
  try {
    for (const name of ["done.db", ":memory:", "file:done.db?mode=memory"]) {
      const first = await openDedupe(name, DAY_MS, log);
      first.add(task);
      first.close();
      const second = await openDedupe(name, DAY_MS, log);
      assertEquals(second.has(task), true, name);
      second.close();
    }
  } finally {
    Deno.chdir(before);
  }
});
