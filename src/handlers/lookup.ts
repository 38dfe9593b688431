/** Finds the file that a command name stands for, so that a missing one is known before any task. */
import { EXIT, InputError, ToolError } from "../errors.ts";
import { Absences } from "./absences.ts";
import { AbsentError, Executables, FormatError } from "./executable.ts";

/**
 * Milliseconds for which a program that was found counts as found, for one of many runs: to look for it
 * takes as long as a part of a short one.
 */
const FOUND_MS = 20;

/** Where to look. */
export interface LookupOptions {
  /** Directory that relative names are relative to; default the current one. */
  readonly cwd?: string;
  /** Directories to search, separated by colons. */
  readonly path: string;
}

/** Finds a command as execvp(3) does, again and again. */
export class Lookup {
  readonly #options: LookupOptions;
  readonly #executables = new Executables();
  readonly #absences = new Absences();
  /** What was found last, and when, in performance.now(). */
  #found: { readonly name: string; readonly file: string; readonly at: number } | undefined;

  constructor(options: LookupOptions) {
    this.#options = options;
  }

  /**
   * The executable file of a command.
   *
   * On Windows the name is returned as it is: its rules (PATHEXT, registry) are the system's to
   * apply.
   *
   * @throws {ToolError} with exit status 127 when there is none, 126 when it cannot be executed
   * @throws {InputError} when the directory to run in is missing
   */
  find(name: string): string {
    const cwd = this.#options.cwd ?? ownDirectory();
    if (cwd === this.#options.cwd && !isDirectory(cwd)) {
      throw new InputError(`the command needs a directory to run in, and "${cwd}" is none`);
    }
    const file = this.#find(name, cwd, 0);
    this.#found = { name, file, at: performance.now() };
    return file;
  }

  /** The same, or what was found just now. */
  findAmongMany(name: string): string {
    const found = this.#found;
    const isKnown = found?.name === name && performance.now() - found.at < FOUND_MS;
    return isKnown ? found.file : this.find(name);
  }

  /** {@link Executables.isProgram} */
  isProgram(file: string): boolean {
    return this.#executables.isProgram(file);
  }

  /** Why a file that was found cannot be executed any more, or undefined. */
  faultOf(file: string): ToolError | undefined {
    if (Deno.build.os === "windows") return undefined;
    return this.#faultOf(file, this.#options.cwd ?? "/", 0);
  }

  #find(name: string, cwd: string, depth: number): string {
    if (name === "") {
      throw new ToolError("the command must have a name, and it is empty", EXIT.notFound);
    }
    if (Deno.build.os === "windows") return name;
    if (name.includes("/")) {
      const file = join(cwd, name);
      const fault = this.#faultOf(file, cwd, depth);
      if (fault !== undefined) throw fault;
      return file;
    }
    let first: ToolError | undefined;
    for (const directory of this.#options.path.split(":")) {
      const folder = join(cwd, directory);
      if (this.#absences.has(folder, name)) continue;
      const file = join(folder, name);
      const fault = this.#faultOf(file, cwd, depth);
      if (fault === undefined) return file;
      // It is the one that is meant; another of its name would be a surprise.
      if (fault instanceof FormatError) throw fault;
      // What cannot be executed hides no later one, and explains most when there is no later one.
      if (fault instanceof AbsentError) this.#absences.add(folder, name);
      else first ??= fault;
    }
    throw first ?? new ToolError(
      `the command "${name}" must be an executable file in PATH, and is in none of ` +
        this.#options.path,
      EXIT.notFound,
    );
  }

  #faultOf(file: string, cwd: string, depth: number): ToolError | undefined {
    return this.#executables.faultOf(
      file,
      cwd,
      (name, deeper) => this.#find(name, cwd, deeper),
      depth,
    );
  }
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
