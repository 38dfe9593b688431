/** What a program is made of, and when it was last changed. */
import config from "../../deno.json" with { type: "json" };
import type { Stamp } from "./guard.ts";

/** What makes bundles, and what says which packages are in them. */
const MAKERS = [
  "deno.json",
  "deno.lock",
  ...config.workspace.map((member) => `${member.replace(/^\.\//, "")}/deno.json`),
  "scripts/bundle.ts",
  "scripts/program/beginning.ts",
  "scripts/program/build.ts",
  "scripts/program/guard.ts",
  "scripts/program/stamps.ts",
];

/** How long ago a change must be for the next one to show: Deno tells ctime in whole seconds. */
const GRAIN_MS = 1_000;

/** The same where times of files are as coarse as that altogether: then they may be coarser. */
const COARSE_MS = 3_000;

/** Files of a program, and what makes a bundle of them, from the project's folder. */
export interface Files {
  /** What it loads before it begins, and the makers. */
  readonly first: readonly string[];
  /** What else it can load. */
  readonly later: readonly string[];
}

/** A module in what `deno info` says. */
interface Module {
  readonly specifier: string;
  readonly local?: string;
  readonly dependencies?: readonly {
    readonly code?: { readonly specifier?: string };
    readonly isDynamic?: boolean;
  }[];
}

/**
 * All files that src/<name>.ts can load.
 *
 * @param root path of the project's folder, with a slash at the end
 * @throws Error with what `deno info` says
 */
export async function filesOf(name: string, root: string, signal: AbortSignal): Promise<Files> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--quiet", "--json", `src/${name}.ts`],
    cwd: root,
    env: { NO_COLOR: "1" },
    stdin: "null",
    signal,
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr).trim());
  const { roots, modules } = JSON.parse(new TextDecoder().decode(stdout)) as {
    readonly roots: readonly string[];
    readonly modules: readonly Module[];
  };
  const known = new Map(modules.map((module) => [module.specifier, module]));
  const first = new Set(roots);
  for (const specifier of first) {
    for (const { code, isDynamic } of known.get(specifier)?.dependencies ?? []) {
      if (code?.specifier !== undefined && isDynamic !== true) first.add(code.specifier);
    }
  }
  const ownOf = (some: readonly Module[]) =>
    some.flatMap(({ local }) => local?.startsWith(root) ? [local.slice(root.length)] : []);
  const soon = new Set(ownOf(modules.filter(({ specifier }) => first.has(specifier))));
  if (soon.size === 0) throw new Error(`nothing is known of what src/${name}.ts is made of`);
  for (const maker of MAKERS) soon.add(maker);
  return { first: [...soon], later: ownOf(modules).filter((file) => !soon.has(file)) };
}

/** @returns undefined: one of them cannot be read, or this system keeps no such times */
export async function stampsOf(
  files: readonly string[],
  root: string,
): Promise<Stamp[] | undefined> {
  try {
    return await Promise.all(files.map(async (file): Promise<Stamp> => {
      const { size, mtime, ctime } = await Deno.stat(root + file);
      return [file, size, mtime!.getTime(), ctime!.getTime()];
    }));
  } catch {
    return undefined;
  }
}

/**
 * How long it takes until the next change of any of them will show: a file that was changed just
 * before could be changed again and keep its times.
 *
 * @param now by the clock of the file system, in milliseconds since 1970
 * @returns milliseconds; 0 or less: it would show now
 */
export function unrestMs(stamps: readonly Stamp[], now: number): number {
  const grain = stamps.some(([, , mtime]) => mtime % 1_000 !== 0) ? GRAIN_MS : COARSE_MS;
  return Math.max(...stamps.map(([, , , ctime]) => ctime)) + grain - now;
}
