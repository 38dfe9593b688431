/** The tasks in deno.json that run our programs. */
import config from "../deno.json" with { type: "json" };

export const NAMES = ["new_task", "worker", "broker"] as const;

/** A program that has a task; workqueue is all the others in one. */
export type Program = typeof NAMES[number] | "workqueue";

export const PROGRAMS: readonly Program[] = [...NAMES, "workqueue"];

/** The permission flags of a program: those of its task. */
export function permissionsOf(name: Program): string[] {
  const task = config.tasks[name];
  // The bundle in use; or what makes one, and says where; or the source.
  const path = `$(cat .bundle/${name} 2>/dev/null || deno task -q bundle ${name} || ` +
    `echo src/${name}.ts)`;
  if (!task.startsWith("deno run --") || !task.endsWith(` ${path}`)) {
    throw new Error(
      `the task "${name}" in deno.json must be deno run FLAGS ${path}, and is "${task}"`,
    );
  }
  return task.slice("deno run ".length, -path.length).trim().split(" ");
}

/**
 * The command line that runs a program as its task does.
 *
 * @param path of its source or its bundle
 */
export function commandOf(name: Program, path: string): string[] {
  return [Deno.execPath(), "run", "--quiet", ...permissionsOf(name), path];
}
