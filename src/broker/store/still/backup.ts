/**
 * A backup of the data: one file, which is a data file. It is made under another name and gets its
 * own when it is on disk and was found sound: an interrupted one leaves nothing that looks like
 * one.
 */

import { closeSync, fchownSync, fstatSync, openSync, writeSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { EXIT, reason } from "../../../errors.ts";
import { DATA_FILE } from "../file/data_file.ts";
import {
  createFolder,
  folderOf,
  isFolder,
  isThere,
  removeEmpty,
  syncFolder,
} from "../file/folder.ts";
import { APPLICATION_ID, numberOf, SCHEMA_VERSION, sizeOf } from "../file/schema.ts";
import { isNoData, StorageError, storageErrorOf } from "../file/storage_error.ts";
import { StillData } from "./still_data.ts";

/** Between a file's name and the end of the work. */
const PARTIAL = ".partial";

/** Tries to copy data that do not stand still for so long. */
const TRIES = 3;

/** Only this user can read it: there are messages in it, and hashes of passwords. */
const PRIVATE = 0o600;

/** Bytes that are copied, and brought to the disk, in one go. */
const PIECE_BYTES = 4 * 1024 * 1024;

export interface Backup {
  bytes: number;
  messages: number;
  queues: number;
}

/**
 * Copies the data of a broker, which may be running, into one file: all that was confirmed before.
 * @param place the folder of the data, or the data file
 * @throws {StorageError} when the data cannot be read or are damaged, or the file cannot be written
 */
export async function backUp(place: string, target: string): Promise<Backup> {
  try {
    refuseTarget(target);
  } catch (error) {
    throw explained(target, error);
  }
  const partial = target + PARTIAL;
  try {
    await copyStill(place, partial);
    const found = complete(place, partial);
    Deno.renameSync(partial, target);
    syncFolder(folderOf(target));
    return found;
  } catch (error) {
    throw explained(target, error);
  } finally {
    removeWithLog(partial);
  }
}

/**
 * Makes a folder of data from a backup.
 * @throws {StorageError} when the backup is damaged, or the folder has data
 */
export function restoreData(backup: string, folder: string): Backup {
  const target = `${folder}/${DATA_FILE}`;
  const why = whyUnreadable(backup);
  if (why !== undefined) refuse(`cannot restore ${backup}: ${why}`, EXIT.noInput);
  requireNoData(folder);
  const made = createFolder(folder);
  const partial = target + PARTIAL;
  try {
    copyForOwner(backup, partial, folder);
    if (sizeOf(`${backup}-wal`) > 0) copyForOwner(`${backup}-wal`, `${partial}-wal`, folder);
    const found = complete(backup, partial, true);
    // That takes minutes with large data, and a broker may have been started on the folder.
    requireNoData(folder);
    Deno.renameSync(partial, target);
    syncFolder(folder);
    return found;
  } catch (error) {
    throw explained(target, error);
  } finally {
    removeWithLog(partial);
    if (!isThere(target)) removeEmpty(made);
  }
}

/** @throws {StorageError} */
function requireNoData(folder: string): void {
  for (const name of [DATA_FILE, `${DATA_FILE}-wal`]) {
    const path = `${folder}/${name}`;
    if (isThere(path)) refuse(`cannot restore into ${folder}: there is ${path}`, EXIT.badData);
  }
}

function whyUnreadable(backup: string): string | undefined {
  try {
    if (isFolder(backup)) return "it is a folder, and must be a file";
    return sizeOf(backup) === 0 ? "it is missing or empty" : undefined;
  } catch (error) {
    return reason(error);
  }
}

/** A fault of the file system as an error for the user. */
function explained(path: string, error: unknown): unknown {
  const { code } = error as { code?: unknown };
  const isSystem = error instanceof Deno.errors.NotCapable ||
    (typeof code === "string" && /^E[A-Z]+$/.test(code));
  if (error instanceof StorageError || !isSystem) return storageErrorOf(path, error);
  const passes = code === "ENOSPC" || code === "EMFILE" || code === "ENFILE";
  const status = passes ? EXIT.temporary : EXIT.noInput;
  return new StorageError(`cannot write ${path}: ${reason(error)}`, status, { cause: error });
}

/** Overwriting a backup is what a nightly job does; another file is a mistake. */
function refuseTarget(target: string): void {
  if (isFolder(target)) {
    refuse(`cannot write the backup ${target}: it is a folder, and must be a file`, EXIT.noInput);
  }
  const isData = sizeOf(target) === 0 ? !isThere(target) : isOurs(target);
  const isUsed = isThere(`${target}-wal`);
  if (isData && !isUsed) return;
  const what = isUsed ? "the data of a broker" : "no backup";
  refuse(`cannot write the backup ${target}: it is there, and is ${what}`, EXIT.badData);
}

/** Whether it has the mark of our data files. */
function isOurs(path: string): boolean {
  using file = Deno.openSync(path, { read: true });
  const header = new Uint8Array(100);
  file.readSync(header);
  return new DataView(header.buffer).getUint32(68) === APPLICATION_ID;
}

/**
 * Copies data, and their log, as they are at one moment.
 * @throws {StorageError} when they cannot be read, or do not stand still for so long
 */
export async function copyStill(place: string, partial: string): Promise<void> {
  for (let left = TRIES; left > 0; left--) {
    const data = await StillData.open(place);
    let isStill = false;
    try {
      removeWithLog(partial);
      // The log first: closing the data file ends the lock on it.
      const log = `${data.path}-wal`;
      if (sizeOf(log) > 0) await copy(log, `${partial}-wal`);
      await copy(data.path, partial);
    } finally {
      isStill = data.end();
    }
    if (isStill) return;
  }
  refuse(
    `cannot copy ${place}: the broker could not leave its file alone for so long; it may be short ` +
      "of disk",
    EXIT.temporary,
  );
}

/** Not so much at once that the broker's commits wait for the disk. */
async function copy(from: string, to: string): Promise<void> {
  using source = await Deno.open(from, { read: true });
  using target = await Deno.open(to, { write: true, createNew: true, mode: PRIVATE });
  const piece = new Uint8Array(PIECE_BYTES);
  for (;;) {
    const count = await source.read(piece);
    if (count === null) return;
    for (let at = 0; at < count;) at += await target.write(piece.subarray(at, count));
    await target.syncData();
  }
}

/**
 * What root restores is for the user of the service whose folder it is. Who may write the folder may
 * put a link in the place of a name, so that it is done to what is open.
 */
function copyForOwner(from: string, to: string, folder: string): void {
  removeWithLog(to);
  using source = Deno.openSync(from, { read: true });
  const target = openSync(to, "wx", PRIVATE);
  try {
    const piece = new Uint8Array(PIECE_BYTES);
    for (let count; (count = source.readSync(piece)) !== null;) {
      for (let at = 0; at < count;) at += writeSync(target, piece, at, count - at);
    }
    giveToOwner(folder, target);
  } finally {
    closeSync(target);
  }
}

/** @param file that is open */
function giveToOwner(folder: string, file: number): void {
  const { uid, gid } = Deno.statSync(folder);
  if (uid === null || gid === null || uid === fstatSync(file).uid) return;
  try {
    fchownSync(file, uid, gid);
  } catch {
    // Only root may: who else may write the folder keeps it.
  }
}

/**
 * What the log holds gets into the file, and both become one, on disk and checked.
 * @param from what it was copied from, for errors
 */
function complete(from: string, partial: string, isRestored = false): Backup {
  try {
    return completed(from, partial, isRestored);
  } catch (error) {
    throw isNoData(error) ? storageErrorOf(from, error) : error;
  }
}

function completed(from: string, partial: string, isRestored: boolean): Backup {
  const database = new DatabaseSync(partial);
  let found: Backup;
  try {
    database.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = FULL");
    database.exec("PRAGMA temp_store = MEMORY");
    if (numberOf(database, "PRAGMA application_id") !== APPLICATION_ID) {
      refuse(
        `cannot use ${from}: it is no data of this broker, or of an old version`,
        EXIT.badData,
      );
    }
    const version = numberOf(database, "PRAGMA user_version");
    if (version > SCHEMA_VERSION) {
      refuse(
        `cannot use ${from}: it has version ${version}, this program knows up to ${SCHEMA_VERSION}`,
        EXIT.badData,
      );
    }
    database.exec("PRAGMA journal_mode = DELETE");
    database.exec("DELETE FROM in_use");
    if (!isSound(database)) {
      refuse(`cannot use ${from}: it is damaged; broker check says what of it`, EXIT.badData);
    }
    // An old file gets the form that can be made shorter.
    if (isRestored && numberOf(database, "PRAGMA auto_vacuum") === 0) {
      database.exec("PRAGMA auto_vacuum = INCREMENTAL");
      database.exec("VACUUM");
    }
    found = {
      bytes: 0,
      messages: numberOf(database, "SELECT sum(depth) FROM lane"),
      queues: numberOf(database, "SELECT count(*) FROM queue"),
    };
  } finally {
    database.close();
  }
  using file = Deno.openSync(partial, { read: true, write: true });
  file.syncSync();
  return { ...found, bytes: file.statSync().size };
}

/** Not each byte of the messages: that is what a checkup does, and takes much longer. */
function isSound(database: DatabaseSync): boolean {
  try {
    return database.prepare("PRAGMA quick_check(1)").get()!["quick_check"] === "ok";
  } catch {
    return false;
  }
}

/** A data file, and what SQLite has beside it. */
export function partsOf(path: string): string[] {
  return ["", "-wal", "-shm", "-journal"].map((end) => path + end);
}

/** Removes a data file, and its log. */
export function removeWithLog(path: string): void {
  for (const name of partsOf(path)) {
    try {
      Deno.removeSync(name);
    } catch {
      // It is not there.
    }
  }
}

function refuse(sentence: string, exitCode: number): never {
  throw new StorageError(sentence, exitCode);
}
