/**
 * A program and what it imports as a few files of JavaScript: what it loads later is in files of its
 * own, and is not read before.
 */

/** Files of a bundle; the first is the program. */
export type Bundle = readonly [program: string, ...parts: string[]];

/**
 * CommonJS packages get a `require` from node:module, in a part that everything imports, and that
 * module loads most of what Deno has of Node: 18 ms, for a package that is hardly ever asked for.
 */
const REQUIRE =
  /^import \{ createRequire as (\w+) \} from "node:module";\nvar __require = \1\(import\.meta\.url\);$/m;

/** The same for what CommonJS packages here require, which are modules of Node. */
const LAZY_REQUIRE = "var __require = (name) => process.getBuiltinModule(name);";

/** Comments and labels say where each part came from; the folders of this host are nobody's business. */
const ORIGINS = /^(\/\/ | {2}")[^\s"]*\/npm\/[^/\s"]+\//gm;

/**
 * Bundles src/<name>.ts.
 *
 * @param folder an empty folder for the files
 * @param root the project's folder; default: the current one
 * @param signal gives up
 * @throws Error with what `deno bundle` says
 */
export async function bundle(
  name: string,
  folder: string,
  { root = ".", signal }: { readonly root?: string; readonly signal?: AbortSignal } = {},
): Promise<Bundle> {
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["bundle", "--quiet", "--code-splitting", "--outdir", folder, `src/${name}.ts`],
    cwd: root,
    env: { NO_COLOR: "1" },
    stdin: "null",
    ...(signal === undefined ? {} : { signal }),
  }).output();
  if (!success) {
    throw new Error(`${name} cannot be bundled: ${new TextDecoder().decode(stderr).trim()}`);
  }
  const program = `${folder}/${name}.js`;
  const parts: string[] = [];
  for await (const entry of Deno.readDir(folder)) {
    const file = `${folder}/${entry.name}`;
    const text = await Deno.readTextFile(file);
    await Deno.writeTextFile(file, text.replace(REQUIRE, LAZY_REQUIRE).replace(ORIGINS, "$1npm:"));
    if (file !== program) parts.push(file);
  }
  return [program, ...parts];
}
