import { assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import { bundle, laterParts } from "../../scripts/bundle.ts";
import { commandOf } from "../../scripts/tasks.ts";
import { brokerTest, sharedNode } from "../support/broker.ts";
import { run, spawn } from "../support/process.ts";
import { tempDir, uniqueName } from "../support/temp.ts";

const STATIC_IMPORT = /^(?:import|export)\s(?:[^"';]*\sfrom\s*)?"([^"]+)";/gm;

const NAMED_IMPORT = /^import \{([^}]*)\} from "\.\/([^"]+)";$/gm;

/** What is loaded before the program begins: files of the bundle, and whatever else is imported. */
async function loadedFirst(program: string): Promise<{ files: string[]; others: string[] }> {
  const files = [program];
  const others = new Set<string>();
  for (const file of files) {
    for (const [, name] of (await Deno.readTextFile(file)).matchAll(STATIC_IMPORT)) {
      const part = new URL(name!, `file://${file}`).pathname;
      if (!name!.startsWith("./")) others.add(name!);
      else if (!files.includes(part)) files.push(part);
    }
  }
  return { files, others: [...others] };
}

/** What only a run with other arguments needs: a file, and what is in no other one. */
const LATER = [
  ["cli/bulk.ts", "function sendBulk"],
  ["front/bulk.ts", "var Bulk = class"],
  ["front/calls.ts", "var Calls = class"],
  ["front/http/service.ts", "var HttpService = class"],
  ["front/schedule_runner.ts", "var ScheduleRunner = class"],
  ["task/record.ts", "function parseRecord"],
  ["npm:cli-progress", "class SingleBar"],
  ["npm:croner", "CronPattern"],
] as const;

Deno.test("a bundled program starts no code that it does not need, and names no folder of this host", async () => {
  const folder = await Deno.makeTempDir({ prefix: "bundle-" });
  try {
    const parts = await bundle("new_task", folder);
    const { files, others } = await loadedFirst(parts[0]);
    assertEquals(others, []);
    // The program, and all that it imports.
    assertEquals(files.length, 2);
    const texts = new Map<string, string>();
    for (const file of parts) texts.set(file, await Deno.readTextFile(file));
    for (const [file, code] of LATER) {
      const found = parts.filter((part) => texts.get(part)!.includes(code));
      assertNotEquals(found, [], `${file} has no ${code}`);
      assertEquals(found.filter((part) => files.includes(part)), [], file);
    }
    // Of deno.json there is but the version.
    assertEquals(parts.filter((part) => texts.get(part)!.includes("nodeModulesDir")), []);
    for (const [file, text] of texts) {
      assertEquals(/\S*\/npm\/registry\S*/.exec(text), null, file);
      // What a part has from another is there.
      for (const [, names, from] of text.matchAll(NAMED_IMPORT)) {
        const { default: _, ...given } = await import(`file://${folder}/${from}`);
        const wanted = names!.split(",").map((name) => name.trim().split(" as ")[0]!);
        assertEquals(wanted.filter((name) => !(name in given)), [], `${file} of ${from}`);
      }
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

// What it loads later is looked at only then, and the source run from its beginning when it has changed
// (scripts/program/beginning.ts): nothing may have been done before.
brokerTest(
  "a bundled new_task sends the words of its command line with what it loads first alone",
  async () => {
    await using folder = await tempDir("bundle-");
    const parts = await bundle("new_task", folder.path);
    for (const part of await laterParts(parts)) await Deno.remove(part);
    const [deno, ...args] = commandOf("new_task", parts[0]) as [string, ...string[]];
    const { url } = await sharedNode();
    async function send(url: string, queue: string) {
      const env = { AMQP_URL: url, WORK_QUEUE: queue };
      const { code, stdout, stderr } = await run(deno, { args: [...args, "a", "task"], env });
      return { code, stdout, stderr };
    }
    const queue = uniqueName("bundle");
    for (let i = 0; i < 2; i++) {
      assertEquals(await send(url, queue), { code: 0, stdout: " [x] Sent a task\n", stderr: "" });
    }
    const others: [url: string, queue: string, code: number, said: RegExp][] = [
      [url, "amq.none", 77, /amq/],
      [url, "q".repeat(300), 64, /bytes/],
      [url.replace("//guest:", "//nobody:"), queue, 77, /refused/i],
      ["amqp://127.0.0.1:1", queue, 75, /refused/],
      ["http://127.0.0.1", queue, 64, /amqp/],
    ];
    for (const [url, queue, code, said] of others) {
      const sent = await send(url, queue);
      assertEquals([sent.code, sent.stdout], [code, ""], sent.stderr);
      assertMatch(sent.stderr, said);
    }
  },
);

Deno.test({
  name: "a bundled new_task loads what else it needs before it reads a password or a task",
  // Windows has no /dev/stdin.
  ignore: Deno.build.os === "windows",
  async fn() {
    await using folder = await tempDir("bundle-");
    const parts = await bundle("new_task", folder.path);
    for (const part of await laterParts(parts)) await Deno.remove(part);
    const [deno, ...args] = commandOf("new_task", parts[0]) as [string, ...string[]];
    const password = "--url=amqp://guest@127.0.0.1:1 --password-file=/dev/stdin";
    const lines = ["--wait -", "--delay=1m -", "--lines", "--lines --wait", "--schedule=/dev/stdin"]
      .concat(["--wait", "--delay=1m", "--files x", "--files x --wait", "--cron=@daily", "--http=0"]
        .map((options) => `${password} ${options}`));
    await Promise.all(lines.map(async (line) => {
      await using program = spawn(deno, {
        args: [...args, ...line.split(" ")],
        stdin: "open",
        killOnDispose: true,
      });
      const { code, stderr } = await program.ended();
      assertEquals([code, /not found/i.test(stderr)], [70, true], `${line}: ${stderr}`);
    }));
  },
});
