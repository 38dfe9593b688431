/** The imports of a project, as `deno info --json` tells them. */

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

/** The TypeScript files below a folder, in order. */
export async function listModules(folder: URL): Promise<URL[]> {
  const files: URL[] = [];
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    if (isDirectory) files.push(...await listModules(new URL(`${name}/`, folder)));
    else if (/\.tsx?$/.test(name)) files.push(new URL(name, folder));
  }
  return files.sort((a, b) => a.href < b.href ? -1 : 1);
}

function relative(specifier: string, project: URL): string {
  return specifier.startsWith(project.href) ? specifier.slice(project.href.length) : specifier;
}
