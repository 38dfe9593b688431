/** Faults of SQLite and of the disk: which they are, and what a user is told of them. */
import { EXIT, ToolError } from "../../../errors.ts";
import { findDescriptors } from "./descriptors.ts";

/** SQLite says no more. */
const UNOPENED = /unable to open/;

/** File descriptors that SQLite takes for a data file and what is beside it, and some more. */
const DESCRIPTORS = 6;

/** SQLite's messages (node:sqlite passes no result codes on) and what they mean to a user. */
const REASONS: [pattern: RegExp, reason: string][] = [
  [/database is locked/, "another process is using it"],
  [/readonly database|read-only file system/i, "it is read-only"],
  [/malformed/, "it is damaged"],
  [/not a database/, "it is damaged or not a data file of this broker"],
  [/full|No space left/, "the disk is full"],
  [/Permission denied/, "this user may not open or create it"],
  [/Too many open files/, "too many files are open"],
  [UNOPENED, "it cannot be opened or created"],
];

/** Why SQLite or the system refused, in words for the log and the user. */
export function describeStorageError(error: unknown): string {
  const message = messageOf(error);
  return REASONS.find(([pattern]) => pattern.test(message))?.[1] ?? message;
}

/** Without the path, in which there may be any words. */
function messageOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.replace(/ \(os error \d+\): [^]*$/, "");
}

export function isDiskFull(error: unknown): boolean {
  return error instanceof Error && /is full/.test(error.message);
}

/** Whether something that is stored cannot be read, for good or for a while. */
export function isDamage(error: unknown): boolean {
  return error instanceof Error && /malformed|disk I\/O error/.test(error.message);
}

/** Whether a file has been read, and what is in it are no data, or not whole. */
export function isNoData(error: unknown): boolean {
  return error instanceof Error && /malformed|not a database/.test(error.message);
}

/** The data file cannot be used. */
export class StorageError extends ToolError {
  override readonly name = "StorageError";
}

const HINT = "; broker check says what of it can be read";

/** A fault of SQLite or of the disk as an error for the user; any other error as it is. */
export function storageErrorOf(path: string, error: unknown): unknown {
  const isStorage = error instanceof Error && !(error instanceof ToolError) &&
    "code" in error && typeof error.code === "string";
  if (!isStorage) return error;
  const shortage = UNOPENED.test(error.message) ? findShortage(path) : undefined;
  const why = shortage ?? error;
  const passes = /locked|full|No space left|Too many open files/.test(messageOf(why));
  return new StorageError(
    `cannot use the data file ${path}: ${describeStorageError(why)}${isDamage(error) ? HINT : ""}`,
    passes ? EXIT.temporary : isNoData(error) ? EXIT.badData : EXIT.noInput,
    { cause: error },
  );
}

/** @returns why no more files can be opened; undefined: they can */
function findShortage(path: string): unknown {
  try {
    findDescriptors(path, DESCRIPTORS);
    return undefined;
  } catch (error) {
    return error;
  }
}
