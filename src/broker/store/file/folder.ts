/** The folder of the data: made, and safe from a power cut before anything is promised. */

import { EXIT, reason, ToolError } from "../../../errors.ts";

/** @throws {ToolError} when it is not there and cannot be created */
export function createFolder(folder: string): void {
  if (isFolder(folder)) return;
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
