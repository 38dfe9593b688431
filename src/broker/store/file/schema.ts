/** The data file: opening, locking, and its schema as numbered migrations. */

import { DatabaseSync } from "node:sqlite";
import { EXIT } from "../../../errors.ts";
import { isThere } from "./folder.ts";
import { StorageError, storageErrorOf } from "./storage_error.ts";

/** "AMQP", which tells our files from other programs'. */
export const APPLICATION_ID = 0x414d5150;

/**
 * Contents that several messages have; with the last of them they go. `message.shared` is the row's
 * id, and NULL for a message that has its own content.
 */
export const SHARED_TABLE = `CREATE TABLE shared(
     id INTEGER PRIMARY KEY, copies INTEGER NOT NULL, checksum INTEGER NOT NULL,
     content BLOB NOT NULL)`;

/**
 * Small messages that were written together. The id is that of the first one, as of a row of its
 * own; `members` and `gone` have bits of it and those behind it, and one more, so that both always
 * take the same room. `deliveries` is how often all came back that are left. What `content` is:
 * pack_row.ts. A row goes when all its members are gone.
 */
export const PACK_TABLE = `CREATE TABLE pack(
     id INTEGER PRIMARY KEY, gone INTEGER NOT NULL, members INTEGER NOT NULL,
     deliveries INTEGER NOT NULL, checksum INTEGER NOT NULL, content BLOB NOT NULL)`;

/**
 * Of contents from some MB on: message.content has address and header, `shared.content` nothing, and
 * `shared.body` is how many bytes the body has, which lies in the chunks whose ids begin with that of
 * the row; 0 for the others. A body that no message has goes chunk by chunk, and then its row.
 */
export const CHUNK_TABLE = `ALTER TABLE shared ADD COLUMN body INTEGER NOT NULL DEFAULT 0;
   CREATE INDEX shared_gone ON shared(copies) WHERE copies <= 0;
   CREATE TABLE chunk(id INTEGER PRIMARY KEY, checksum INTEGER NOT NULL, bytes BLOB NOT NULL)`;

/** {@link SHARED_TABLE}: while it has rows. */
export const COUNT_COPIES = `CREATE TRIGGER IF NOT EXISTS message_gone
  AFTER DELETE ON message WHEN OLD.shared IS NOT NULL BEGIN
    UPDATE shared SET copies = copies - 1 WHERE id = OLD.shared;
    DELETE FROM shared WHERE id = OLD.shared AND copies <= 0 AND body = 0;
  END`;

/**
 * Step n brings a file of version n to version n + 1. Released steps never change: a new need is a
 * new step. An old file is kept in tests/broker/fixtures for every released version.
 */
const MIGRATIONS = [
  `CREATE TABLE exchange(
     vhost TEXT, name TEXT, type TEXT, auto_delete INTEGER, internal INTEGER, arguments BLOB,
     PRIMARY KEY(vhost, name)) WITHOUT ROWID;
   CREATE TABLE queue(
     id INTEGER PRIMARY KEY, vhost TEXT, name TEXT, auto_delete INTEGER, arguments BLOB,
     UNIQUE(vhost, name));
   CREATE TABLE binding(
     vhost TEXT, source TEXT, kind TEXT, destination TEXT, routing_key TEXT, arguments BLOB,
     PRIMARY KEY(vhost, source, kind, destination, routing_key, arguments)) WITHOUT ROWID;
   -- A lane is the messages of one priority in one queue.
   CREATE TABLE lane(
     id INTEGER PRIMARY KEY, queue INTEGER, priority INTEGER, depth INTEGER, bytes INTEGER);
   CREATE TABLE message(
     lane INTEGER, position INTEGER, expires_at INTEGER, deliveries INTEGER,
     layout INTEGER, content BLOB, PRIMARY KEY(lane, position)) WITHOUT ROWID;
   CREATE TABLE user(name TEXT PRIMARY KEY, secret TEXT) WITHOUT ROWID;`,
  // delivered_to: messages up to this position may have been delivered before a crash.
  // discarded: ranges of purged messages whose rows are deleted piece by piece.
  `ALTER TABLE lane ADD COLUMN delivered_to INTEGER NOT NULL DEFAULT 0;
   CREATE TABLE discarded(lane INTEGER, first INTEGER, last INTEGER);`,
  // A row id of lane and position: rows above 1 KB take a third of the time and half of the space.
  `ALTER TABLE message RENAME TO old_message;
   CREATE TABLE message(
     id INTEGER PRIMARY KEY, expires_at INTEGER NOT NULL, deliveries INTEGER NOT NULL,
     layout INTEGER NOT NULL, content BLOB NOT NULL);
   INSERT INTO message
     SELECT lane << 40 | position, expires_at, deliveries, layout, content
     FROM old_message ORDER BY lane, position;
   DROP TABLE old_message;`,
  // Names and keys are bytes: node:sqlite reads text up to its first NUL only. The text of old files
  // is whole.
  `ALTER TABLE exchange RENAME TO old_exchange;
   ALTER TABLE queue RENAME TO old_queue;
   ALTER TABLE binding RENAME TO old_binding;
   ALTER TABLE user RENAME TO old_user;
   CREATE TABLE exchange(
     vhost BLOB, name BLOB, type TEXT, auto_delete INTEGER, internal INTEGER, arguments BLOB,
     PRIMARY KEY(vhost, name)) WITHOUT ROWID;
   CREATE TABLE queue(
     id INTEGER PRIMARY KEY, vhost BLOB, name BLOB, auto_delete INTEGER, arguments BLOB,
     UNIQUE(vhost, name));
   CREATE TABLE binding(
     vhost BLOB, source BLOB, kind TEXT, destination BLOB, routing_key BLOB, arguments BLOB,
     PRIMARY KEY(vhost, source, kind, destination, routing_key, arguments)) WITHOUT ROWID;
   CREATE TABLE user(name BLOB PRIMARY KEY, secret TEXT) WITHOUT ROWID;
   INSERT INTO exchange
     SELECT CAST(vhost AS BLOB), CAST(name AS BLOB), type, auto_delete, internal, arguments
     FROM old_exchange;
   INSERT INTO queue
     SELECT id, CAST(vhost AS BLOB), CAST(name AS BLOB), auto_delete, arguments FROM old_queue;
   INSERT INTO binding
     SELECT CAST(vhost AS BLOB), CAST(source AS BLOB), kind, CAST(destination AS BLOB),
       CAST(routing_key AS BLOB), arguments
     FROM old_binding;
   INSERT INTO user SELECT CAST(name AS BLOB), secret FROM old_user;
   DROP TABLE old_exchange;
   DROP TABLE old_queue;
   DROP TABLE old_binding;
   DROP TABLE old_user;
   ALTER TABLE message ADD COLUMN checksum INTEGER;
   -- What the file was when it was written last, while a broker uses it.
   CREATE TABLE in_use(file TEXT NOT NULL);
   PRAGMA application_id = ${APPLICATION_ID};`,
  `ALTER TABLE message ADD COLUMN shared INTEGER;
   ${SHARED_TABLE};`,
  // Messages that are dead letters without a queue to go to, by their ids.
  `CREATE TABLE dead(id INTEGER PRIMARY KEY, reason TEXT NOT NULL);`,
  // Queues that give nothing to consumers.
  "CREATE TABLE paused(queue INTEGER PRIMARY KEY)",
  // What queues without duplicates have had, in the order of its coming.
  `CREATE TABLE seen(
     queue INTEGER NOT NULL, id INTEGER NOT NULL, key BLOB NOT NULL, expires_at INTEGER NOT NULL,
     PRIMARY KEY(queue, id)) WITHOUT ROWID;`,
  // death: orders the dead of a lane.
  `ALTER TABLE dead ADD COLUMN death INTEGER NOT NULL DEFAULT 0;
   UPDATE dead SET death = id & 0xffffffffff;
   CREATE INDEX dead_in_order ON dead(id >> 40, death);`,
  // of: the table whose messages are given up, "message" or "pack"; NULL: both.
  `ALTER TABLE discarded ADD COLUMN of TEXT;
   ${PACK_TABLE};`,
  // last_position: no message has a higher one, whatever cannot be read; 0: nobody knows.
  "ALTER TABLE lane ADD COLUMN last_position INTEGER NOT NULL DEFAULT 0",
  `${CHUNK_TABLE};
   DROP TRIGGER IF EXISTS message_gone;
   ${COUNT_COPIES};`,
];

/** Pages that the log takes before what it holds gets its place in the file. */
export const MOST_LOG_PAGES = 4_000;
/** SQLite's, as it makes them of itself. */
export const PAGE_BYTES = 4_096;

/** Pages of an old file that is written anew at once. */
const MOST_OLD_PAGES = 2_000;

export const SCHEMA_VERSION = MIGRATIONS.length;

/** SQLite would open files in the middle of its work, when there may be no descriptor left. */
export const NO_TEMPORARY_FILES = "PRAGMA temp_store = MEMORY";

/** Versions before this one had no application id. */
const FIRST_WITH_ID = 4;

/**
 * Opens a data file for this process alone. It stays what it is, unless it is empty.
 * @param path the file, or `:memory:`
 * @throws {StorageError} when it is in use, read-only, damaged, foreign, or of a newer version
 */
export function openDatabase(path: string): DatabaseSync {
  let database: DatabaseSync | undefined;
  const hasLog = path !== ":memory:" && isThere(`${path}-wal`);
  try {
    if (path !== ":memory:") prepareFile(path);
    database = new DatabaseSync(path);
    // Exclusive locking is what refuses a second process; it lasts until this one ends. Set before
    // the journal mode, it also keeps the WAL index in memory instead of in a shared file.
    database.exec("PRAGMA locking_mode = EXCLUSIVE");
    database.exec("PRAGMA busy_timeout = 500");
    refuseUnknown(database);
    if (numberOf(database, "PRAGMA page_count") === 0) {
      // So that it can be made shorter.
      database.exec("PRAGMA auto_vacuum = INCREMENTAL");
      database.exec("PRAGMA journal_mode = WAL");
    }
    database.exec(`PRAGMA wal_autocheckpoint = ${MOST_LOG_PAGES}`);
    database.exec("PRAGMA journal_size_limit = 67108864");
    database.exec(NO_TEMPORARY_FILES);
    // Taking the write lock first makes a second process fail here, before it reads anything.
    database.exec("BEGIN IMMEDIATE; ROLLBACK");
    return database;
  } catch (error) {
    if (database !== undefined) leaveDatabase(database, hasLog);
    throw storageErrorOf(path, error);
  }
}

/** What {@link openDatabase} has opened, and is of the current version, is written from now on. */
export function useDatabase(database: DatabaseSync): void {
  // What a backup has made gets a log, which is there from the first transaction on.
  database.exec("PRAGMA journal_mode = WAL; BEGIN IMMEDIATE; ROLLBACK");
  // Commits are synced by us; what keeps the file whole is synced by SQLite.
  database.exec("PRAGMA synchronous = NORMAL");
  letShrink(database);
}

/** Those with a log that this process has left as they were. */
const left: DatabaseSync[] = [];

/**
 * Has done with a database that is not to be changed.
 * @param hasLog there was a log beside it, be it empty, when it was opened
 */
export function leaveDatabase(database: DatabaseSync, hasLog: boolean): void {
  try {
    database.exec("ROLLBACK");
  } catch {
    // There is no transaction.
  }
  // SQLite would write what the log holds into the file, and the end of the process does not.
  if (hasLog) left.push(database);
  else database.close();
}

/** Brings a small old file into the form that can be made shorter; for a large one it would take long. */
function letShrink(database: DatabaseSync): void {
  if (numberOf(database, "PRAGMA auto_vacuum") !== 0) return;
  if (numberOf(database, "PRAGMA page_count") > MOST_OLD_PAGES) return;
  // What was copied, or was left by a crash, is to be looked at as it is.
  if (numberOf(database, "SELECT count(*) FROM in_use") > 0) return;
  try {
    database.exec("PRAGMA auto_vacuum = INCREMENTAL; VACUUM");
  } catch {
    // The disk is full, or something is damaged: the file is used as it is, and whoever reads what
    // cannot be read says so.
  }
}

function prepareFile(path: string): void {
  // SQLite would begin anew and delete the log.
  if (sizeOf(path) === 0 && sizeOf(`${path}-wal`) > 0) {
    throw new StorageError(
      `cannot use the data file ${path}: it is missing or empty, and there is ${path}-wal, ` +
        "which holds data that belong to it",
      EXIT.noInput,
    );
  }
  createPrivately(path);
  // SQLite would speak of an I/O error.
  Deno.openSync(path, { read: true, write: true }).close();
}

/** Bytes of a file, or 0 when there is none. */
export function sizeOf(path: string): number {
  try {
    return Deno.statSync(path).size;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return 0;
    throw error;
  }
}

/**
 * Makes a file that only this user can read: it will hold messages and hashes of passwords. SQLite
 * gives its journals the mode of the file.
 */
export function createPrivately(path: string): void {
  try {
    Deno.openSync(path, { createNew: true, write: true, mode: 0o600 }).close();
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
  }
}

/** The file may be another program's, or of a later version of this one. */
function refuseUnknown(database: DatabaseSync): void {
  const version = numberOf(database, "PRAGMA user_version");
  const id = numberOf(database, "PRAGMA application_id");
  if (id !== APPLICATION_ID && (id !== 0 || !isOld(database, version))) {
    throw new StorageError(
      "cannot use this data: it is a SQLite file of another program",
      EXIT.badData,
    );
  }
  if (version > SCHEMA_VERSION) {
    throw new StorageError(
      `cannot use this data: it has version ${version}, this broker knows up to ${SCHEMA_VERSION}`,
      EXIT.badData,
    );
  }
}

/** Whether it is empty, or has the tables of the versions without an application id. */
function isOld(database: DatabaseSync, version: number): boolean {
  if (version >= FIRST_WITH_ID) return false;
  const tables = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").all();
  const names = new Set(tables.map(({ name }) => name));
  if (version === 0) return names.size === 0;
  const wanted = ["exchange", "queue", "binding", "lane", "message", "user"];
  return wanted.every((name) => names.has(name));
}

/** The first value of the first row; 0 for NULL. */
export function numberOf(database: DatabaseSync, sql: string): number {
  return Number(Object.values(database.prepare(sql).get()!)[0] ?? 0);
}

/**
 * Rows one after the other, for there may be very many.
 * @param from a table, and what else may follow FROM
 * @throws behind those that can be read: iterate() would end there without a word (Deno 2.9)
 */
export function* everyRow(
  database: DatabaseSync,
  from: string,
): Generator<Record<string, unknown>> {
  const select = `SELECT * FROM ${from}`;
  let count = 0;
  for (const row of database.prepare(select).iterate()) {
    count++;
    yield row;
  }
  if (count === numberOf(database, `SELECT count(*) FROM ${from}`)) return;
  database.exec(select); // says why
  throw new StorageError("cannot read the data: the disk failed for a moment", EXIT.temporary);
}

/**
 * Brings it to the current version.
 * @returns whether that has begun a transaction, in which it may still be refused; without need nothing
 *   is written: the disk may be full
 */
export function migrate(database: DatabaseSync): boolean {
  const version = numberOf(database, "PRAGMA user_version");
  if (version === SCHEMA_VERSION) return false;
  database.exec("BEGIN IMMEDIATE");
  for (const step of MIGRATIONS.slice(version)) database.exec(step);
  database.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
  return true;
}
