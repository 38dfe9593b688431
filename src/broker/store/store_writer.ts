/**
 * Everything that writes the data file once it is open, and whether that works: commits, the
 * deletion of what was given up, and the room on the disk for both.
 */

import type { DatabaseSync } from "node:sqlite";
import { type DataFile, RESERVE_FILE } from "./file/data_file.ts";
import type { DeadMessages } from "./messages/dead_messages.ts";
import type { DefinitionChanges } from "./definitions/definition_changes.ts";
import type { LaneCounters } from "./messages/lane_counters.ts";
import type { MessageTable } from "./messages/message_table.ts";
import { PAGE_ROWS } from "./messages/message_changes.ts";
import type { SeenKeys } from "./messages/seen_keys.ts";
import type { Refusals } from "./refusals.ts";
import { Reserve } from "./file/reserve.ts";
import { describeStorageError, isDamage, isDiskFull } from "./file/storage_error.ts";
import type { Scratch } from "./messages/scratch.ts";
import { storedBytes } from "./definitions/stored_text.ts";
import { rollback, runTransaction } from "./file/transaction.ts";

/** Milliseconds between two tries to get the reserve back. */
const RESERVE_RETRY_MS = 1_000;

/** Bytes that are free in the file while the disk is full, for a part of a large body. */
const BODY_ROOM = 8 * 1024 * 1024;

/** Pages of a commit besides those of the following. */
const COMMIT_PAGES = 6;
/** Rows of lanes, or of definitions, that lie in one page, about. */
const PAGE_LANES = 100;
const PAGE_DEFINITIONS = 10;

/** What is written. */
export interface Parts {
  readonly file: DataFile;
  readonly changes: DefinitionChanges;
  readonly messages: MessageTable;
  readonly dead: DeadMessages;
  readonly seen: SeenKeys;
  readonly lanes: LaneCounters;
  readonly scratch: Scratch;
  readonly refusals: Refusals;
}

export class StoreWriter {
  readonly #parts: Parts;
  readonly #onFailure: (reason: string | undefined) => void;
  readonly #onWritten: (bytes: number) => void;
  readonly #reserve: Reserve;
  #reserveTimer: ReturnType<typeof setTimeout> | undefined;
  /** performance.now() from which what {@link prepare} could not do is tried again. */
  #nextPreparation = 0;
  #isFailing = false;
  /** Why the last commit failed. */
  #failure: string | undefined;
  /** Set while there is what cannot be read: nothing more is entrusted to the file. */
  #damaged: string | undefined;

  /**
   * @param onFailure told once why writing fails, and once with undefined that it works again
   * @param onWritten told how many bytes of messages a commit has written
   */
  constructor(
    parts: Parts,
    onFailure: (reason: string | undefined) => void,
    onWritten: (bytes: number) => void,
  ) {
    this.#parts = parts;
    this.#onFailure = onFailure;
    this.#onWritten = onWritten;
    const { file } = parts;
    this.#reserve = new Reserve(file.isOnDisk ? file.pathOf(RESERVE_FILE) : undefined);
  }

  /** As told to `onFailure`: the file cannot be written now, has no reserve, or is damaged. */
  get isFailing(): boolean {
    return this.#isFailing;
  }

  /** Why what the last commit held is still only in memory; undefined: it is not. */
  get failure(): string | undefined {
    return this.#failure;
  }

  /** Reading has failed. */
  noteDamage(error: unknown): void {
    this.#damaged = describeStorageError(error);
    this.#report(this.#damaged);
  }

  /** All can be read again that could not. */
  noteReadable(): void {
    if (this.#damaged === undefined) return;
    this.#damaged = undefined;
    this.#reportState();
  }

  /**
   * Does what would come with the first change. Failing does no harm before that.
   * Later there may be no file descriptor left for the scratch file.
   */
  prepare(): void {
    const time = performance.now();
    if (time < this.#nextPreparation) return;
    const { file, scratch } = this.#parts;
    this.#nextPreparation = time + RESERVE_RETRY_MS;
    try {
      scratch.open();
      file.mark();
      if (this.#reserve.take(() => file.reusableBytes)) this.#nextPreparation = Infinity;
    } catch {
      // The first change tries again.
      rollback(file.database);
    }
  }

  /** Whether a commit would write anything. */
  get dirty(): boolean {
    return this.#isDataDirty || (this.#parts.scratch.messages?.dirty ?? false);
  }

  /** The same of the data file. */
  get #isDataDirty(): boolean {
    const { messages, changes, lanes, dead, seen } = this.#parts;
    return messages.dirty || changes.dirty || lanes.dirty || dead.dirty || seen.dirty;
  }

  /**
   * Writes all changes.
   * @returns whether they are written; if not, all of them are kept for the next try
   */
  commit(): boolean {
    const error = this.#parts.file.log.failure ?? this.#writeWithRoom();
    if (error !== undefined) {
      this.#failed(error);
      return false;
    }
    const { file, messages, changes, lanes, dead, seen, refusals } = this.#parts;
    const written = messages.pendingBytes;
    if (this.#isDataDirty) {
      this.#countPages();
      dead.written();
    }
    messages.written();
    changes.written();
    lanes.written();
    seen.written();
    this.#failure = undefined;
    messages.bodies.enough = file.bodyBytes;
    this.#reportState();
    refusals.tell();
    // Last: whoever is told may change something again.
    this.#onWritten(written);
    return true;
  }

  #countPages(): void {
    const { file, messages, changes, lanes } = this.#parts;
    const pages = COMMIT_PAGES + messages.pendingPages + lanes.pendingRows / PAGE_LANES +
      changes.pendingRows / PAGE_DEFINITIONS;
    file.log.wrote(pages);
    file.checkpoint.wrote(pages);
  }

  #failed(error: unknown): void {
    this.#failure = describeStorageError(error);
    this.#report(this.#failure);
  }

  /** {@link LogSync.sync} */
  sync(): Promise<boolean> | undefined {
    const { log } = this.#parts.file;
    return log.sync()?.then((isSafe) => {
      if (!isSafe) this.#failed(log.failure);
      return isSafe;
    });
  }

  /** Resolves when commits may be written again. */
  async checkpoint(): Promise<void> {
    const { file } = this.#parts;
    await file.checkpoint.run();
    if (file.log.failure !== undefined) this.#failed(file.log.failure);
  }

  /** @returns why it failed */
  #writeWithRoom(): unknown {
    const { file, messages, dead } = this.#parts;
    // What the reserve has given is for acknowledgements, and for the log of what has room in the file.
    if (this.#reserve.isReleased && !this.#hasRoomForBodies) this.#leaveBodies();
    let error = this.#write();
    // Nobody's commit waits for what an acknowledgement would delete, or for where the dead lie.
    if (isDamage(error) && messages.postpone()) error = this.#write();
    if (isDamage(error) && dead.leavePacked()) error = this.#write();
    // What the log holds may find its place in the file, and then its room is used again.
    if (isDiskFull(error) && file.emptyLog("RESTART")) error = this.#write();
    const isWorthIt = messages.bodies.areLeft && this.#hasRoomForBodies;
    if (isDiskFull(error) && isWorthIt && this.#reserve.release()) error = this.#write();
    // Consumers do not wait for large bodies that have no room.
    if (isDiskFull(error) && this.#leaveBodies()) error = this.#write();
    if (isDiskFull(error) && this.#reserve.release()) error = this.#write();
    return error;
  }

  /** The file has some that is free. */
  get #hasRoomForBodies(): boolean {
    return this.#parts.file.reusableBytes >= BODY_ROOM;
  }

  /** @returns whether that changes what the next try writes */
  #leaveBodies(): boolean {
    const { messages, scratch } = this.#parts;
    const isLess = messages.bodies.leave();
    return scratch.messages?.bodies.leave() || isLess;
  }

  /** What waits for room on the disk, and is left out of commits. */
  get #areBodiesLeft(): boolean {
    const { messages, scratch } = this.#parts;
    return messages.bodies.areLeft || (scratch.messages?.bodies.areLeft ?? false);
  }

  #write(): unknown {
    const { file, scratch } = this.#parts;
    try {
      scratch.write();
      if (!this.#isDataDirty) return undefined;
      file.mark();
      this.#writeTransaction();
      return undefined;
    } catch (error) {
      rollback(file.database);
      return error;
    }
  }

  #writeTransaction(): void {
    const { file, changes, messages, lanes, dead, seen, refusals } = this.#parts;
    runTransaction(file.database, refusals, {
      all: () => {
        changes.write();
        messages.write();
      },
      singly: (attempt) => {
        changes.writeSingly(attempt);
        messages.writeSingly(attempt, (message, change) => lanes.count(message, change));
      },
      last: () => {
        lanes.write();
        dead.write();
        seen.write();
      },
    });
  }

  /**
   * Deletes some rows of purged messages.
   * @param onSwept told of lanes of which nothing is left to delete
   */
  sweep(onSwept: (lane: number) => void): void {
    const { file, messages, seen, scratch } = this.#parts;
    if (file.isFixed) return;
    try {
      file.mark();
      file.log.wrote(0);
      file.checkpoint.wrote(sweep(messages, file.database) / PAGE_ROWS);
      seen.sweep();
      if (scratch.messages !== undefined) sweep(scratch.messages, scratch.database!);
      this.#reportState();
    } catch (error) {
      this.#report(describeStorageError(error));
    }

    /** @returns rows */
    function sweep(table: MessageTable, database: DatabaseSync): number {
      try {
        const { rows, lanes } = table.sweep();
        for (const lane of lanes) onSwept(lane);
        return rows;
      } finally {
        rollback(database);
      }
    }
  }

  /** Adds a user, or changes the hash of a password; at once. */
  setSecret(user: string, secret: string): void {
    const { file } = this.#parts;
    file.mark();
    file.database.prepare("INSERT OR REPLACE INTO user VALUES (?, ?)").run(
      storedBytes(user),
      secret,
    );
    file.log.syncNow();
  }

  /** Publishers wait for the reserve, once it had to be given up. */
  #reportState(): void {
    clearTimeout(this.#reserveTimer);
    const isReleased = this.#reserve.isReleased && !this.#restoreReserve();
    const isMissing = isReleased || this.#areBodiesLeft;
    if (isMissing) this.#reserveTimer = setTimeout(() => this.#reportState(), RESERVE_RETRY_MS);
    if (this.#failure !== undefined) return;
    this.#report(this.#damaged ?? (isMissing ? "the disk is full" : undefined));
  }

  /**
   * The log first: it may be larger than all that is left in the queues, and what it holds needs room
   * in the file before its own can be used again.
   */
  #restoreReserve(): boolean {
    const { file } = this.#parts;
    return file.emptyLog("TRUNCATE") && this.#reserve.take(() => file.reusableBytes);
  }

  #report(reason: string | undefined): void {
    if ((reason !== undefined) === this.#isFailing) return;
    this.#isFailing = reason !== undefined;
    this.#onFailure(reason);
  }

  /** Leaves no reserve behind. */
  close(): void {
    clearTimeout(this.#reserveTimer);
    this.#reserve.end();
  }
}
