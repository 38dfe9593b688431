/**
 * The data for a process that is not the broker: to be read or copied while nothing writes them.
 * Where a broker runs it is asked to let its file stand still; where none runs, none can begin until
 * this process lets it.
 */

import { DatabaseSync } from "node:sqlite";
import { EXIT, reason } from "../../../errors.ts";
import { DATA_FILE } from "../file/data_file.ts";
import { folderOf, isThere } from "../file/folder.ts";
import { NO_TEMPORARY_FILES } from "../file/schema.ts";
import { StorageError, storageErrorOf } from "../file/storage_error.ts";
import { ANSWER_FILE, REQUEST_FILE } from "../file/standstill.ts";

/** Milliseconds that a broker has for its answer, and between two looks for it. */
const ANSWER_MS = 10_000;
const LOOK_MS = 20;

/** Milliseconds between two signs of life. */
const TOUCH_MS = 1_000;

export class StillData {
  /** The data file. */
  readonly path: string;
  /** A broker is using it. */
  readonly isRunning: boolean;
  /** For reading alone; undefined while a broker is using it, or when this user may not write it. */
  readonly database: DatabaseSync | undefined;
  /** There is a log beside it, be it empty: SQLite makes one while it has the file open. */
  readonly hasLog: boolean;
  readonly #touching: ReturnType<typeof setInterval> | undefined;

  private constructor(path: string, isRunning: boolean, database?: DatabaseSync, hasLog = true) {
    this.path = path;
    this.hasLog = hasLog;
    this.isRunning = isRunning;
    this.database = database;
    if (isRunning) this.#touching = setInterval(() => this.#touch(), TOUCH_MS);
  }

  /**
   * @param place the data file, or the folder that has it
   * @throws {StorageError} when there is none, or a broker uses it and does not answer
   */
  static async open(place: string): Promise<StillData> {
    const ended = StillData.openEnded(place);
    if (ended !== undefined) return ended;
    const path = pathOf(place);
    await askForStandstill(path);
    return new StillData(path, true);
  }

  /** The same when no broker is using it; undefined: one is. */
  static openEnded(place: string): StillData | undefined {
    const path = pathOf(place);
    const hasLog = isThere(`${path}-wal`);
    const lock = tryToLock(path);
    return lock === "taken" ? undefined : new StillData(path, false, lock, hasLog);
  }

  #touch(): void {
    try {
      const now = new Date();
      Deno.utimeSync(beside(this.path, ANSWER_FILE), now, now);
    } catch {
      // It is over, as `end` will say.
    }
  }

  /** @returns whether nothing has changed until now */
  end(): boolean {
    clearInterval(this.#touching);
    if (!this.isRunning) {
      // SQLite would write what the log holds into the file, and the end of the process does not.
      if (!this.hasLog) this.database?.close();
      return true;
    }
    return removed(beside(this.path, ANSWER_FILE));
  }
}

/** The files by which a broker and another process agree that its file stands still. */
export function signsBeside(path: string): string[] {
  return [beside(path, REQUEST_FILE), beside(path, ANSWER_FILE)];
}

/** The data file of a place. */
export function pathOf(place: string): string {
  // SQLite would take it for a URI.
  const path = place.replace(/^file:/, "./file:");
  try {
    const { isDirectory } = Deno.statSync(path);
    if (!isDirectory) return path;
    Deno.statSync(`${path}/${DATA_FILE}`);
    return `${path}/${DATA_FILE}`;
  } catch (error) {
    const why = error instanceof Deno.errors.NotFound ? "there is none" : reason(error);
    throw new StorageError(
      `cannot read the data of a broker in ${JSON.stringify(place)}: ${why}`,
      EXIT.noInput,
    );
  }
}

/** @returns undefined when this process may not write the file */
function tryToLock(path: string): DatabaseSync | undefined | "taken" {
  let lock: DatabaseSync | undefined;
  try {
    using _file = Deno.openSync(path, { read: true, write: true });
  } catch {
    return undefined;
  }
  try {
    lock = new DatabaseSync(path);
    lock.exec("PRAGMA busy_timeout = 0; PRAGMA query_only = ON; PRAGMA locking_mode = EXCLUSIVE");
    lock.exec(NO_TEMPORARY_FILES);
    // Of a statement that is prepared Deno 2.4 does not say why it failed.
    lock.exec("SELECT count(*) FROM sqlite_schema");
    return lock;
  } catch (error) {
    const isTaken = /locked/.test((error as Error).message);
    if (isTaken) lock?.close();
    return isTaken ? "taken" : lock;
  }
}

async function askForStandstill(path: string): Promise<void> {
  const [request, answer] = [beside(path, REQUEST_FILE), beside(path, ANSWER_FILE)];
  if (isThere(answer)) refuse(path, "another process is copying or checking it");
  try {
    Deno.openSync(request, { createNew: true, write: true, mode: 0o600 }).close();
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw storageErrorOf(path, error);
  }
  const end = performance.now() + ANSWER_MS;
  while (isThere(request) && performance.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  if (isThere(answer)) return;
  if (removed(request)) refuse(path, "a broker is using it, and does not answer");
  refuse(path, "a broker is using it, and cannot leave it alone now");
}

function refuse(path: string, reason: string): never {
  throw new StorageError(`cannot use the data file ${path}: ${reason}`, EXIT.temporary);
}

function beside(path: string, name: string): string {
  return `${folderOf(path)}/${name}`;
}

function removed(path: string): boolean {
  try {
    Deno.removeSync(path);
    return true;
  } catch {
    return false;
  }
}
