/**
 * Where the tools under test come from: their sources, run by this Deno with exactly the
 * permissions of their tasks in deno.json; or by the one that TEST_DENO names; or, with
 * TEST_TOOLS=bundle, their bundles, which `deno task bundle` makes; or, with TEST_TOOLS=compiled,
 * the binaries in dist/, which `deno task compile` makes; or, with TEST_TOOLS=single,
 * dist/workqueue, which is all three.
 */
import { permissionsOf } from "../../scripts/tasks.ts";

export type ToolName = "new_task" | "worker" | "broker";
export type ToolsKind = "source" | "bundle" | "compiled" | "single";

const root = new URL("../../", import.meta.url).pathname;

/** What this run is about. */
export const toolsKind: ToolsKind = chooseKind();

/** Whether the tools are run by the Deno that runs the tests. */
export const byThisDeno: boolean = (toolsKind === "source" || toolsKind === "bundle") &&
  !Deno.env.get("TEST_DENO");

/** The command line that runs a tool. */
export function toolCommand(name: ToolName, args: readonly string[] = []): [string, ...string[]] {
  if (toolsKind === "compiled") return [`${root}dist/${name}`, ...args];
  if (toolsKind === "single") return [`${root}dist/workqueue`, name, ...args];
  const flags = ["--quiet", "--config", `${root}deno.json`, ...permissionsOf(name)];
  return [
    Deno.env.get("TEST_DENO") || Deno.execPath(),
    "run",
    ...flags,
    root + pathOf(name),
    ...args,
  ];
}

function pathOf(name: ToolName): string {
  if (toolsKind === "source") return `src/${name}.ts`;
  const which = Deno.readTextFileSync(`${root}.bundle/${name}`).trim();
  return Deno.readTextFileSync(`${root}.bundle/${name}${which}/program`).trim();
}

function chooseKind(): ToolsKind {
  const wanted = Deno.env.get("TEST_TOOLS") || "source";
  const kinds: readonly ToolsKind[] = ["source", "bundle", "compiled", "single"];
  const kind = kinds.find((each) => each === wanted);
  if (kind !== undefined) return kind;
  throw new Error(`TEST_TOOLS must be one of ${kinds.join(", ")}, and is ${wanted}`);
}
