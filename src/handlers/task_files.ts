/** The files of one run, in a directory that only this user can read. */
import { EXIT, reason, ToolError } from "../errors.ts";
import { Launcher } from "./launcher.ts";

/** Snooze and progress files that nobody read are looked for once in so many runs. */
const SWEEP_EVERY = 256;

/** Longest content of a snooze file that is looked at, in bytes. */
const MAX_SNOOZE_BYTES = 64;

/** Makes and removes the files. The directory comes with the first run. */
export class TaskFiles implements Disposable {
  readonly #parent: string;
  #directory: OwnDirectory | undefined;

  /** @param parent where the directory is made; default TMPDIR */
  constructor(parent = temporaryDirectory()) {
    this.#parent = parent;
  }

  /**
   * @param run a number that no other run of this worker has
   * @throws {ToolError} when the temporary directory cannot be written
   */
  create(run: number, metadata: string): RunFiles {
    // Somebody may have tidied the temporary directory while the worker was idle.
    if (this.#directory?.isThere === false) this[Symbol.dispose]();
    const directory = this.#directory ??= new OwnDirectory(this.#parent);
    try {
      if (run % SWEEP_EVERY === 0) sweep(directory.path);
      return new RunFiles(directory, run, metadata);
    } catch (error) {
      throw unwritable(directory.path, error);
    }
  }

  /** What every RunFiles' `meta` begins with; undefined before the first. */
  get prefix(): string | undefined {
    return this.#directory && `${this.#directory.path}/`;
  }

  [Symbol.dispose](): void {
    this.#directory?.[Symbol.dispose]();
    this.#directory = undefined;
  }
}

/** The files of one run; disposing removes them. */
export class RunFiles implements Disposable {
  /** Path of the metadata, as JSON. */
  readonly meta: string;
  /** Path where the command may write how long it wants to be left alone, as "90s". */
  readonly snooze: string;
  /** Path where the command may write how far it is, line by line. */
  readonly progress: string;
  /** Of all runs. */
  readonly launcher: Launcher | undefined;

  constructor({ path, launcher }: OwnDirectory, run: number, metadata: string) {
    this.meta = `${path}/${run}.json`;
    this.snooze = `${path}/${run}.snooze`;
    this.progress = `${path}/${run}.progress`;
    this.launcher = launcher;
    try {
      Deno.writeTextFileSync(this.meta, metadata, { mode: 0o600, createNew: true });
    } catch (error) {
      remove(this.meta); // a part of it
      throw error;
    }
  }

  /** What the command wrote to the snooze file, if it did; the file goes. */
  takeSnooze(): string | undefined {
    try {
      // Opening a named pipe would wait for somebody who writes to it.
      if (!Deno.lstatSync(this.snooze).isFile) return undefined;
      using file = Deno.openSync(this.snooze);
      const bytes = new Uint8Array(MAX_SNOOZE_BYTES);
      const length = file.readSync(bytes) ?? 0;
      return new TextDecoder().decode(bytes.subarray(0, length)).trim();
    } catch {
      return undefined;
    } finally {
      remove(this.snooze);
    }
  }

  /** Leaves the other files: looking for what is hardly ever there would cost every run. */
  [Symbol.dispose](): void {
    remove(this.meta);
  }
}

/** What the names of the directories begin with. */
const PREFIX = "worker-";

/**
 * A directory that is locked while its owner lives. The lock goes with the process, however that
 * ends: what is not locked was left behind by one that was killed, and goes when another begins.
 */
class OwnDirectory implements Disposable {
  readonly path: string;
  readonly launcher: Launcher | undefined;
  /** Holds the lock; undefined where directories cannot be locked. */
  readonly #lock: Deno.FsFile | undefined;
  readonly #identity: string;

  /** @throws {ToolError} */
  constructor(parent: string) {
    try {
      for (;;) {
        this.path = Deno.makeTempDirSync({ dir: parent, prefix: PREFIX });
        this.#lock = lock(this.path);
        const identity = identityOf(this.path);
        if (identity !== undefined) {
          this.#identity = identity;
          break;
        }
        // Somebody who collects what is left behind was faster than the lock.
        this.#lock?.close();
      }
    } catch (error) {
      throw unwritable(parent, error);
    }
    if (this.#lock !== undefined) collect(parent, this.path);
    this.launcher = Launcher.make(this.path);
  }

  /** Where it was removed, anybody can make another one of its name, with another launcher in it. */
  get isThere(): boolean {
    try {
      return this.#identity === identityOf(this.path);
    } catch {
      return false;
    }
  }

  [Symbol.dispose](): void {
    if (this.isThere) remove(this.path, true);
    this.#lock?.close();
  }
}

function temporaryDirectory(): string {
  if (Deno.build.os === "windows") return Deno.env.get("TEMP") || Deno.env.get("TMP") || ".";
  return Deno.env.get("TMPDIR") || "/tmp";
}

/** Waits for the lock; whoever has it is about to remove the directory. */
function lock(path: string): Deno.FsFile | undefined {
  if (Deno.build.os === "windows") return undefined;
  try {
    const file = Deno.openSync(path);
    file.lockSync(true);
    return file;
  } catch {
    return undefined; // no such locks on this disk, or the directory is gone already
  }
}

/** Removes the directories of workers that are gone. Deno has what it takes since 2.9. */
function collect(parent: string, own: string): void {
  if (!("tryLockSync" in Deno.FsFile.prototype)) return;
  try {
    const { uid } = Deno.lstatSync(own);
    for (const { isDirectory, name } of Deno.readDirSync(parent)) {
      const path = `${parent}/${name}`;
      if (!isDirectory || !name.startsWith(PREFIX) || path === own) continue;
      if (Deno.lstatSync(path).uid === uid) collectOne(path);
    }
  } catch {
    // Another day: a name that has just vanished, or a directory that may not be read.
  }
}

function collectOne(path: string): void {
  using directory = Deno.openSync(path);
  if (directory.tryLockSync(true)) remove(path, true);
}

function unwritable(path: string, error: unknown): ToolError {
  return new ToolError(
    `the files of a task must be written to ${JSON.stringify(path)}, and cannot be: ` +
      reason(error),
    EXIT.temporary,
    { cause: error },
  );
}

/** Removes the files that commands wrote in runs that are over. */
function sweep(directory: string): void {
  const names = new Set(Array.from(Deno.readDirSync(directory), (entry) => entry.name));
  for (const name of names) {
    const meta = name.replace(/\.(snooze|progress)$/, ".json");
    if (name !== meta && !names.has(meta)) remove(`${directory}/${name}`);
  }
}

function remove(path: string, recursive = false): void {
  try {
    Deno.removeSync(path, { recursive });
  } catch {
    // Not there, or not ours any more: what is left holds nothing that is needed.
  }
}

/** Which directory a path leads to, and whose it is; undefined: none. @throws {Error} nobody knows */
function identityOf(path: string): string | undefined {
  try {
    const { dev, ino, uid } = Deno.lstatSync(path);
    return `${dev} ${ino} ${uid}`;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
