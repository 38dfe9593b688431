/**
 * What README.md and the pages of docs/ show of hosts, their ports, files and neighbours, does what
 * it says there. Which blocks are run, and how: blocks.ts; on what: host.ts.
 */
import { type Block, isForHost, isListed, readPages } from "./blocks.ts";
import { Host, hostMissing } from "./host.ts";
import { tempDir } from "../support/temp.ts";

const NAME = "every command that needs a host of its own does what it says";

if (hostMissing === undefined) Deno.test(NAME, runAll);
else Deno.test.ignore(`${NAME} (ignored: ${hostMissing})`, () => {});

async function runAll(t: Deno.TestContext): Promise<void> {
  await using dir = await tempDir("host-");
  await using host = await Host.start(dir.path);
  for (const [page, blocks] of await readPages()) {
    const run = blocks.filter((block) => isForHost(block) && !isListed(page, block));
    if (run.length > 0) await t.step(page, () => runPage(host, page, run));
  }
}

async function runPage(host: Host, page: string, blocks: readonly Block[]): Promise<void> {
  await host.forget();
  for (const block of blocks) {
    try {
      await runBlock(host, block);
    } catch (error) {
      await host.killAll();
      throw new Error(`${page}:${block.line}: ${(error as Error).message}`, { cause: error });
    }
  }
  await host.endAll();
}

async function runBlock(host: Host, { tags, text }: Block): Promise<void> {
  if (tags.includes("alone")) await host.endAll();
  if (tags[0] === "conf") {
    await host.writeFile(/^# (\S+)/.exec(text)![1]!, text);
    await host.prepare(text);
  } else if (tags[0] === "ini") await host.startAll(/^ExecStart=(.*)$/m.exec(text)![1]!);
  else if (tags.includes("background")) await host.startAll(text);
  else await host.run(text);
}
