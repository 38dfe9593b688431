/** Finds the file that a command name stands for, so that a missing one is known before any task. */
import { EXIT, InputError, reason, ToolError } from "../errors.ts";

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
  const cwd = options.cwd ?? ownDirectory();
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

/** @throws {InputError} it was removed */
function ownDirectory(): string {
  try {
    return Deno.cwd();
  } catch (error) {
    throw new InputError(
      "the command needs a directory to run in, and the worker's own is gone",
      EXIT.noInput,
      { cause: error },
    );
  }
}

/** Why a file cannot be executed, or undefined. */
function faultOf(file: string): ToolError | undefined {
  let stat: Deno.FileInfo;
  try {
    stat = Deno.statSync(file);
  } catch (error) {
    return error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory
      ? new ToolError(`the command must exist, and "${file}" does not`, EXIT.notFound)
      : notExecutable(file, reason(error));
  }
  if (!stat.isFile) return notExecutable(file, "it is no file");
  if (((stat.mode ?? 0o111) & 0o111) === 0) {
    return notExecutable(file, "its execute permission is not set");
  }
  const head = headOf(file);
  if (isForeign(head)) {
    return notExecutable(
      file,
      "it is no program for this machine; one that an emulator runs needs --shell",
    );
  }
  const interpreter = interpreterOf(head);
  if (interpreter !== undefined && !exists(interpreter)) {
    return new ToolError(
      `the command needs its interpreter, and "${interpreter}", named in the first line of "${file}", does not exist`,
      EXIT.notFound,
    );
  }
  return undefined;
}

/** The first bytes of a file; none when it cannot be read: executable without that is allowed. */
function headOf(file: string): Uint8Array {
  const head = new Uint8Array(256);
  try {
    using script = Deno.openSync(file);
    return head.subarray(0, script.readSync(head) ?? 0);
  } catch {
    return head.subarray(0, 0);
  }
}

/** The program in a `#!` line, if there is one. */
function interpreterOf(head: Uint8Array): string | undefined {
  return /^#![ \t]*([^ \t\n]+)/.exec(new TextDecoder().decode(head))?.[1];
}

/** "\x7fELF" */
const ELF = [0x7f, 0x45, 0x4c, 0x46];

/** e_machine of the ELF programs that run here: this machine's own and those of 32 bits. */
const MACHINES = { x86_64: [62, 3], aarch64: [183, 40] };

/**
 * Whether Linux refuses to execute what begins like this, unless it was told of an emulator
 * (binfmt_misc), which needs more permissions to find out. setsid(1) would hand it to a shell as if
 * it were a script, and tasks would pay for the syntax error.
 */
function isForeign(head: Uint8Array): boolean {
  if (Deno.build.os !== "linux") return false;
  if (ELF.every((byte, at) => head[at] === byte)) {
    const machine = (head[18] ?? 0) + 256 * (head[19] ?? 0);
    return !MACHINES[Deno.build.arch].includes(machine);
  }
  // As bash tells binaries from scripts.
  const firstLine = head.subarray(0, (head.indexOf(0x0a) + 1) || head.length);
  return firstLine.includes(0);
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
