/**
 * The commands of README.md and of the pages of docs/ do what it says there, in a copy of the
 * project with a broker at AMQP_URL. Which blocks are run, and how: blocks.ts.
 */
import { assert, assertEquals } from "@std/assert";
import { prepareOfflineDenort } from "../../scripts/offline_denort.ts";
import { brokerTest, virtualHost } from "../support/broker.ts";
import { type Output, spawn, type TestProcess } from "../support/process.ts";
import { tempDir } from "../support/temp.ts";
import { type Block, isForCopy, isListed, readPages } from "./blocks.ts";
import { copyProject } from "./project.ts";

/** A block may compile binaries or work through the demo. */
const BLOCK_MS = 300_000;

const url = await virtualHost();

for (const [page, blocks] of await readPages()) {
  const run = blocks.filter((block) => isForCopy(block) && !isListed(page, block));
  if (run.length > 0) {
    brokerTest(`every command in ${page} does what it says`, () => runPage(page, run));
  }
}

async function runPage(page: string, blocks: readonly Block[]): Promise<void> {
  await using copy = await tempDir("readme-");
  await copyProject(copy.path);
  const options = { cwd: copy.path, env: await environment(copy.path, url) };

  await using background = new AsyncDisposableStack();
  const running: TestProcess[] = [];
  for (const { tags, line, text } of blocks) {
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
    }
  }
  for (const each of running) assertEquals((await end(each)).code, 0);
}

function end(process: TestProcess): Promise<Output> {
  process.kill("SIGTERM");
  return process.ended(BLOCK_MS);
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
