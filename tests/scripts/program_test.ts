/** `deno task` runs bundles of the programs, and never a stale one: in a small project of its own. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { isStale } from "../../scripts/program/guard.ts";
import { stampsOf } from "../../scripts/program/stamps.ts";
import config from "../../deno.json" with { type: "json" };
import { type Output, run, spawn, type TestProcess } from "../support/process.ts";
import { type TempDir, tempDir } from "../support/temp.ts";

const root = new URL("../../", import.meta.url).pathname;
/** What starts the programs; bundles are made by this Deno, whose esbuild is there. */
const deno = Deno.env.get("TEST_DENO") || Deno.execPath();
const byThisDeno = deno === Deno.execPath();

const MAKERS = [
  "scripts/bundle.ts",
  "scripts/program.ts",
  "scripts/program/beginning.ts",
  "scripts/program/build.ts",
  "scripts/program/guard.ts",
  "scripts/program/stamps.ts",
  "scripts/tasks.ts",
];

const PROGRAM = `
import asset from "./asset.json" with { type: "json" };
import { word } from "./word.ts";

export async function main(): Promise<never> {
  const how = import.meta.url.includes("/.bundle/") ? "bundle" : "source";
  console.log(how, word, asset.word, JSON.stringify(Deno.args));
  if (Deno.args[0] === "status") Deno.exit(Number(Deno.args[1]));
  if (Deno.args[0] === "where") console.log(Deno.cwd());
  if (Deno.args[0] === "-") console.log(await new Response(Deno.stdin.readable).text());
  if (Deno.args[0] === "part") console.log((await import("./late.ts")).late);
  if (Deno.args[0] === "late") {
    console.log("waits");
    await Deno.stdin.read(new Uint8Array(1));
    console.log((await import("./late.ts")).late);
  }
  Deno.exit(0);
}

if (import.meta.main) await main();
`;

/** A project with one program under two names, and with our tasks. */
class Project implements AsyncDisposable {
  readonly #dir: TempDir;

  constructor(dir: TempDir) {
    this.#dir = dir;
  }

  static async make(): Promise<Project> {
    const project = new Project(await tempDir("a project-"));
    for (const folder of ["src", "scripts/program"]) {
      await Deno.mkdir(project.path(folder), { recursive: true });
    }
    for (const file of MAKERS) await Deno.copyFile(root + file, project.path(file));
    const { tasks: { new_task, worker, bundle } } = config;
    await project.write(
      "deno.json",
      JSON.stringify({ workspace: [], tasks: { new_task, worker, bundle } }),
    );
    await project.write("deno.lock", JSON.stringify({ version: "5" }));
    await project.write("src/new_task.ts", PROGRAM);
    await project.write("src/worker.ts", PROGRAM);
    await project.write("src/asset.json", '{ "word": "asset" }');
    await project.write("src/word.ts", 'export const word = "first";');
    await project.write("src/late.ts", 'export const late = "first part";');
    return project;
  }

  path(file: string): string {
    return this.#dir.file(file);
  }

  async write(file: string, text: string): Promise<void> {
    await Deno.writeTextFile(this.path(file), text);
  }

  run(args: readonly string[], options: Parameters<typeof run>[1] = {}): Promise<Output> {
    return run(deno, { cwd: this.#dir.path, args: ["task", "--quiet", ...args], ...options });
  }

  spawn(args: readonly string[]): TestProcess {
    const options = { cwd: this.#dir.path, stdin: "open" as const };
    return spawn(deno, { ...options, args: ["task", "--quiet", ...args] });
  }

  /** Makes a bundle. @returns where it is */
  async bundle(name = "new_task"): Promise<string> {
    const args = ["task", "--quiet", "bundle", name];
    const { stdout } = await run(Deno.execPath(), { cwd: this.#dir.path, args });
    return stdout.trim();
  }

  /** The folders of bundles of a program. */
  bundles(program = "new_task"): string[] {
    const names = Array.from(Deno.readDirSync(this.path(".bundle")), ({ name }) => name);
    return names.filter((name) => name !== program && name.includes(program)).sort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#dir[Symbol.asyncDispose]();
  }
}

/** Changes of a file that holds "one" and says that it is older than it is. */
const CHANGES: Record<string, (file: string) => Promise<void>> = {
  "other bytes": (file) => Deno.writeTextFile(file, "two"),
  "other bytes with the times of those before": async (file) => {
    const { atime, mtime } = await Deno.stat(file);
    await Deno.writeTextFile(file, "two");
    await Deno.utime(file, atime!, mtime!);
  },
  "another file of the same size and time in its place": async (file) => {
    const { atime, mtime } = await Deno.stat(file);
    await Deno.writeTextFile(`${file}.new`, "two");
    await Deno.utime(`${file}.new`, atime!, mtime!);
    await Deno.rename(`${file}.new`, file);
  },
  "an older file in its place, as by a checkout": async (file) => {
    await Deno.writeTextFile(`${file}.new`, "an older text");
    await Deno.utime(`${file}.new`, 1, 1);
    await Deno.rename(`${file}.new`, file);
  },
  "nothing in its place": (file) => Deno.remove(file),
};

/** Files to be changed, each by the name of its change. */
const unchanged = await tempDir("stale-");
await Deno.mkdir(unchanged.file("one/two"), { recursive: true });
await Deno.writeTextFile(unchanged.file("one/two/held"), "");
for (const name of Object.keys(CHANGES)) {
  await Deno.writeTextFile(unchanged.file(name), "one");
  await Deno.utime(unchanged.file(name), 1_700_000_000.123, 1_700_000_000.123);
}
// The last one is for a test that not every Deno runs.
const count = byThisDeno ? 5 : 4;
const projects = await Promise.all(Array.from({ length: count }, () => Project.make()));
// A file that has just been changed may change again without a sign; then no bundle is made.
await new Promise((resolve) => setTimeout(resolve, 1_000));

Deno.test("a task runs the bundle of its program, as it would run the source, until that changes", async () => {
  await using project = projects[0]!;
  if (!byThisDeno) await project.bundle();
  const first = await project.run(["new_task", "a b", "$HOME 'c'"]);
  assertEquals(first, {
    stdout: `bundle first asset ["a b","$HOME 'c'"]\n`,
    stderr: "",
    code: 0,
    signal: null,
  });
  assertEquals((await project.run(["new_task", "status", "65"])).code, 65);
  const piped = await project.run(["new_task", "-"], { stdin: "from a pipe" });
  assertEquals(piped.stdout, `bundle first asset ["-"]\nfrom a pipe\n`);
  const cwd = project.path("src");
  const where = await project.run(["new_task", "where"], { cwd, env: { INIT_CWD: undefined } });
  assertEquals(where.stdout, `bundle first asset ["where"]\n${cwd}\n`, where.stderr);

  // A part is looked at when it is loaded, and then the source does all of it.
  await project.write("src/late.ts", 'export const late = "other part";');
  assertEquals((await project.run(["new_task"])).stdout, "bundle first asset []\n");
  assertEquals(
    (await project.run(["new_task", "part"])).stdout,
    `bundle first asset ["part"]\nsource first asset ["part"]\nother part\n`,
  );

  await project.write("src/word.ts", 'export const word = "other";');
  assertEquals((await project.run(["new_task"])).stdout, "source other asset []\n");
  assertMatch(await project.bundle(), /^\.bundle\/new_task-\w+\/new_task\.js$/);
  assertEquals(
    (await project.run(["new_task", "part"])).stdout,
    `bundle other asset ["part"]\nother part\n`,
  );
});

Deno.test("what runs keeps the parts of its bundle, however old they are", async () => {
  await using project = projects[3]!;
  await project.bundle("worker");
  const [old] = project.bundles("worker") as [string];
  await using running = project.spawn(["worker", "late"]);
  // `deno task` cannot be killed in such a way that its program ends, too.
  await using _ = { [Symbol.asyncDispose]: () => running.endInput().catch(() => {}) };
  await running.waitForLine(/^waits$/);

  await project.write("src/late.ts", 'export const late = "other part";');
  const yesterday = Date.now() / 1_000 - 86_400;
  await Deno.utime(project.path(`.bundle/${old}`), yesterday, yesterday);
  assertEquals((await project.run(["worker"])).stdout, "source first asset []\n");
  await project.bundle("worker");
  assert(project.bundles("worker").includes(old));
  await running.write("x");
  await running.waitForLine(/^first part$/);
  assertEquals((await running.ended()).code, 0);
  await project.bundle("worker");
  assert(!project.bundles("worker").includes(old));
});

Deno.test({
  name: "of programs that start at the same moment, and find no bundle, one makes it",
  ignore: !byThisDeno,
  fn: async () => {
    await using project = projects[4]!;
    const shop = ".bundle/.new_task";
    await Deno.mkdir(project.path(shop), { recursive: true });
    assertEquals((await project.run(["new_task"])).stdout, "source first asset []\n");
    assertEquals(project.bundles(), [".new_task"]);
    // Whoever was at it was killed.
    await Deno.utime(project.path(shop), 1, 1);
    assertEquals((await project.run(["new_task"])).stdout, "source first asset []\n");
    assertEquals(project.bundles(), []);

    const outputs = await Promise.all([1, 2].map((word) => project.run(["new_task", `${word}`])));
    const said = outputs.map(({ stdout, stderr }) => stdout + stderr);
    for (const [i, text] of said.entries()) {
      assertMatch(text, RegExp(`^(bundle|source) first asset \\["${i + 1}"\\]\n$`));
    }
    assert(said.some((text) => text.startsWith("bundle")));
    const [folder, ...others] = project.bundles() as [string];
    assertEquals(others, []);

    await Deno.remove(project.path(`.bundle/${folder}`), { recursive: true });
    assertEquals((await project.run(["new_task"])).stdout, "bundle first asset []\n");
    assertEquals(project.bundles(), [folder]);
  },
});

Deno.test("where no bundle can be written the source is run, and nothing is said", async () => {
  await using project = projects[1]!;
  await project.write(".bundle", "");
  const { stdout, stderr, code } = await project.run(["new_task"]);
  assertEquals([stdout, stderr, code], ["source first asset []\n", "", 0]);
});

Deno.test("where no bundle can be made the source is run, which is said once", async () => {
  await using project = projects[2]!;
  const env = {
    DENO_DIR: project.path("cache"),
    NPM_CONFIG_REGISTRY: "http://127.0.0.1:1/",
    HOME: project.path("home"),
  };
  const first = await project.run(["new_task"], { env });
  assertEquals(first.stdout, "source first asset []\n");
  assertMatch(first.stderr, /^bundle: new_task is run from source, which takes longer .*\n$/);
  const second = await project.run(["new_task"], { env });
  assertEquals([second.stdout, second.stderr], ["source first asset []\n", ""]);
  assertEquals(project.bundles().length, 1);
});

Deno.test({
  name: "a bundle is stale when a file of its source was changed, in whatever way",
  fn: async (t) => {
    for (const [name, change] of Object.entries(CHANGES)) {
      await t.step(name, async () => {
        const file = unchanged.file(name);
        const stamps = (await stampsOf([name], unchanged.file("")))!;
        const pointer = unchanged.file("pointer");
        await Deno.writeTextFile(pointer, "");
        const look = (restMs: number) =>
          isStale(unchanged.file("one/two"), pointer, restMs, stamps);
        assertEquals(look(0), false);
        await change(file);
        assertEquals(look(60_000), true);
        assertEquals(await isThere(pointer), !name.startsWith("nothing"), "somebody is writing");
        await Deno.writeTextFile(pointer, "");
        assertEquals(look(-1_000), true);
        assertEquals(await isThere(pointer), false, "the next start makes another one");
      });
    }
    await unchanged[Symbol.asyncDispose]();
  },
});

function isThere(path: string): Promise<boolean> {
  return Deno.stat(path).then(() => true, () => false);
}
