/** The tasks in deno.json that run our programs. */
import config from "../deno.json" with { type: "json" };

export const NAMES = ["new_task", "worker", "broker"] as const;

/** A program that has a task; workqueue is all the others in one. */
export type Program = typeof NAMES[number] | "workqueue";

export const PROGRAMS: readonly Program[] = [...NAMES, "workqueue"];

/** The permission flags of a program: those of its task. */
export function permissionsOf(name: Program): string[] {
  const task = config.tasks[name];
  // The bundle in use; or what makes one, and says where; or the source. It runs where whoever
  // started the task stands, as any program does.
  const bundle = `.bundle/${name}$(cat .bundle/${name} 2>/dev/null)/program`;
  const before = `F=$(pwd)/$(cat ${bundle} 2>/dev/null || deno task -q bundle ${name} || ` +
    `echo src/${name}.ts) && cd "$INIT_CWD" && unset INIT_CWD && deno run `;
  const after = ' "$F"';
  if (!task.startsWith(`${before}--`) || !task.endsWith(after)) {
    throw new Error(
      `the task "${name}" in deno.json must be ${before}FLAGS${after}, and is ${task}`,
    );
  }
  return task.slice(before.length, -after.length).split(" ");
}

/** With it `deno run` reads a module when it is imported; `deno compile` would leave that module out. */
const LAZY_IMPORTS = "--unstable-lazy-dynamic-imports";

/**
 * With it V8 compiles a whole module at once, and what it has compiled is in Deno's code cache, where
 * functions are missing that were compiled when they were called. Without a cache it takes longer.
 */
const EAGER = "--no-lazy,";

/** The same flags, as far as they are good for a binary, which has no code cache. */
export function binaryFlagsOf(name: Program): string[] {
  return permissionsOf(name)
    .filter((flag) => flag !== LAZY_IMPORTS)
    .map((flag) => flag.startsWith("--v8-flags=") ? flag.replace(EAGER, "") : flag);
}

/**
 * The command line that runs a program as its task does.
 *
 * @param path of its source or its bundle
 */
export function commandOf(name: Program, path: string): string[] {
  return [Deno.execPath(), "run", "--quiet", ...permissionsOf(name), path];
}
