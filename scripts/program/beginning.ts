/** What is written at the beginning of a bundle: the guard that looks whether it is stale. */
import { type Bundle, laterParts } from "../bundle.ts";
import type { Program } from "../tasks.ts";
import { hold, isStale, type Stamp } from "./guard.ts";

/**
 * A program that is done soon looks at the start only at the files of what it loads first: 70 more take
 * half a millisecond. The first other part that it loads looks at the rest, and runs the source instead
 * when that has changed. So such a part must be loaded before anything is done that must not be done
 * twice, and before a pipe is read.
 */
const BRIEF: readonly Program[] = ["new_task"];

/** The part that looks at the rest. */
const LATER = "later.js";

/** When a stale bundle is made again. */
export interface Renewal {
  /** The file that says which bundle is in use, from the project's folder. */
  readonly pointer: string;
  /** How long its source must have rested, in milliseconds. */
  readonly restMs: number;
}

/** What a bundle was made of. */
export interface Stamps {
  /** Of what its program loads first, and of what makes bundles. */
  readonly first: readonly Stamp[];
  /** Of what else it can load. */
  readonly later: readonly Stamp[];
}

/** Text that runs the source in the place of what follows, when one of these files has changed. */
export function beginning(
  name: Program,
  stamps: readonly Stamp[],
  { pointer, restMs }: Renewal,
): string {
  const path = JSON.stringify(`/../../${pointer}`);
  const given = `import.meta.dirname + ${path}, ${restMs}, ${JSON.stringify(stamps)}`;
  const source = `new URL("../../src/${name}.ts", import.meta.url).href`;
  return `${isStale}\n` +
    `if (isStale(import.meta.dirname, ${given})) await (await import(${source})).main();\n`;
}

/**
 * Has a bundle look whether it is stale.
 *
 * @returns its files
 */
export async function guard(
  name: Program,
  bundle: Bundle,
  { first, later }: Stamps,
  renewal: Renewal,
): Promise<string[]> {
  const [program] = bundle;
  const isBrief = BRIEF.includes(name) && later.length > 0;
  const parts = await laterParts(bundle);
  const holding = `${hold}\nhold(import.meta.dirname);\n`;
  if (!isBrief) {
    await prepend(program, beginning(name, [...first, ...later], renewal) + holding);
    return [...bundle];
  }
  await prepend(program, beginning(name, first, renewal));
  const rest = program.replace(/[^/]+$/, LATER);
  await Deno.writeTextFile(rest, beginning(name, later, renewal) + holding);
  for (const part of parts) await prepend(part, `import "./${LATER}";\n`);
  return [...bundle, rest];
}

async function prepend(path: string, text: string): Promise<void> {
  await Deno.writeTextFile(path, text + await Deno.readTextFile(path));
}
