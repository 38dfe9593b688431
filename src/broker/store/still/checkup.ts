/** Checks the data of a broker, which may be running, and changes nothing about them. */

import { DatabaseSync } from "node:sqlite";
import { statfsSync } from "node:fs";
import { EXIT } from "../../../errors.ts";
import { copyStill, partsOf, removeWithLog } from "./backup.ts";
import { folderOf } from "../file/folder.ts";
import { NO_TEMPORARY_FILES, sizeOf } from "../file/schema.ts";
import { StorageError } from "../file/storage_error.ts";
import { CHECKED } from "../file/standstill.ts";
import { pathOf, signsBeside, StillData } from "./still_data.ts";
import { type Survey, survey } from "./survey.ts";

/** Bytes of the disk that a copy leaves free: with less a broker blocks publishers. */
const SPARE_BYTES = 100_000_000;

export interface Checkup extends Survey {
  path: string;
  /** A broker is using the data. */
  isRunning: boolean;
}

/**
 * @param place the data file, or the folder that has it
 * @param onCopy told of the files that are there while a copy is made, for whoever ends this process
 *   meanwhile, and of none when it is made
 * @throws {StorageError} when there is none, or it cannot be checked now
 */
export async function checkUp(
  place: string,
  onCopy: (files: readonly string[]) => void = () => {},
): Promise<Checkup> {
  const path = pathOf(place);
  const data = StillData.openEnded(path);
  if (data === undefined) return { ...await checkCopy(path, onCopy), path, isRunning: true };
  try {
    if (data.database === undefined) {
      throw new StorageError(
        `cannot check ${path}: it must be writable for this user, for its lock, and is not`,
        EXIT.noInput,
      );
    }
    return { ...survey(data.database, path, data.hasLog), path, isRunning: false };
  } finally {
    data.end();
  }
}

/** SQLite does not open what another process has locked. */
async function checkCopy(
  path: string,
  onCopy: (files: readonly string[]) => void,
): Promise<Survey> {
  const { bavail, bsize } = statfsSync(folderOf(path));
  const needed = sizeOf(path) + sizeOf(`${path}-wal`) + SPARE_BYTES;
  if (bavail * bsize < needed) {
    throw new StorageError(
      `cannot check ${path} while a broker uses it: a copy needs ${needed} bytes of free disk, and ` +
        `there are ${bavail * bsize}; end the broker first`,
      EXIT.temporary,
    );
  }
  const copy = path + CHECKED;
  onCopy([...partsOf(copy), ...signsBeside(path)]);
  try {
    await copyStill(path, copy);
    const database = new DatabaseSync(copy);
    try {
      database.exec(NO_TEMPORARY_FILES);
      // Once file and log are open they need no name: whatever ends this process leaves nothing.
      database.prepare("SELECT count(*) FROM sqlite_schema").get();
      removeWithLog(copy);
      onCopy([]);
      return survey(database);
    } finally {
      database.close();
    }
  } finally {
    removeWithLog(copy);
  }
}
