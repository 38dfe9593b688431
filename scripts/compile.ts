/**
 * Compiles the binaries: dist/new_task, dist/worker, dist/broker.
 *
 *   deno task compile                        for this host
 *   deno task compile --single               dist/workqueue, which is all three
 *   deno task compile --target all           for every target, dist/<target>/<name>
 *   deno task compile --offline worker       one binary, with a runtime from npm
 *   deno task compile --measure              what each flag saves
 *
 * A binary gets the permissions of its task in deno.json and never prompts. The program is bundled
 * first (bundle.ts), which leaves the npm packages' unused files out. It is not minified: of 85 MB that saves
 * 0.2 and no time that can be measured, and what goes wrong would bear names like "i".
 *
 * DENORT_BIN (Deno's own variable) names a denort to use instead of a download, COMPILE_DENO the
 * deno executable whose version fits it.
 */
// deno-lint-ignore-file no-console
import { parseArgs } from "@std/cli/parse-args";
import { COMMIT_DIGITS } from "../src/cli/version.ts";
import { bundle } from "./bundle.ts";
import { prepareOfflineDenort } from "./offline_denort.ts";
import { binaryFlagsOf, NAMES, type Program } from "./tasks.ts";

/** All of them in one. */
const SINGLE = "workqueue";

export const TARGETS = [
  "x86_64-unknown-linux-gnu",
  "aarch64-unknown-linux-gnu",
  "x86_64-apple-darwin",
  "aarch64-apple-darwin",
  "x86_64-pc-windows-msvc",
];

const USAGE = `Usage: deno task compile [--target TARGET|all] [--out FOLDER] [--offline] [--measure]
                         [--single | NAME...]

A NAME is ${NAMES.join(", ")}.`;

/** What one run of `deno compile` needs beside the program. */
interface Compiler {
  readonly deno: string;
  /** Absolute path for DENORT_BIN; absent: deno downloads it. */
  readonly denort?: string;
}

interface Options {
  readonly names: readonly Program[];
  /** Absent: this host. */
  readonly targets: readonly (string | undefined)[];
  readonly out: string;
  readonly offline: boolean;
  readonly measure: boolean;
}

/** A mistake of the user or a failed tool: one sentence, no stack. */
class CompileError extends Error {}

async function main(): Promise<void> {
  const options = parseOptions(Deno.args);
  const compiler = await findCompiler(options.offline);
  const foreign = options.targets.find((target) =>
    target !== undefined && target !== Deno.build.target
  );
  if (compiler.denort !== undefined && foreign !== undefined) {
    throw new CompileError(
      `--target ${foreign} needs a runtime that deno downloads; --offline and DENORT_BIN give one ` +
        `for this host only, which is ${Deno.build.target}`,
    );
  }
  const work = await Deno.makeTempDir({ prefix: "compile-" });
  try {
    if (options.measure) return await measure(options, compiler, work);
    for (const name of options.names) {
      const files = await bundle(name, await Deno.makeTempDir({ dir: work }));
      await writeCommit(files);
      await setTimes(files);
      for (const target of options.targets) {
        const file = outputFile(options.out, name, target);
        await compile(compiler, name, files[0], file, target);
        console.log(
          `${file}  ${await size([file])}, of which the program is ${await size(files)}`,
        );
      }
    }
  } finally {
    await Deno.remove(work, { recursive: true });
  }
}

function parseOptions(args: readonly string[]): Options {
  const parsed = parseArgs(args, {
    string: ["target", "out"],
    boolean: ["offline", "measure", "single", "help"],
    unknown: (arg, key) => {
      if (key !== undefined) throw new CompileError(`the option "${arg}" is not known\n${USAGE}`);
    },
  });
  if (parsed.help) {
    console.log(USAGE);
    Deno.exit(0);
  }
  const target = parsed.target as string | undefined;
  if (target !== undefined && target !== "all" && !TARGETS.includes(target)) {
    throw new CompileError(
      `--target must be all or one of ${TARGETS.join(", ")}, and is ${target}`,
    );
  }
  const names = parsed._.map(String);
  const wrong = names.find((name) => !(NAMES as readonly string[]).includes(name));
  if (wrong !== undefined) {
    throw new CompileError(`a name must be one of ${NAMES.join(", ")}, and is ${wrong}`);
  }
  if (parsed.single && names.length > 0) {
    throw new CompileError(`--single makes one binary of all, and ${names[0]} is named besides`);
  }
  return {
    names: parsed.single ? [SINGLE] : names.length > 0 ? names as Program[] : NAMES,
    targets: target === "all" ? TARGETS : [target],
    out: parsed.out as string | undefined ?? "dist",
    offline: parsed.offline === true,
    measure: parsed.measure === true,
  };
}

async function findCompiler(offline: boolean): Promise<Compiler> {
  if (offline) return await prepareOfflineDenort();
  const denort = Deno.env.get("DENORT_BIN");
  return { deno: Deno.env.get("COMPILE_DENO") || Deno.execPath(), ...(denort ? { denort } : {}) };
}

/** Puts the commit where src/cli/version.ts has a mark for it. */
async function writeCommit(files: readonly string[]): Promise<void> {
  const commit = JSON.stringify(await findCommit());
  let marks = 0;
  for (const file of files) {
    const parts = (await Deno.readTextFile(file)).split('"@COMMIT@"');
    marks += parts.length - 1;
    if (parts.length > 1) await Deno.writeTextFile(file, parts.join(commit));
  }
  if (marks === 1) return;
  throw new CompileError(`the program must have one mark for its commit, and has ${marks}`);
}

/**
 * A binary holds the times of its files: with those of the commit, or of SOURCE_DATE_EPOCH, it is
 * the same bytes whenever it is made.
 */
async function setTimes(files: readonly string[]): Promise<void> {
  const seconds = await sourceDate();
  for (const file of files) await Deno.utime(file, seconds, seconds);
}

/** SOURCE_DATE_EPOCH, or when the commit was made, in seconds since 1970; 0 without either. */
export async function sourceDate(): Promise<number> {
  const given = Deno.env.get("SOURCE_DATE_EPOCH");
  if (given) return Number(given);
  const log = await run("git", ["log", "-1", "--format=%ct"]).catch(() => undefined);
  return Number(log?.stdout.trim() || 0);
}

/** What is compiled, for `--version`. */
async function findCommit(): Promise<string> {
  const git = (...args: string[]) => run("git", args).catch(() => undefined);
  const head = await git("rev-parse", `--short=${COMMIT_DIGITS}`, "HEAD");
  if (!head?.success) return "unknown";
  const changes = await git("status", "--porcelain", "--untracked-files=no");
  return head.stdout.trim() + (changes?.stdout === "" ? "" : " with changes");
}

async function compile(
  { deno, denort }: Compiler,
  name: Program,
  program: string,
  file: string,
  target: string | undefined,
  flags: readonly string[] = [],
): Promise<void> {
  const result = await run(deno, [
    "compile",
    ...binaryFlagsOf(name),
    // `deno check` has done it; checking the bundle would fetch types for node.
    "--no-check",
    // Otherwise the program leaves a cache file with a name anyone can guess in the temp folder.
    "--no-code-cache",
    ...(target === undefined ? [] : ["--target", target]),
    ...flags,
    "--output",
    file,
    program,
  ], denort === undefined ? {} : { DENORT_BIN: denort });
  if (result.success) return;
  if (/denort-\S+\.zip/.test(result.stderr)) {
    throw new CompileError(
      `${file} needs the runtime denort ${target ?? "of this host"}, which cannot be downloaded ` +
        "here: set DENORT_BIN to a denort of this Deno's version" +
        (target === undefined ? ", or add --offline to take one from npm (Linux x86_64)" : ""),
    );
  }
  throw new CompileError(`${file} cannot be compiled: ${result.stderr}`);
}

/** Compiles in several ways and prints what each costs over the bare runtime. */
async function measure({ names }: Options, compiler: Compiler, work: string): Promise<void> {
  // The newest flags are this deno's; the sizes are right with any denort.
  const deno = Deno.execPath();
  const help = (await run(deno, ["compile", "--help"])).stdout;
  console.log("binary     flags                                    size         over the smallest");
  for (const name of names) {
    const rows: [flags: string, bytes: number][] = [];
    for (const flags of [[], ["--exclude-unused-npm"], ["--bundle"], ["--bundle", "--minify"]]) {
      if (!flags.every((flag) => help.includes(flag))) continue;
      const file = `${work}/${name}.measured`;
      await compile({ ...compiler, deno }, name, `src/${name}.ts`, file, undefined, flags);
      rows.push([flags.join(" ") || "(none)", (await Deno.stat(file)).size]);
    }
    const smallest = Math.min(...rows.map(([, bytes]) => bytes));
    for (const [flags, bytes] of rows) {
      const over = ((bytes - smallest) / 1e6).toFixed(2).padStart(10);
      console.log(`${name.padEnd(10)} ${flags.padEnd(38)} ${megabytes(bytes)} ${over} MB`);
    }
  }
}

async function run(
  command: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<{ success: boolean; stdout: string; stderr: string }> {
  const output = await new Deno.Command(command, {
    args: [...args],
    env: { NO_COLOR: "1", ...env },
    stdin: "null",
  }).output();
  return {
    success: output.success,
    stdout: new TextDecoder().decode(output.stdout),
    stderr: new TextDecoder().decode(output.stderr).trim(),
  };
}

function outputFile(out: string, name: Program, target: string | undefined): string {
  const suffix = (target ?? Deno.build.target).includes("windows") ? ".exe" : "";
  return `${out}/${target === undefined ? "" : `${target}/`}${name}${suffix}`;
}

async function size(files: readonly string[]): Promise<string> {
  const sizes = await Promise.all(files.map(async (file) => (await Deno.stat(file)).size));
  return megabytes(sizes.reduce((sum, bytes) => sum + bytes));
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(2)} MB`;
}

if (import.meta.main) {
  try {
    await main();
  } catch (error) {
    console.error(`compile: ${error instanceof Error ? error.message : error}`);
    Deno.exit(1);
  }
}
