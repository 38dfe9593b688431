/** The files of one run, in a directory that only this user can read. */

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
      this.#directory ??= Deno.makeTempDirSync({ prefix: "worker-" });
      return new RunFiles(this.#directory, run, metadata);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound) || this.#directory === undefined) throw error;
      // Somebody tidied the temporary directory while the worker was idle.
      this.#directory = Deno.makeTempDirSync({ prefix: "worker-" });
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

  /** What the command wrote to the snooze file, if it did. */
  readSnooze(): string | undefined {
    try {
      using file = Deno.openSync(this.snooze);
      const bytes = new Uint8Array(MAX_SNOOZE_BYTES);
      const length = file.readSync(bytes) ?? 0;
      return new TextDecoder().decode(bytes.subarray(0, length)).trim();
    } catch {
      return undefined;
    }
  }

  [Symbol.dispose](): void {
    remove(this.meta);
    remove(this.snooze);
  }
}

function remove(path: string, recursive = false): void {
  try {
    Deno.removeSync(path, { recursive });
  } catch {
    // Not there, or not ours any more: what is left holds nothing that is needed.
  }
}
