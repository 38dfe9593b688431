/**
 * A program and what it imports as a few files of JavaScript: what it loads first is in two, and what
 * it loads later is in files of its own, and is not read before.
 */
import config from "../deno.json" with { type: "json" };

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

/** What esbuild makes of deno.json. */
const CONFIG = /^var deno_default = \{\n[^]*?^\};$/m;

/** Without what a part has of deno.json and does not use, which is nearly all: its tasks. */
function trimConfig(text: string): string {
  const [whole] = CONFIG.exec(text) ?? [];
  if (whole === undefined) return text;
  const uses = [...text.replace(whole, "").matchAll(/\bdeno_default\b(?:\.(\w+))?/g)];
  const used: Record<string, unknown> = {};
  for (const [, key] of uses) {
    if (key === undefined) return text; // another part has it, too
    used[key] = (config as Record<string, unknown>)[key];
  }
  return text.replace(whole, () => `var deno_default = ${JSON.stringify(used)};`);
}

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
  await run(["--code-splitting", "--outdir", folder, `src/${name}.ts`], root, signal);
  for (const part of await partsIn(folder)) {
    const text = await Deno.readTextFile(`${folder}/${part}`);
    const clean = text.replace(REQUIRE, LAZY_REQUIRE).replace(ORIGINS, "$1npm:");
    await Deno.writeTextFile(`${folder}/${part}`, trimConfig(clean));
  }
  const program = `${name}.js`;
  await joinFirst(folder, program, signal);
  const parts = (await partsIn(folder)).filter((part) => part !== program);
  return [`${folder}/${program}`, ...parts.map((part) => `${folder}/${part}`)];
}

/** Parts of a bundle that are not loaded before its program begins. */
export async function laterParts([program, ...parts]: Bundle): Promise<string[]> {
  const texts = new Map<string, string>();
  for (const path of [program, ...parts]) {
    texts.set(nameOf(path), await Deno.readTextFile(path));
  }
  const first = importedFirst(nameOf(program), texts);
  return parts.filter((path) => !first.includes(nameOf(path)));
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** Runs `deno bundle`. @throws Error with what it says */
async function run(
  args: readonly string[],
  cwd: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["bundle", "--quiet", ...args],
    cwd,
    env: { NO_COLOR: "1" },
    stdin: "null",
    ...(signal === undefined ? {} : { signal }),
  }).output();
  if (success) return;
  const why = new TextDecoder().decode(stderr).trim();
  throw new Error(`${args.at(-1)} cannot be bundled: ${why}`);
}

async function partsIn(folder: string): Promise<string[]> {
  const entries = await Array.fromAsync(Deno.readDir(folder));
  return entries.filter(({ name }) => name.endsWith(".js")).map(({ name }) => name).sort();
}

/** What esbuild writes of the names that one part has from another, and that it gives to others. */
const IMPORT = /^import (?:\{([^}]*)\} from )?"\.\/([^"]+)";$/gm;
const EXPORT = /^export \{([^}]*)\};$/m;
const LATER = /\bimport\("(\.\/[^"]+)"\)/g;

/** esbuild's label of a part that was joined; nobody finds it any more. */
const LABEL = /^\/\/ \S+\.js\n/gm;

/** The part that has all that a program loads first. */
const CORE = "core.js";

/**
 * Joins the parts that a program loads first, some twenty: each would take a few tenths of a
 * millisecond of the start. The program itself stays what it is: while it runs it loads others,
 * which import from these parts, and would wait for its end.
 */
async function joinFirst(
  folder: string,
  program: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const texts = new Map<string, string>();
  for (const part of await partsIn(folder)) {
    texts.set(part, await Deno.readTextFile(`${folder}/${part}`));
  }
  const first = importedFirst(program, texts);
  if (first.length < 2) return;
  // Several parts may give the same name to different things.
  const marks = new Map(first.map((part, i) => [part, `_${i}_`]));
  const core = first.map((part) => {
    const names = namesIn(EXPORT.exec(texts.get(part)!)?.[1] ?? "");
    const marked = names.map(([, name]) => `${name} as ${marks.get(part)}${name}`);
    return `import "./${part}";\nexport { ${marked.join(", ")} } from "./${part}";\n`;
  });
  await Deno.writeTextFile(`${folder}/${CORE}`, core.join(""));
  const later = first.flatMap((part) => [...texts.get(part)!.matchAll(LATER)]);
  const externals = new Set(later.map(([, part]) => `--external=${part}`));
  await run([...externals, "--outdir", "joined", CORE], folder, signal);
  const joined = await Deno.readTextFile(`${folder}/joined/${CORE}`);
  await Deno.remove(`${folder}/joined`, { recursive: true });
  await Deno.writeTextFile(`${folder}/${CORE}`, joined.replace(LABEL, ""));
  for (const [part, text] of texts) {
    if (marks.has(part)) await Deno.remove(`${folder}/${part}`);
    else await Deno.writeTextFile(`${folder}/${part}`, importingCore(text, marks));
  }
}

/**
 * @param marks what stands before names of the parts that were joined
 * @throws Error one of these is imported in another way than esbuild writes it
 */
function importingCore(text: string, marks: ReadonlyMap<string, string>): string {
  const changed = text.replace(IMPORT, (whole, names: string | undefined, part: string) => {
    const mark = marks.get(part);
    if (mark === undefined) return whole;
    if (names === undefined) return `import "./${CORE}";`;
    const own = namesIn(names).map(([there, here]) => `  ${mark}${there} as ${here}`);
    return `import {\n${own.join(",\n")}\n} from "./${CORE}";`;
  });
  for (const part of marks.keys()) {
    if (changed.includes(`"./${part}"`)) throw new Error(`nobody knows how ${part} is imported`);
  }
  return changed;
}

/** Parts that are loaded before a program begins, without itself, each behind what it imports. */
function importedFirst(program: string, texts: ReadonlyMap<string, string>): string[] {
  const found = new Set<string>();
  function visit(part: string): void {
    for (const [, , name] of texts.get(part)!.matchAll(IMPORT)) {
      if (name === program || visited.has(name!)) continue;
      visited.add(name!);
      visit(name!);
      found.add(name!);
    }
  }
  const visited = new Set<string>();
  visit(program);
  return [...found];
}

/** "a, b as c": what it is called on the left, and on the right. */
function namesIn(list: string): [left: string, right: string][] {
  return list.split(",").map((each) => each.trim()).filter((each) => each !== "").map((each) => {
    const [left, right = left] = each.split(" as ") as [string, string?];
    return [left, right];
  });
}
