/**
 * Directories of PATH that do not have a name. Looking for what is not there costs an exception each
 * time, for each directory before the right one; a directory tells by its time stamps that no name
 * has come to it.
 */
import { areTimesTelling } from "./time_stamps.ts";

/** Names remembered; a command looks for two or three, in a handful of directories. */
const MAX_KNOWN = 256;

export class Absences {
  /** By path: the directory's identity when the name was not in it. */
  readonly #known = new Map<string, string>();
  readonly #now: () => number;

  /** @param now milliseconds since 1970 */
  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** Whether it is still known that the name is not in the directory. */
  has(directory: string, name: string): boolean {
    const known = this.#known.get(`${directory}/${name}`);
    return known !== undefined && known === this.#identityOf(directory);
  }

  /** Remembers that a name was not found. */
  add(directory: string, name: string): void {
    const path = `${directory}/${name}`;
    this.#known.delete(path);
    // It may have come since: what counts is what follows.
    const identity = this.#identityOf(directory);
    if (identity === undefined || isThere(path)) return;
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    this.#known.set(path, identity);
  }

  /** What changes when a name comes to a directory; undefined while that could go unnoticed. */
  #identityOf(directory: string): string | undefined {
    try {
      const { dev, ino, mtime, ctime } = Deno.statSync(directory);
      if (!areTimesTelling({ mtime, ctime }, this.#now())) return undefined;
      return `${dev} ${ino} ${+mtime!} ${+ctime!}`;
    } catch {
      return undefined;
    }
  }
}

/** What a link leads to may come without a change to the link's directory. */
function isThere(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}
