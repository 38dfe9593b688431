/** The files of one run, in a directory that only this user can read. */
import { EXIT, reason, ToolError } from "../errors.ts";

/** Snooze files that nobody read are looked for once in so many runs. */
const SWEEP_EVERY = 256;

/** Longest content of a snooze file that is looked at, in bytes. */
const MAX_SNOOZE_BYTES = 64;

/** Makes and removes the files. The directory comes with the first run. */
export class TaskFiles implements Disposable {
  #directory: string | undefined;

  /**
   * @param run a number that no other run of this worker has
   * @throws when the temporary directory cannot be written
   */
  create(run: number, metadata: string): RunFiles {
    try {
      this.#directory ??= makeDirectory();
      if (run % SWEEP_EVERY === 0) sweep(this.#directory);
      return new RunFiles(this.#directory, run, metadata);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound) || this.#directory === undefined) throw error;
      // Somebody tidied the temporary directory while the worker was idle.
      this.#directory = makeDirectory();
      return new RunFiles(this.#directory, run, metadata);
    }
  }

  [Symbol.dispose](): void {
    if (this.#directory !== undefined) remove(this.#directory, true);
    this.#directory = undefined;
  }
}

/** The files of one run; disposing removes them. */
export class RunFiles implements Disposable {
  /** Path of the metadata, as JSON. */
  readonly meta: string;
  /** Path where the command may write how long it wants to be left alone, as "90s". */
  readonly snooze: string;

  constructor(directory: string, run: number, metadata: string) {
    this.meta = `${directory}/${run}.json`;
    this.snooze = `${directory}/${run}.snooze`;
    Deno.writeTextFileSync(this.meta, metadata, { mode: 0o600, createNew: true });
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

  /** Leaves the snooze file: looking for one that is hardly ever there would cost every run. */
  [Symbol.dispose](): void {
    remove(this.meta);
  }
}

/** @throws {ToolError} */
function makeDirectory(): string {
  try {
    return Deno.makeTempDirSync({ prefix: "worker-" });
  } catch (error) {
    throw new ToolError(
      "a folder for the files of tasks must be made in TMPDIR or /tmp, and cannot be made: " +
        reason(error),
      EXIT.temporary,
      { cause: error },
    );
  }
}

/** Removes the snooze files of runs that are over. */
function sweep(directory: string): void {
  const names = new Set(Array.from(Deno.readDirSync(directory), (entry) => entry.name));
  for (const name of names) {
    const meta = name.replace(/\.snooze$/, ".json");
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
