/**
 * What a bundle does before anything else: it looks whether what it was made of is still the same.
 * The text of these functions is in each bundle, so they may use nothing from outside.
 */

/** A file by its path from the project's folder: its bytes, and its times in ms since 1970. */
export type Stamp = readonly [path: string, size: number, mtime: number, ctime: number];

/**
 * Whether a file has changed since the bundle was made; then the source has to be run. The time of
 * the last change of an inode (ctime) decides too: nobody can set it back, as `git checkout` or
 * `touch` do with the time of the last writing.
 *
 * A stale bundle is taken out of use, for the next start to make another one, when its source has
 * rested for a while: who is writing waits for no bundle.
 *
 * @param folder of the bundle, two levels below the project's
 * @param pointer the file that says which bundle is in use
 * @param restMs how long the source must have rested
 */
export function isStale(
  folder: string,
  pointer: string,
  restMs: number,
  stamps: readonly Stamp[],
): boolean {
  // Each ".." in a path costs as much as looking at the file.
  const project = folder.split(/[/\\]/).slice(0, -2).join("/");
  let stale = false;
  let newest = 0;
  for (const [path, size, mtime, ctime] of stamps) {
    try {
      const now = Deno.statSync(`${project}/${path}`);
      const changed = now.ctime?.getTime() ?? 0;
      if (changed === ctime && now.mtime?.getTime() === mtime && now.size === size) continue;
      newest = Math.max(newest, changed);
    } catch {
      // It is not there any more.
    }
    stale = true;
  }
  if (!stale) return false;
  try {
    if (Date.now() - newest > restMs) Deno.removeSync(pointer);
  } catch {
    // Somebody else has, or we may not; then this goes on from source.
  }
  return true;
}

/** As long as a bundle runs it may want other parts of it. (A timer would cost 6 ms here.) */
export function hold(folder: string): void {
  try {
    Deno.openSync(`${folder}/held`).lockSync(false);
  } catch {
    // Without locks old bundles are kept for a while.
  }
}
