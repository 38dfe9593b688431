/**
 * Makes the bundles that `deno task new_task`, `worker`, `broker` and `workqueue` run, and says where
 * they are:
 *
 *   deno task bundle [NAME]...
 *
 * A task runs this itself when there is none. One that cannot be made is no failure: then it says
 * where the source is.
 */
// deno-lint-ignore-file no-console
import { type Program, PROGRAMS } from "./tasks.ts";

/**
 * What runs a program soonest: the bundle in use, or one that is made now, or the source.
 *
 * @returns the path from the project's folder
 */
export async function programOf(name: Program): Promise<string> {
  const { inUse } = await import("./program/build.ts");
  return await inUse(name) ?? await makeProgram(name);
}

/** The same, with a bundle of the source as it is now. */
export async function makeProgram(name: Program): Promise<string> {
  const source = `src/${name}.ts`;
  try {
    const { build } = await import("./program/build.ts");
    return await build(name) ?? source;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const [line] = reason.split("\n");
    console.error(`bundle: ${name} is run from source, which takes longer to start: ${line}`);
    return source;
  }
}

if (import.meta.main) {
  const wrong = Deno.args.find((name) => !(PROGRAMS as readonly string[]).includes(name));
  if (wrong !== undefined) {
    console.error(`bundle: a name must be one of ${PROGRAMS.join(", ")}, and is ${wrong}`);
    Deno.exit(1);
  }
  const names = Deno.args.length > 0 ? Deno.args as Program[] : PROGRAMS;
  for (const name of names) console.log(await makeProgram(name));
  Deno.exit(0); // locks that are not free are given up
}
