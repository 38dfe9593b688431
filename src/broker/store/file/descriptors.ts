/** Whether there are file descriptors for what is opened next. */

import { folderOf } from "./folder.ts";

/**
 * @param path of a data file
 * @throws when there are fewer than `count`
 */
export function findDescriptors(path: string, count: number): void {
  const found: Deno.FsFile[] = [];
  // The folder: closing the file would end the locks on it.
  const folder = folderOf(path);
  try {
    while (found.length < count) found.push(Deno.openSync(folder));
  } finally {
    for (const each of found) each.close();
  }
}
