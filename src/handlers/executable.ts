/**
 * Whether the system executes a file. execvp(3), which starts commands, hands what the kernel
 * refuses (a file that is empty, cut off, of no known format or of another machine) to /bin/sh as if
 * it were a script; an empty one succeeds there, and its task would count as done.
 */
import { EXIT, reason, ToolError } from "../errors.ts";
import { areTimesTelling } from "./time_stamps.ts";

/** The kernel's BINPRM_BUF_SIZE: it looks at no more of a first line. */
const HEAD_BYTES = 256;

/** Interpreters of interpreters that Linux follows. */
const MAX_DEPTH = 5;

/** Files remembered; a command needs two or three. */
const MAX_KNOWN = 64;

/** The file is there, and no kernel of this machine executes what is in it. */
export class FormatError extends ToolError {
  override readonly name = "FormatError";
  constructor(file: string, why: string) {
    super(
      `the command must be executable, and ${JSON.stringify(file)} is not: ${why}`,
      EXIT.notExecutable,
    );
  }
}

/** There is no such file. */
export class AbsentError extends ToolError {
  override readonly name = "AbsentError";
  constructor(file: string) {
    super(`the command must exist, and ${JSON.stringify(file)} does not`, EXIT.notFound);
  }
}

/**
 * Finds a program as a `#!/usr/bin/env NAME` line does.
 *
 * @param depth how many files lead to it
 * @throws {ToolError}
 */
export type Find = (name: string, depth: number) => void;

/** A file that was found good. */
interface Known {
  readonly identity: string;
  readonly needs: Needs;
}

/** What else a file needs to run. */
interface Needs {
  /** The kernel loads it itself: nothing of it is read later by somebody else. */
  readonly isProgram?: boolean;
  /** Another file: of a script its interpreter, of a program its loader. */
  readonly file?: string;
  /** How to name it in an error. */
  readonly role?: string;
  /** A program that env(1) is to find. */
  readonly program?: string;
}

export class Executables {
  readonly #known = new Map<string, Known>();

  /**
   * Why a file cannot be executed now, or undefined. Cheap for a file that has not changed.
   *
   * @param cwd directory that a relative interpreter is relative to
   */
  faultOf(file: string, cwd: string, find: Find, depth = 0): ToolError | undefined {
    let needs: Needs;
    try {
      needs = this.#look(file);
    } catch (error) {
      if (error instanceof ToolError) return error;
      throw error;
    }
    if (depth > MAX_DEPTH) return new FormatError(file, "its interpreters never end");
    if (needs.file !== undefined) {
      const path = needs.file.startsWith("/") ? needs.file : `${cwd}/${needs.file}`;
      const fault = this.faultOf(path, cwd, find, depth + 1);
      if (fault !== undefined) return dependentFault(file, needs.role!, needs.file, fault);
    }
    if (needs.program === undefined) return undefined;
    try {
      find(needs.program, depth + 1);
      return undefined;
    } catch (error) {
      if (!(error instanceof ToolError)) throw error;
      return dependentFault(file, "interpreter", needs.program, error);
    }
  }

  /** Whether a file was a program of the system's own format when it was looked at last. */
  isProgram(file: string): boolean {
    return this.#known.get(file)?.needs.isProgram === true;
  }

  /** @throws {ToolError} */
  #look(file: string): Needs {
    const stat = statOf(file);
    const identity = [stat.dev, stat.ino, stat.size, stat.mode, +stat.mtime!, +stat.ctime!].join();
    const known = this.#known.get(file);
    if (known?.identity === identity) return known.needs;
    this.#known.delete(file);
    if (((stat.mode ?? 0o111) & 0o111) === 0) {
      throw notExecutable(file, "its execute permission is not set");
    }
    const needs = needsOf(file, stat.size);
    if (areTimesTelling(stat, Date.now())) {
      if (this.#known.size >= MAX_KNOWN) this.#known.clear();
      this.#known.set(file, { identity, needs });
    }
    return needs;
  }
}

function dependentFault(
  file: string,
  role: string,
  needed: string,
  fault: ToolError,
): ToolError {
  const missing = fault.exitCode === EXIT.notFound;
  const message = `the command needs its ${role}, and ${JSON.stringify(needed)}, named in ` +
    `${JSON.stringify(file)}, ${missing ? "does not exist" : `does not run: ${fault.message}`}`;
  if (missing) return new ToolError(message, EXIT.notFound);
  return fault instanceof FormatError
    ? new FormatError(file, message)
    : new ToolError(message, fault.exitCode);
}

/** @throws {ToolError} */
function statOf(file: string): Deno.FileInfo {
  let stat: Deno.FileInfo;
  try {
    stat = Deno.statSync(file);
  } catch (error) {
    throw error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory
      ? new AbsentError(file)
      : notExecutable(file, reason(error));
  }
  if (!stat.isFile) throw notExecutable(file, "it is no file");
  return stat;
}

/** @throws {ToolError} */
function needsOf(file: string, size: number): Needs {
  if (size === 0) throw new FormatError(file, "it is empty");
  let opened: Deno.FsFile;
  try {
    opened = Deno.openSync(file);
  } catch {
    return {}; // executable without being readable is allowed
  }
  using program = opened;
  const head = new Uint8Array(HEAD_BYTES);
  const bytes = head.subarray(0, program.readSync(head) ?? 0);
  if (bytes[0] === 0x23 && bytes[1] === 0x21) return scriptNeeds(file, bytes);
  if (Deno.build.os === "linux") {
    if (ELF.every((byte, at) => bytes[at] === byte)) return programNeeds(file, program, size);
    throw new FormatError(
      file,
      'it is no program for this machine, and no script with "#!" and its interpreter in the ' +
        "first line; what an emulator runs needs --shell",
    );
  }
  const end = bytes.indexOf(0x0a);
  const isText = !bytes.subarray(0, end === -1 ? bytes.length : end).includes(0);
  if (isText) throw new FormatError(file, 'its first line is not "#!" and an interpreter');
  return {};
}

/** What the first line of a script names. */
function scriptNeeds(file: string, head: Uint8Array): Needs {
  const end = head.indexOf(0x0a);
  if (end === -1) throw new FormatError(file, "its first line is cut off or too long");
  const line = new TextDecoder().decode(head.subarray(2, end));
  const match = /^[ \t]*([^ \t]+)[ \t]*(.*?)[ \t]*$/.exec(line);
  if (match === null) throw new FormatError(file, 'no interpreter is named behind its "#!"');
  const [, interpreter, rest] = match as unknown as [string, string, string];
  const needs = { file: interpreter, role: "interpreter" };
  if (!/(?:^|\/)env$/.test(interpreter) || rest === "") return needs;
  const program = programOfEnv(rest);
  return program === undefined ? needs : { ...needs, program };
}

/** The program that env(1) starts with this one argument, as far as that is plain. */
function programOfEnv(argument: string): string | undefined {
  if (!argument.startsWith("-")) return argument;
  const words = /^-S[ \t]*(.*)$/.exec(argument)?.[1]?.split(/[ \t]+/) ?? [];
  const program = words.find((word) => !/^[A-Za-z_]\w*=/.test(word));
  return program === undefined || /^-|["'$\\]/.test(program) ? undefined : program;
}

/** "\x7fELF" */
const ELF = [0x7f, 0x45, 0x4c, 0x46];

/** e_machine of the ELF programs that run here: this machine's own and those of 32 bits. */
const MACHINES = { x86_64: [62, 3], aarch64: [183, 40] };

/** Where the fields of an ELF file and of its program headers are, for 32 and 64 bits. */
const LAYOUTS = {
  1: { phoff: 28, phnum: 44, entry: 32, offset: 4, filesz: 16 },
  2: { phoff: 32, phnum: 56, entry: 56, offset: 8, filesz: 32 },
} as const;

const PT_LOAD = 1;
const PT_INTERP = 3;
const MAX_PATH_BYTES = 4_096;

/** What a program of the system's own format needs, after elf(5). */
function programNeeds(file: string, program: Deno.FsFile, size: number): Needs {
  const header = bytesAt(program, 0, 64);
  const layout = LAYOUTS[header[4] as 1 | 2];
  const view = new DataView(header.buffer);
  if (header.length < 64 || layout === undefined) throw cutOff(file);
  if (!MACHINES[Deno.build.arch].includes(view.getUint16(18, true))) {
    throw new FormatError(file, "it is a program for another kind of machine");
  }
  const wide = layout === LAYOUTS[2];
  const word = (from: DataView, at: number) =>
    wide ? Number(from.getBigUint64(at, true)) : from.getUint32(at, true);
  const count = view.getUint16(layout.phnum, true);
  const table = bytesAt(program, word(view, layout.phoff), count * layout.entry);
  if (count === 0 || table.length < count * layout.entry) throw cutOff(file);
  let needs: Needs = { isProgram: true };
  for (let at = 0; at < table.length; at += layout.entry) {
    const entry = new DataView(table.buffer, at, layout.entry);
    const type = entry.getUint32(0, true);
    const [offset, length] = [word(entry, layout.offset), word(entry, layout.filesz)];
    if ((type === PT_LOAD || type === PT_INTERP) && offset + length > size) throw cutOff(file);
    if (type === PT_INTERP && length <= MAX_PATH_BYTES) {
      const path = new TextDecoder().decode(bytesAt(program, offset, length));
      needs = { isProgram: true, file: path.replace(/\0.*$/s, ""), role: "loader" };
    }
  }
  return needs;
}

function cutOff(file: string): FormatError {
  return new FormatError(file, "it is cut off");
}

/** Fewer where the file ends. */
function bytesAt(file: Deno.FsFile, offset: number, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  file.seekSync(offset, Deno.SeekMode.Start);
  let filled = 0;
  while (filled < length) {
    const read = file.readSync(bytes.subarray(filled));
    if (read === null) return bytes.slice(0, filled);
    filled += read;
  }
  return bytes;
}

function notExecutable(file: string, why: string): ToolError {
  return new ToolError(
    `the command must be executable, and ${JSON.stringify(file)} is not: ${why}`,
    EXIT.notExecutable,
  );
}
