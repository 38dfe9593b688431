/** The library as its users get it. */
import { assertEquals } from "@std/assert";
import { run } from "../support/process.ts";

const project = new URL("../../", import.meta.url).pathname;

function deno(...args: string[]) {
  return run(Deno.execPath(), { args, cwd: project, env: { NO_COLOR: "1" } });
}

Deno.test("everything that the library exports is documented", async () => {
  const { code, stdout, stderr } = await deno("doc", "--lint", "src/mod.ts");
  assertEquals(code, 0, stdout + stderr);
});

Deno.test("the package holds what its users need, and no tests", async () => {
  const { code, stdout, stderr } = await deno(
    "publish",
    "--dry-run",
    "--allow-dirty",
    "--no-check",
  );
  assertEquals(code, 0, stderr);
  const files = [...(stdout + stderr).matchAll(/^ +file:\/\/(\S+) \(/gm)]
    .map(([, path]) => path!.slice(project.length));
  const places = new Set(files.map((path) => path.split("/")[0]));
  assertEquals(
    [...places].sort(),
    ["CHANGELOG.md", "LICENSE", "README.md", "deno.json", "docs", "src", "types"],
  );
  assertEquals(files.includes("src/mod.ts"), true);
  assertEquals(files.filter((path) => /(^|[/_.])tests?[/.]/.test(path)), []);
});
