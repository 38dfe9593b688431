/**
 * Temporary folders and names that no other test uses. Everything lies under one folder per test
 * run (TEST_RUN_DIR, set by run.ts) or, when a file is run by itself, under the system's.
 */

let counter = 0;

/** A name for a queue, exchange or consumer that no other test of any run uses. */
export function uniqueName(prefix = "test"): string {
  const random = crypto.getRandomValues(new Uint32Array(1))[0]!.toString(36);
  return `${prefix}.${Deno.pid.toString(36)}.${(counter++).toString(36)}.${random}`;
}

/** A folder that goes with the block that declares it: `await using dir = await tempDir()`. */
export interface TempDir extends AsyncDisposable {
  readonly path: string;
  /** The path of a file in the folder. */
  file(name: string): string;
}

/**
 * @param parent where to make it; default: the folder of the test run
 */
export async function tempDir(prefix = "test-", parent?: string): Promise<TempDir> {
  const dir = parent ?? Deno.env.get("TEST_RUN_DIR");
  const path = await Deno.makeTempDir({ prefix, ...(dir ? { dir } : {}) });
  return {
    path,
    file: (name) => `${path}/${name}`,
    [Symbol.asyncDispose]: () => removeDir(path),
  };
}

/** Removes a folder; one that is gone already is fine. */
export async function removeDir(path: string): Promise<void> {
  try {
    await Deno.remove(path, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
