/**
 * Makes what the tools tell about themselves, for packages:
 *
 *   deno task manual [FOLDER]     FOLDER, dist by default, gets
 *                                   man/man1/worker.1 ...
 *                                   completions/bash/worker, completions/zsh/_worker,
 *                                   completions/fish/worker.fish ...
 *                                 and docs/options.md is written again
 *
 * The date in the manual pages is that of SOURCE_DATE_EPOCH, or else of the commit.
 */
// deno-lint-ignore-file no-console
import { renderCompletions, SHELLS } from "../src/cli/help/completions.ts";
import { VERSION } from "../src/cli/main.ts";
import { manName, renderMan } from "./manual/man.ts";
import { renderOptionsPage } from "./manual/options_page.ts";
import { pages, trees } from "./manual/tools.ts";

const FILES = {
  bash: (tool: string) => `completions/bash/${tool}`,
  zsh: (tool: string) => `completions/zsh/_${tool}`,
  fish: (tool: string) => `completions/fish/${tool}.fish`,
};

/** What packages install, by paths. */
export async function manualFiles(date: string): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  const edition = { version: VERSION, date, names: pages.map(manName) };
  for (const page of pages) {
    files.set(`man/man1/${manName(page)}.1`, renderMan(page, edition));
  }
  for (const { page } of trees) {
    for (const shell of SHELLS) {
      files.set(FILES[shell](page.name), await renderCompletions(shell, page));
    }
  }
  return files;
}

async function commitDate(): Promise<string> {
  const epoch = Deno.env.get("SOURCE_DATE_EPOCH");
  if (epoch) return new Date(Number(epoch) * 1_000).toISOString().slice(0, 10);
  const git = new Deno.Command("git", { args: ["log", "-1", "--format=%cs"], stderr: "null" });
  const said = await git.output().then(({ stdout }) => new TextDecoder().decode(stdout).trim())
    .catch(() => "");
  return said || new Date().toISOString().slice(0, 10);
}

if (import.meta.main) {
  const [folder = "dist"] = Deno.args;
  for (const [path, text] of await manualFiles(await commitDate())) {
    const file = `${folder}/${path}`;
    await Deno.mkdir(file.slice(0, file.lastIndexOf("/")), { recursive: true });
    await Deno.writeTextFile(file, text);
    console.log(file);
  }
  await Deno.writeTextFile("docs/options.md", renderOptionsPage(pages));
  console.log("docs/options.md");
}
