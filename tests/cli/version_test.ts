import { assertEquals, assertMatch } from "@std/assert";
import { programTest, run } from "../support/process.ts";
import { tempDir } from "../support/temp.ts";

/** A copy of the sources in `root`, run for its version. */
async function versionIn(root: string): Promise<string> {
  const args = ["run", "--quiet", "--allow-read", "--no-prompt", "src/new_task.ts", "-V"];
  const { stdout, stderr, code } = await run(Deno.execPath(), { args, cwd: root });
  assertEquals([code, stderr], [0, ""]);
  return stdout;
}

programTest("git", "--version tells what a program from a working tree was made of", async () => {
  const config = JSON.parse(
    await Deno.readTextFile(new URL("../../deno.json", import.meta.url)),
  ) as { version: string };
  await using dir = await tempDir();
  const sources = new URL("../../", import.meta.url).pathname;
  async function sh(text: string): Promise<string> {
    const { stdout, stderr, code } = await run("sh", { args: ["-euc", text], cwd: dir.path });
    assertEquals(code, 0, stderr);
    return stdout.trim();
  }
  await sh(
    `mkdir one; cp -r ${sources}src ${sources}types ${sources}deno.json ${sources}deno.lock one`,
  );
  const facts = `Deno ${Deno.version.deno}, ${Deno.build.target}`;
  const first = `new_task ${config.version} `;
  assertEquals(await versionIn(dir.file("one")), `${first}(from source, ${facts})\n`);

  const commit = await sh(`cd one
    git init -q -b main
    git -c user.name=a -c user.email=a@example.org commit -q --allow-empty -m one
    git rev-parse --short=12 HEAD`);
  const line = `${first}(from a working tree on commit ${commit}, ${facts})\n`;
  assertEquals(await versionIn(dir.file("one")), line);
  await sh("git -C one pack-refs --all");
  assertEquals(await versionIn(dir.file("one")), line);
  // Another working tree of it, with its own branch.
  await sh("git -C one worktree add -q ../two; cp -r one/src one/types one/deno.* two");
  assertEquals(await versionIn(dir.file("two")), line);
  await sh("git -C one checkout -q --detach");
  assertEquals(await versionIn(dir.file("one")), line);
  assertMatch(commit, /^[0-9a-f]{12}$/);
});
