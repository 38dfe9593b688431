/** The folder of the data: made, and safe from a power cut before anything is promised. */

import { EXIT, reason, ToolError } from "../../../errors.ts";

/**
 * @returns the folders that were made for it, and itself, the innermost first; none: it was there
 * @throws {ToolError} when it is not there and cannot be created
 */
export function createFolder(folder: string): string[] {
  if (isFolder(folder)) return [];
  const made = missingOf(folder);
  try {
    Deno.mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new ToolError(
      `cannot create the data folder ${JSON.stringify(folder)}: ${reasonOf(error)}`,
      EXIT.noInput,
      { cause: error },
    );
  }
  syncParents(folder);
  return made;
}

/** A folder and those around it, the innermost first, as far as they are not there. */
function missingOf(folder: string): string[] {
  const names = folder.split("/");
  const missing: string[] = [];
  for (let count = names.length; count > 0; count--) {
    const path = names.slice(0, count).join("/");
    if (names[count - 1] === "") continue;
    if (isThere(path)) break;
    missing.push(path);
  }
  return missing;
}

/** Removes folders, as far as they are empty. */
export function removeEmpty(folders: readonly string[]): void {
  try {
    for (const folder of folders) Deno.removeSync(folder);
  } catch {
    // Somebody has put something there, and the others are around it.
  }
}

/** SQLite syncs the entries of the folder, but not the folder's own entry, nor those above it. */
function syncParents(folder: string): void {
  const names = folder.split("/").filter((name) => name !== "" && name !== ".");
  let parent = folder;
  for (const _ of names) {
    parent += "/..";
    try {
      using directory = Deno.openSync(parent, { read: true });
      directory.syncSync();
    } catch {
      // Windows cannot, and a user may pass through folders that he may not read.
      return;
    }
  }
}

/** Whether there is something of this name. */
export function isThere(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

/** Whether there is a folder at a path, or a link to one. */
export function isFolder(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}

/** The folder of a file. */
export function folderOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "." : path.slice(0, slash + 1);
}

/** Brings the names in a folder to the disk. */
export function syncFolder(folder: string): void {
  try {
    using directory = Deno.openSync(folder, { read: true });
    directory.syncSync();
  } catch {
    // Windows cannot.
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof Deno.errors.NotCapable) return "system folders are closed to this program";
  if (error instanceof Deno.errors.AlreadyExists) return "there is a file of this name";
  return reason(error);
}
