import { assertEquals, assertStringIncludes } from "@std/assert";
import { binaryFlagsOf, permissionsOf, PROGRAMS } from "../../scripts/tasks.ts";
import { type Output, run } from "../support/process.ts";

const root = new URL("../../", import.meta.url).pathname;
const FOREIGN = Deno.build.os === "darwin" ? "x86_64-pc-windows-msvc" : "aarch64-apple-darwin";

/** Runs scripts/compile.ts; nothing in these tests gets as far as compiling. */
function compile(args: readonly string[], env: Record<string, string> = {}): Promise<Output> {
  return run(Deno.execPath(), {
    args: ["run", "--quiet", "--allow-all", "scripts/compile.ts", ...args],
    cwd: root,
    env: { DENORT_BIN: "", COMPILE_DENO: "", ...env },
  });
}

for (
  const [args, sentence] of [
    [["--targets", "all"], 'the option "--targets" is not known'],
    [["--target", "amiga"], "--target must be all or one of x86_64-unknown-linux-gnu"],
    [["wroker"], "a name must be one of new_task, worker"],
  ] as const
) {
  Deno.test(`compile ${args.join(" ")} is refused with one sentence`, async () => {
    const { code, stderr } = await compile(args);
    assertEquals(code, 1);
    assertStringIncludes(stderr, `compile: ${sentence}`);
  });
}

Deno.test("compile never puts the runtime of this host into a binary for another one", async () => {
  const { code, stderr } = await compile(["--target", FOREIGN], { DENORT_BIN: "/any/denort" });
  assertEquals(code, 1);
  assertStringIncludes(stderr, `--target ${FOREIGN} needs a runtime that deno downloads`);
});

Deno.test("permissionsOf() gives a binary its task's permissions: no prompt, no blank cheque", () => {
  for (const name of ["new_task", "worker"] as const) {
    const flags = permissionsOf(name);
    assertStringIncludes(flags.join(" "), "--no-prompt");
    assertEquals(flags.filter((flag) => flag === "-A" || flag === "--allow-all"), []);
  }
});

Deno.test("a binary, which has no code cache, is not compiled as a whole at each start", () => {
  for (const name of PROGRAMS) {
    const flags = binaryFlagsOf(name);
    assertEquals(flags.filter((flag) => /lazy/.test(flag)), []);
    const others = permissionsOf(name).filter((flag) => !/lazy/.test(flag));
    assertEquals(flags.filter((flag) => others.includes(flag)), others);
  }
  assertEquals(
    binaryFlagsOf("worker").includes(
      "--v8-flags=--min-semi-space-size=2,--max-semi-space-size=8,--expose-gc",
    ),
    true,
  );
});
