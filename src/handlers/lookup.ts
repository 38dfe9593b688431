/** Finds the file that a command name stands for, so that a missing one is known before any task. */
import { EXIT, InputError, ToolError } from "../errors.ts";

/** Where to look. */
export interface LookupOptions {
  /** Directory that relative names are relative to; default the current one. */
  readonly cwd?: string;
  /** Directories to search, separated by colons. */
  readonly path: string;
}

/**
 * The executable file of a command, found as execvp(3) does.
 *
 * On Windows the name is returned as it is: its rules (PATHEXT, registry) are the system's to apply.
 *
 * @throws {ToolError} with exit status 127 when there is none, 126 when it cannot be executed
 * @throws {InputError} when the directory to run in is missing
 */
export function findExecutable(name: string, options: LookupOptions): string {
  const cwd = options.cwd ?? Deno.cwd();
  if (!isDirectory(cwd)) {
    throw new InputError(`the command needs a directory to run in, and "${cwd}" is none`);
  }
  if (name === "") {
    throw new ToolError("the command must have a name, and it is empty", EXIT.notFound);
  }
  if (Deno.build.os === "windows") return name;
  if (name.includes("/")) {
    const file = join(cwd, name);
    const fault = faultOf(file);
    if (fault !== undefined) throw fault;
    return file;
  }
  let first: ToolError | undefined;
  for (const directory of options.path.split(":")) {
    const file = join(join(cwd, directory), name);
    const fault = faultOf(file);
    if (fault === undefined) return file;
    // A file without permission hides no later one, and explains most when there is no later one.
    if (fault.exitCode === EXIT.notExecutable) first ??= fault;
  }
  throw first ?? new ToolError(
    `the command "${name}" must be an executable file in PATH, and is in none of ${options.path}`,
    EXIT.notFound,
  );
}

/** Why a file cannot be executed, or undefined. */
function faultOf(file: string): ToolError | undefined {
  let stat: Deno.FileInfo;
  try {
    stat = Deno.statSync(file);
  } catch (error) {
    return error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory
      ? new ToolError(`the command must exist, and "${file}" does not`, EXIT.notFound)
      : notExecutable(file, error instanceof Error ? error.message : String(error));
  }
  if (!stat.isFile) return notExecutable(file, "it is no file");
  if (((stat.mode ?? 0o111) & 0o111) === 0) {
    return notExecutable(file, "its execute permission is not set");
  }
  const interpreter = interpreterOf(file);
  if (interpreter !== undefined && !exists(interpreter)) {
    return new ToolError(
      `the command needs its interpreter, and "${interpreter}", named in the first line of "${file}", does not exist`,
      EXIT.notFound,
    );
  }
  return undefined;
}

/** The program in a `#!` line, if the file has one and can be read. */
function interpreterOf(file: string): string | undefined {
  const head = new Uint8Array(256);
  let length = 0;
  try {
    using script = Deno.openSync(file);
    length = script.readSync(head) ?? 0;
  } catch {
    return undefined; // executable without being readable is allowed
  }
  return /^#![ \t]*([^ \t\n]+)/.exec(new TextDecoder().decode(head.subarray(0, length)))?.[1];
}

function notExecutable(file: string, why: string): ToolError {
  return new ToolError(
    `the command must be executable, and "${file}" is not: ${why}`,
    EXIT.notExecutable,
  );
}

function join(directory: string, name: string): string {
  return name.startsWith("/") ? name : name === "" ? directory : `${directory}/${name}`;
}

function isDirectory(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}
