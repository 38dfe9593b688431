/** A copy of the project, in which commands may write. */
import { assertEquals } from "@std/assert";
import { run } from "../support/process.ts";

const root = new URL("../../", import.meta.url).pathname;

/** Copies the files that git knows. */
export async function copyProject(target: string): Promise<void> {
  const { stdout, code } = await run("git", { cwd: root, args: ["ls-files", "-z"] });
  assertEquals(code, 0);
  for (const file of stdout.split("\0").filter((name) => name !== "")) {
    await Deno.mkdir(`${target}/${file}`.replace(/[^/]*$/, ""), { recursive: true });
    await Deno.copyFile(`${root}${file}`, `${target}/${file}`);
  }
}
