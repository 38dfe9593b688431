/**
 * Checks the direction of imports in src/. They only go down,
 *
 *   entries (src/*.ts) > cli > worker, broker, handlers, front > amqp > task, observe > errors
 *
 * and never sideways between folders of one level. `new_task` and `worker` reach no broker code,
 * and load node:sqlite only when an option asks for it.
 *
 *   deno run --allow-read --allow-run scripts/check_layers.ts [FOLDER]    default: this project
 */
// deno-lint-ignore-file no-console

/** One import statement. Paths are relative to the project: "src/task/task.ts", or "node:net". */
export interface Import {
  readonly from: string;
  readonly to: string;
  /** 1-based line in `from`. */
  readonly line: number;
  /** `await import()`: loaded only when the program gets there. */
  readonly dynamic: boolean;
  /** Erased before the program runs. */
  readonly typeOnly: boolean;
}

/** Height of each layer; a folder of src/ that is not listed is itself a violation. */
const LEVELS: ReadonlyMap<string, number> = new Map([
  ["entry", 5],
  ["cli", 4],
  ["worker", 3],
  ["broker", 3],
  ["handlers", 3],
  ["front", 3],
  ["amqp", 2],
  ["task", 1],
  ["observe", 1],
  ["errors", 0],
]);

/** What an entry must not reach; `lazily` tells whether `await import()` may. */
const UNREACHABLE: readonly { from: string; to: RegExp; lazily: boolean }[] = [
  { from: "src/new_task.ts", to: /^src\/broker\b/, lazily: false },
  { from: "src/worker.ts", to: /^src\/broker\b/, lazily: false },
  { from: "src/new_task.ts", to: /^node:sqlite$/, lazily: true },
  { from: "src/worker.ts", to: /^node:sqlite$/, lazily: true },
  { from: "src/worker.ts", to: /^node:http$/, lazily: true },
];

/** The sentences to print, one for each import that breaks a rule; none when all is well. */
export function findViolations(imports: readonly Import[]): string[] {
  return [...imports.flatMap(checkDirection), ...UNREACHABLE.flatMap(checkReach)];

  function checkReach(rule: typeof UNREACHABLE[number]): string[] {
    const way = findWay(imports, rule.from, rule.to, !rule.lazily);
    return way ? [`${rule.from} must not reach ${way.at(-1)}: ${way.join(" > ")}`] : [];
  }
}

function checkDirection({ from, to, line }: Import): string[] {
  if (!from.startsWith("src/") || to.includes(":") || to === "deno.json") return [];
  if (!to.startsWith("src/")) {
    return [`${from}:${line} imports ${to}: src/ must stand without the rest of the project`];
  }
  const source = layerOf(from);
  const target = layerOf(to);
  const unknown = [source, target].find((layer) => !LEVELS.has(layer));
  if (unknown !== undefined) {
    return [`${from}:${line} imports ${to}: src/${unknown}/ has no level in check_layers.ts`];
  }
  if (source === target && source !== "entry") return [];
  if (LEVELS.get(target)! < LEVELS.get(source)!) return [];
  return [`${from}:${line} imports ${to}: ${source} must not import ${target}`];
}

function layerOf(path: string): string {
  const [, first, second] = path.split("/") as [string, string, string?];
  if (second !== undefined) return first;
  return first === "errors.ts" ? "errors" : "entry";
}

/** The shortest chain of imports that load code, from a file to one that matches; or nothing. */
function findWay(
  imports: readonly Import[],
  from: string,
  to: RegExp,
  followDynamic: boolean,
): string[] | undefined {
  const ways = new Map([[from, [from]]]);
  for (const [file, way] of ways) {
    if (to.test(file)) return way;
    for (const next of imports) {
      if (next.from !== file || next.typeOnly || ways.has(next.to)) continue;
      if (next.dynamic && !followDynamic) continue;
      ways.set(next.to, [...way, next.to]);
    }
  }
  return undefined;
}

/** The part of `deno info --json` that is read here. */
interface Graph {
  readonly modules: readonly {
    readonly specifier: string;
    readonly error?: string;
    readonly dependencies?: readonly {
      readonly specifier: string;
      readonly code?: Resolution;
      readonly type?: Resolution;
      readonly isDynamic?: boolean;
    }[];
  }[];
}
interface Resolution {
  readonly specifier?: string;
  readonly error?: string;
  readonly span: { readonly start: { readonly line: number } };
}

/**
 * All imports between the modules that src/ of a project consists of, read from one module graph.
 *
 * @param project folder that holds deno.json and src/, with a slash at the end
 * @throws Error when an import cannot be resolved
 */
export async function readImports(project: URL): Promise<Import[]> {
  const files = await listModules(new URL("src/", project));
  const root = "data:application/typescript," +
    encodeURIComponent(files.map((file) => `import ${JSON.stringify(file.href)};`).join("\n"));
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", "--config", new URL("deno.json", project).pathname, root],
    env: { NO_COLOR: "1" },
  }).output();
  if (!success) {
    throw new Error(`Cannot read the imports of src/: ${new TextDecoder().decode(stderr).trim()}`);
  }
  const graph: Graph = JSON.parse(new TextDecoder().decode(stdout));
  return graph.modules.filter((module) => module.specifier.startsWith(project.href)).flatMap(
    (module) => {
      if (module.error) throw new Error(`Cannot read ${module.specifier}: ${module.error}`);
      return (module.dependencies ?? []).map((dependency): Import => {
        const resolution = dependency.code ?? dependency.type;
        const target = resolution?.specifier;
        if (target === undefined) {
          throw new Error(
            `Cannot resolve "${dependency.specifier}" in ${relative(module.specifier, project)}: ` +
              (resolution?.error ?? "no such module"),
          );
        }
        return {
          from: relative(module.specifier, project),
          to: relative(target, project),
          line: resolution!.span.start.line + 1,
          dynamic: dependency.isDynamic === true,
          typeOnly: dependency.code === undefined,
        };
      });
    },
  );
}

async function listModules(folder: URL): Promise<URL[]> {
  const files: URL[] = [];
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    if (isDirectory) files.push(...await listModules(new URL(`${name}/`, folder)));
    else if (name.endsWith(".ts")) files.push(new URL(name, folder));
  }
  return files.sort((a, b) => a.href < b.href ? -1 : 1);
}

function relative(specifier: string, project: URL): string {
  return specifier.startsWith(project.href) ? specifier.slice(project.href.length) : specifier;
}

if (import.meta.main) {
  const folder = Deno.args[0];
  const project = folder === undefined
    ? new URL("../", import.meta.url)
    : new URL(`file://${await Deno.realPath(folder)}/`);
  const imports = await readImports(project);
  const violations = findViolations(imports);
  for (const violation of violations) console.error(violation);
  console.error(`check_layers: ${imports.length} imports, ${violations.length} violations`);
  Deno.exit(violations.length === 0 ? 0 : 1);
}
