/** What is in data that stand still, what of it is damaged, and what can still be read. */

import type { DatabaseSync } from "node:sqlite";
import { findMiscount, InUse } from "../file/copied_data.ts";
import type { Range } from "../messages/discards.ts";
import { LaneSurvey, OwnRows, Packs, type SurveyedMessages } from "./lane_survey.ts";
import { APPLICATION_ID, everyRow, numberOf, SCHEMA_VERSION } from "../file/schema.ts";

/** Faults that SQLite is asked for. */
const MOST_FAULTS = 20;

export interface SurveyedQueue extends SurveyedMessages {
  vhost: string;
  name: string;
  /** Messages that it says it has. */
  counted: number;
}

export interface Survey {
  queues: SurveyedQueue[];
  /** What is wrong, in words; none when all is well. */
  faults: string[];
  /** Why nothing of it was read, in words, when it is not what this program knows. */
  unknown?: string;
  /** It was copied while a broker was using the original, or after that had crashed. */
  isCopy: boolean;
}

/**
 * Reads all of it.
 * @param path of the file; undefined: it is our own copy
 * @param hasLog there was a log beside it
 */
export function survey(database: DatabaseSync, path?: string, hasLog = true): Survey {
  const found: Survey = { queues: [], faults: [], isCopy: false };
  const note = (sentence: string) => void found.faults.push(sentence);
  const attempt: Attempt = (what, run) => attemptTo(what, run, found.faults);
  const unknown = attempt("the file", () => whyUnknown(database));
  if (unknown === undefined) return found;
  if (unknown !== "") return { ...found, unknown };
  attempt("the file", () => {
    for (const row of database.prepare(`PRAGMA integrity_check(${MOST_FAULTS})`).all()) {
      const text = String(row["integrity_check"]);
      if (text !== "ok") note(`SQLite says: ${text.replaceAll("\n", "; ")}`);
    }
  });
  attempt("what the file says of its use", () => {
    const use = new InUse(database, path);
    found.isCopy = use.isCopy;
    if (use.isCopy && !hasLog) {
      note("the log that belongs to it is not beside it: what was confirmed last is missing");
    }
  });
  found.queues = surveyQueues(database, attempt, note);
  const isWhole = found.faults.length === 0 &&
    found.queues.every((queue) => queue.unreadable + queue.wrong === 0);
  if (isWhole) {
    const miscount = attempt("the counts", () => findMiscount(database));
    if (miscount !== undefined) note(miscount);
  }
  for (const queue of found.queues) {
    const where = `queue ${JSON.stringify(queue.name)} of ${JSON.stringify(queue.vhost)}`;
    const missing = queue.counted - queue.read - queue.wrong;
    if (missing > 0) note(`${where}: ${missing} of ${queue.counted} messages cannot be read`);
    if (queue.wrong > 0) {
      note(`${where}: ${queue.wrong} messages have other bytes than were stored`);
    }
  }
  return found;
}

/** @returns undefined: noted that it cannot be read */
type Attempt = <T>(what: string, run: () => T) => T | undefined;

function attemptTo<T>(what: string, run: () => T, faults: string[]): T | undefined {
  try {
    return run();
  } catch (error) {
    faults.push(`${what} cannot be read: ${(error as Error).message}`);
    return undefined;
  }
}

/** Reads each message of each lane. */
function surveyQueues(
  database: DatabaseSync,
  attempt: Attempt,
  note: (sentence: string) => void,
): SurveyedQueue[] {
  const lanes = attempt("the list of lanes", () => database.prepare("SELECT * FROM lane").all());
  const names = new Map<unknown, Record<string, unknown>>();
  attempt("the list of queues", () => {
    for (const row of everyRow(database, "queue NOT INDEXED")) names.set(row["id"], row);
  });
  const discarded = attempt(
    "what was given up",
    () => database.prepare("SELECT * FROM discarded").all() as unknown as Range[],
  );
  const discardedOf = Map.groupBy(discarded ?? [], ({ lane }) => lane);
  const tables = attempt("the messages", () => {
    return [new OwnRows(database), new Packs(database)];
  });
  const queues = new Map<unknown, SurveyedQueue>();
  for (const [id, row] of names) queues.set(id, queueOf(row));
  for (const lane of lanes ?? []) {
    const id = lane["queue"];
    if (!queues.has(id)) {
      note(`the name of queue ${id} is missing`);
      queues.set(id, queueOf({ vhost: "", name: `(queue ${id})` }));
    }
    const queue = queues.get(id)!;
    queue.counted += lane["depth"] as number;
    const number = lane["id"] as number;
    const gone = discardedOf.get(number) ?? [];
    for (const table of tables ?? []) new LaneSurvey(table, number, gone).add(queue);
  }
  return [...queues.values()];
}

/** @returns what it is if not what we know, in words; else none */
function whyUnknown(database: DatabaseSync): string {
  const version = numberOf(database, "PRAGMA user_version");
  if (numberOf(database, "PRAGMA application_id") !== APPLICATION_ID) {
    return "it is no data file of this broker, or of a version that started it without a mark";
  }
  if (version > SCHEMA_VERSION) {
    return `it has version ${version}, this program knows up to ${SCHEMA_VERSION}`;
  }
  if (version === SCHEMA_VERSION) return "";
  return `it has version ${version}: a broker that starts on it makes it ${SCHEMA_VERSION}`;
}

function queueOf({ vhost, name }: Record<string, unknown>): SurveyedQueue {
  return { vhost: textOf(vhost), name: textOf(name), counted: 0, read: 0, unreadable: 0, wrong: 0 };
}

function textOf(bytes: unknown): string {
  return bytes instanceof Uint8Array ? new TextDecoder().decode(bytes) : String(bytes);
}
