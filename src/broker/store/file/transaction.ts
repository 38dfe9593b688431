/** One transaction of a database, without those statements that are refused for their data. */

import type { DatabaseSync } from "node:sqlite";
import { isRefusal, type Refusals, type Request, type RunOne } from "../refusals.ts";

export interface Statements {
  /** Runs the statements. */
  all(): void;
  /** The same, one by one, when one of them was refused. */
  singly(attempt: RunOne): void;
  /** Runs the last ones. */
  last?(): void;
}

export function runTransaction(
  database: DatabaseSync,
  refusals: Refusals,
  statements: Statements,
): void {
  const attempt: RunOne = (request, run) => attemptOne(database, refusals, request, run);
  try {
    database.exec("BEGIN IMMEDIATE");
    try {
      statements.all();
    } catch (error) {
      if (!isRefusal(error)) throw error;
      database.exec("ROLLBACK");
      database.exec("BEGIN IMMEDIATE");
      statements.singly(attempt);
    }
    statements.last?.();
    database.exec("COMMIT");
  } catch (error) {
    rollback(database);
    throw error;
  }
}

function attemptOne(
  database: DatabaseSync,
  refusals: Refusals,
  request: Request,
  run: () => void,
): boolean {
  database.exec("SAVEPOINT attempt");
  let isDone = true;
  try {
    run();
  } catch (error) {
    if (!isRefusal(error)) throw error;
    database.exec("ROLLBACK TO attempt");
    refusals.add(request, error);
    isDone = false;
  }
  database.exec("RELEASE attempt");
  return isDone;
}

/** SQLite has rolled back by itself after some errors, a full disk among them. */
export function rollback(database: DatabaseSync): void {
  if (database.isTransaction === false) return;
  try {
    database.exec("ROLLBACK");
  } catch (error) {
    // Deno 2.4 does not say whether there is one.
    if (database.isTransaction) throw error;
  }
}
