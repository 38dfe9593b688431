/**
 * The commands of README.md and of the pages of docs/ do what it says there, in a copy of the
 * project with a broker at AMQP_URL.
 *
 * By the words after "```" of a fenced block:
 * - `sh`: is run by bash, and must end with status 0
 * - `sh background`: is started, and ended with SIGTERM after the last block; must end with 0
 * - `sh no-test`: is not run
 * - `text output`: lines that the background block before it prints, in this order
 * - anything else is not looked at
 */
import { assert, assertEquals } from "@std/assert";
import { prepareOfflineDenort } from "../../scripts/offline_denort.ts";
import { brokerTest, virtualHost } from "../support/broker.ts";
import { type Output, run, spawn, type TestProcess } from "../support/process.ts";
import { tempDir } from "../support/temp.ts";

/** A block may compile binaries or work through the demo. */
const BLOCK_MS = 120_000;

interface Block {
  /** The words after the fence: ["sh", "background"]. */
  readonly tags: readonly string[];
  /** 1-based line of the fence. */
  readonly line: number;
  readonly text: string;
}

const root = new URL("../../", import.meta.url).pathname;
const url = await virtualHost();

for (const page of await pagesWithCommands()) {
  brokerTest(`every command in ${page} does what it says`, () => runPage(page));
}

/** Paths from the root, README.md first. */
async function pagesWithCommands(): Promise<string[]> {
  const pages = ["README.md"];
  for await (const { name } of Deno.readDir(`${root}docs`)) {
    if (!name.endsWith(".md")) continue;
    const blocks = findBlocks(await Deno.readTextFile(`${root}docs/${name}`));
    const isRun = ({ tags }: Block) => tags[0] === "sh" && !tags.includes("no-test");
    if (blocks.some(isRun)) pages.push(`docs/${name}`);
  }
  return pages.sort();
}

async function runPage(page: string): Promise<void> {
  const markdown = await Deno.readTextFile(root + page);
  await using copy = await tempDir("readme-");
  await copyProject(copy.path);
  const options = { cwd: copy.path, env: await environment(copy.path, url) };

  let ran = 0;
  await using background = new AsyncDisposableStack();
  const running: TestProcess[] = [];
  for (const { tags, line, text } of findBlocks(markdown)) {
    if (tags.includes("no-test")) continue;
    if (tags.join(" ") === "text output") {
      await expectOutput(running.at(-1), text.split("\n"));
    } else if (tags[0] === "sh" && tags.includes("background")) {
      const started = spawn("bash", { ...options, args: ["-c", `exec ${text}`] });
      running.push(background.use(started));
      // SIGKILL would end `deno task` and leave the tool, which holds our pipes.
      background.defer(() => end(started).then(() => {}));
      await started.waitForLine(/./, BLOCK_MS);
    } else if (tags[0] === "sh") {
      await using block = spawn("bash", { ...options, args: ["-euo", "pipefail", "-c", text] });
      const { code, stdout, stderr } = await block.ended(BLOCK_MS);
      assertEquals(code, 0, `${page}:${line}: ${text}\n${stdout}${stderr}`);
      ran++;
    }
  }
  assert(ran > 0, `${page} has no command to run`);
  for (const each of running) assertEquals((await end(each)).code, 0);
}

function end(process: TestProcess): Promise<Output> {
  process.kill("SIGTERM");
  return process.ended(BLOCK_MS);
}

function findBlocks(markdown: string): Block[] {
  const blocks: Block[] = [];
  for (const match of markdown.matchAll(/^```([^\n`]*)\n(.*?)\n```$/gms)) {
    blocks.push({
      tags: match[1]!.split(" "),
      line: markdown.slice(0, match.index).split("\n").length,
      text: match[2]!,
    });
  }
  return blocks;
}

/** Waits for lines in this order, others in between; blanks before them are formatted away. */
async function expectOutput(
  process: TestProcess | undefined,
  lines: readonly string[],
): Promise<void> {
  assert(process, "the page shows output before any background block");
  let from = 0;
  for (const line of lines) {
    await process.waitForLine(new RegExp(`^ *${RegExp.escape(line)}$`), BLOCK_MS, from);
    from = process.stdout.findIndex((each, i) => i >= from && each.trimStart() === line) + 1;
  }
}

/** The files that git knows. */
async function copyProject(target: string): Promise<void> {
  const { stdout, code } = await run("git", { cwd: root, args: ["ls-files", "-z"] });
  assertEquals(code, 0);
  for (const file of stdout.split("\0").filter((name) => name !== "")) {
    await Deno.mkdir(`${target}/${file}`.replace(/[^/]*$/, ""), { recursive: true });
    await Deno.copyFile(`${root}${file}`, `${target}/${file}`);
  }
}

/** This deno and the compiled binaries come first on PATH; compiling needs no download. */
async function environment(copy: string, url: string): Promise<Record<string, string>> {
  const compiler = await prepareOfflineDenort().catch(() => undefined);
  const deno = Deno.execPath().replace(/\/[^/]*$/, "");
  return {
    AMQP_URL: url,
    PATH: `${deno}:${copy}/dist:${Deno.env.get("PATH")}`,
    ...(compiler ? { COMPILE_DENO: compiler.deno, DENORT_BIN: compiler.denort } : {}),
  };
}
