import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { type Import, readImports } from "../../scripts/layers/imports.ts";
import { draw, housesOf } from "../../scripts/layers/picture.ts";
import {
  findCrowdedFolders,
  findLongFiles,
  findViolations,
  MOST_LINES,
  MOST_ROOMS,
} from "../../scripts/layers/rules.ts";

const project = new URL("../../", import.meta.url);

function imports(from: string, to: string, more: Partial<Import> = {}): Import {
  return { from, to, line: 1, dynamic: false, typeOnly: false, ...more };
}

Deno.test("findViolations() accepts every import that goes down", () => {
  assertEquals(
    findViolations([
      imports("src/worker.ts", "src/cli/main.ts"),
      imports("src/worker.ts", "src/errors.ts"),
      imports("src/cli/main.ts", "src/worker/pool.ts"),
      imports("src/worker/pool.ts", "src/worker/settle.ts"),
      imports("src/worker/pool.ts", "src/amqp/consumer.ts"),
      imports("src/amqp/url.ts", "npm:/some/package"),
      imports("src/cli/main.ts", "deno.json"),
      imports("src/task/task.ts", "src/errors.ts"),
      imports("src/broker/server.ts", "src/broker/wire/names.ts"),
      imports("src/broker/channel/channel.ts", "src/broker/queue/queue.ts"),
      imports("src/broker/channel/channel.ts", "src/broker/channel/publishing.ts"),
      imports("src/broker/wire/frames.ts", "src/time/clock.ts"),
      imports("src/broker/queue/lane.ts", "src/broker/store/file/schema.ts"),
      imports("src/broker/store/store.ts", "src/broker/store/file/schema.ts"),
      imports("src/broker/store/file/log.ts", "src/broker/store/file/schema.ts"),
      imports("src/broker/store/file/log.ts", "src/broker/message/content.ts"),
    ]),
    [],
  );
});

Deno.test("findViolations() finds a circle, of types alone and through other files too", () => {
  const circle = [
    imports("src/task/a.ts", "src/task/b.ts"),
    imports("src/task/b.ts", "src/task/c.ts", { typeOnly: true }),
    imports("src/task/c.ts", "src/task/a.ts", { dynamic: true }),
    imports("src/task/d.ts", "src/task/a.ts"),
  ];
  assertEquals(findViolations(circle), [
    "these files import each other in a circle: " +
    "src/task/a.ts > src/task/b.ts > src/task/c.ts > src/task/a.ts",
  ]);
  assertEquals(findViolations(circle.slice(1)), []);
});

Deno.test("findLongFiles() tells the length that is too much", () => {
  assertEquals(findLongFiles(new Map([["src/a.ts", MOST_LINES], ["src/b.ts", MOST_LINES + 1]])), [
    `src/b.ts must have at most ${MOST_LINES} lines, and has ${MOST_LINES + 1}`,
  ]);
});

Deno.test("findCrowdedFolders() tells of one room too many", () => {
  const rooms = Array.from({ length: MOST_ROOMS }, (_, room) => `src/broker/room${room}/a.ts`);
  assertEquals(findCrowdedFolders([...rooms, "src/broker/room0/b.ts", "src/other/a.ts"]), []);
  assertEquals(findCrowdedFolders([...rooms, "src/broker/server.ts"]), [
    `src/broker must have at most ${MOST_ROOMS} entries, and has ${MOST_ROOMS + 1}`,
  ]);
  const deeper = rooms.map((room) => room.replace("broker/", "broker/store/"));
  assertEquals(findCrowdedFolders([...deeper, "src/broker/store/store.ts"]), [
    `src/broker/store must have at most ${MOST_ROOMS} entries, and has ${MOST_ROOMS + 1}`,
  ]);
});

Deno.test("the picture of the floors shows the imports of today (deno task layers --draw)", async () => {
  const picture = await Deno.readTextFile(new URL("docs/floors.svg", project));
  assertEquals(draw(housesOf(await readImports(project))), picture);
});

for (
  const [from, to] of [
    ["src/errors.ts", "src/task/task.ts"],
    ["src/task/task.ts", "src/observe/log.ts"],
    ["src/amqp/url.ts", "src/cli/flags.ts"],
    ["src/worker/pool.ts", "src/handlers/dots.ts"],
    ["src/handlers/dots.ts", "src/worker/pool.ts"],
    ["src/broker/server.ts", "src/broker.ts"],
    ["src/new_task.ts", "src/worker.ts"],
    ["src/cli/main.ts", "scripts/bench.ts"],
    ["src/misc/things.ts", "src/errors.ts"],
    ["src/broker/wire/frames.ts", "src/broker/net/socket.ts"],
    ["src/broker/queue/queue.ts", "src/broker/server.ts"],
    ["src/broker/cellar/barrel.ts", "src/broker/wire/names.ts"],
    ["src/broker/store/file/schema.ts", "src/broker/store/store.ts"],
    ["src/broker/store/messages/reader.ts", "src/broker/store/definitions/definitions.ts"],
    ["src/broker/store/cellar/barrel.ts", "src/broker/store/file/schema.ts"],
    ["src/broker/store/file/schema.ts", "src/broker/queue/queue.ts"],
  ] as const
) {
  Deno.test(`findViolations() refuses that ${from} imports ${to}`, () => {
    const [violation, ...rest] = findViolations([imports(from, to, { line: 7 })]);
    assertEquals(rest, []);
    assertStringIncludes(violation ?? "", `${from}:7 imports ${to}: `);
  });
}

Deno.test("findViolations() shows the way from a client to broker code", () => {
  const violations = findViolations([
    imports("src/new_task.ts", "src/amqp/publisher.ts"),
    imports("src/amqp/publisher.ts", "src/broker/store/store.ts"),
  ]);
  assertStringIncludes(
    violations.join("\n"),
    "src/new_task.ts must not reach src/broker/store/store.ts: " +
      "src/new_task.ts > src/amqp/publisher.ts > src/broker/store/store.ts",
  );
});

Deno.test("findViolations() lets a client load SQLite lazily, broker code not even so", () => {
  const sqlite = imports("src/worker.ts", "node:sqlite");
  assertEquals(findViolations([sqlite]).length, 1);
  assertEquals(findViolations([{ ...sqlite, dynamic: true }]), []);
  const store = imports("src/worker.ts", "src/broker/store/store.ts", { dynamic: true });
  assertEquals(findViolations([store]).length, 1);
  assertEquals(findViolations([{ ...store, typeOnly: true }]), []);
});

Deno.test("readImports() sees static, dynamic and type-only imports of a real project", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const copy = new URL(`file://${await Deno.realPath(folder)}/`);
    await Deno.mkdir(new URL("src/task/", copy), { recursive: true });
    await Deno.writeTextFile(new URL("deno.json", copy), "{}");
    await Deno.writeTextFile(
      new URL("src/errors.ts", copy),
      `import { Task } from "./task/task.ts";\nconsole.log(Task);\n`,
    );
    await Deno.writeTextFile(
      new URL("src/task/task.ts", copy),
      `export class Task {}\nawait import("node:sqlite");\n` +
        `import type * as E from "../errors.ts";\nexport type { E };\n`,
    );
    assertEquals(await readImports(copy), [
      imports("src/errors.ts", "src/task/task.ts", { line: 1 }),
      imports("src/task/task.ts", "node:sqlite", { line: 2, dynamic: true }),
      imports("src/task/task.ts", "src/errors.ts", { line: 3, typeOnly: true }),
    ]);
    assertEquals(await runScript(folder), 1);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("check_layers finds every import of this project going down", async () => {
  const found = await readImports(project);
  assert(found.length > 0);
  assertEquals(findViolations(found), []);
});

async function runScript(folder: string): Promise<number> {
  const { code } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-R",
      "--allow-run",
      new URL("scripts/check_layers.ts", project).pathname,
      folder,
    ],
  }).output();
  return code;
}
