/**
 * What survives a restart, in one SQLite file. Changes are remembered and written by
 * {@link Store.commit} as one transaction, so that an event-loop turn costs one fsync however much
 * happened in it. Nothing that depends on a change may leave the process before its commit.
 *
 * Transient messages for which memory has no room go to a scratch file, which is removed at
 * the start and at the end.
 */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import { findDamage, InUse } from "./copied_data.ts";
import { Definitions, type Subject } from "./definitions.ts";
import { type LaneRecord, type Message, Row } from "../message/message.ts";
import { LAST_LANE } from "./message_row.ts";
import { MessageTable } from "./message_table.ts";
import { type Author, Refusals } from "./refusals.ts";
import { Reserve } from "./reserve.ts";
import { describeStorageError, isDiskFull, openDatabase, StorageError } from "./schema.ts";
import { Scratch } from "./scratch.ts";
import { rollback, runTransaction } from "./transaction.ts";
import { EXIT } from "../../errors.ts";

export const DATA_FILE = "broker.db";
const SCRATCH_FILE = "scratch.db";
const RESERVE_FILE = "reserve";

/** Milliseconds between two tries to get the reserve back. */
const RESERVE_RETRY_MS = 1_000;

/** Changes, and bytes of messages, that do not wait for company any more. */
const ENOUGH_ROWS = 2_000;
const ENOUGH_BYTES = 1024 * 1024;

/** Positions, and bytes of messages, that are deleted at once when they are given up. */
const SHORT_ROWS = 100;
const SHORT_BYTES = 256 * 1024;

/** Data files that this process has open: the locks on files are between processes. */
const openFiles = new Set<string>();

export interface StoredLane {
  id: number;
  queue: number;
  priority: number;
  depth: number;
  bytes: number;
  deliveredTo: number;
  lastPosition: number;
}

export interface StoreOptions {
  /** Folder of the data file, or undefined to keep everything in memory. */
  folder: string | undefined;
  /** Told once when writing fails, with the reason, and once with undefined when it works again. */
  onFailure: (reason: string | undefined) => void;
  /** Told of every change that waits for a commit. */
  onChange?: () => void;
  /** Told what is refused for its data, and why. */
  onRefusal?: (what: string, reason: string) => void;
  /** Told of definitions that are in memory and were refused. */
  onUnsaved?: (vhost: string, subject: Subject) => void;
  /** Told when there is something to {@link Store.sweep}. */
  onDiscard?: () => void;
}

export class Store {
  readonly definitions: Definitions;
  readonly #folder: string | undefined;
  readonly #onFailure: StoreOptions["onFailure"];
  readonly #onChange: () => void;
  readonly #onDiscard: StoreOptions["onDiscard"];
  readonly #database: DatabaseSync;
  /** What the data file was when it was opened; SQLite goes on with it even when it is deleted. */
  readonly #inode: string | undefined;
  readonly #inUse: InUse;
  readonly #refusals: Refusals;
  readonly #messages: MessageTable;
  readonly #upsertLane: StatementSync;
  readonly #scratch: Scratch;
  readonly #reserve: Reserve;
  #reserveTimer: ReturnType<typeof setTimeout> | undefined;
  #changedLanes = new Set<LaneRecord>();
  #deliveredLanes = new Set<LaneRecord>();
  #isFailing = false;
  #lastCommitFailed = false;
  /** Set once reading has failed, for good: nothing more is entrusted to the file. */
  #damaged: string | undefined;
  #nextQueueId: number;
  /** Lanes in use. Transient ones count downwards: they only meet durable ones in the scratch file. */
  readonly #laneIds = new Set<number>();
  /** Those of dropped lanes whose rows are not all deleted. */
  readonly #droppedLaneIds = new Set<number>();
  #lastLaneId: number;
  #lastTransientId = 0;

  /** @throws {StorageError} when the data file cannot be used */
  constructor(options: StoreOptions) {
    // SQLite would take such a name for a URI, whose parameters can turn off all that is promised.
    this.#folder = options.folder?.replace(/^file:/, "./file:");
    this.#onFailure = options.onFailure;
    this.#onChange = options.onChange ?? (() => {});
    this.#onDiscard = options.onDiscard;
    const path = this.#pathOf(DATA_FILE);
    // Before it is opened: closing a file ends the locks that this process has on it.
    this.#refuseOpen();
    this.#database = openDatabase(path);
    try {
      this.#inUse = new InUse(this.#database, this.#folder === undefined ? undefined : path);
      if (this.#inUse.isCopy) refuseDamagedCopy(path, this.#database);
    } catch (error) {
      this.#database.close();
      throw error;
    }
    this.#inode = this.#inodeOf(DATA_FILE);
    if (this.#inode !== undefined) openFiles.add(this.#inode);
    this.definitions = new Definitions(this.#database, {
      onChange: this.#onChange,
      beforeWrite: () => this.#inUse.mark(),
      onRefused: options.onUnsaved ?? (() => {}),
    });
    this.#refusals = new Refusals(options.onRefusal ?? (() => {}));
    const onDamage = (error: unknown) => this.#noteDamage(error);
    this.#reserve = new Reserve(
      this.#folder === undefined ? undefined : this.#pathOf(RESERVE_FILE),
    );
    this.#scratch = new Scratch(this.#pathOf(SCRATCH_FILE), this.#refusals, onDamage);
    this.#messages = new MessageTable(this.#database, onDamage);
    this.#upsertLane = this.#database.prepare(
      "INSERT OR REPLACE INTO lane(id, queue, priority, depth, bytes, delivered_to) " +
        "VALUES (?, ?, ?, ?, ?, ?)",
    );
    this.#nextQueueId = 1 + this.#number("SELECT max(id) FROM queue");
    this.#lastLaneId = Math.max(
      this.#number("SELECT max(id) FROM lane"),
      ...this.#messages.discardedLanes(),
    );
    for (const lane of this.#messages.discardedLanes()) {
      this.#laneIds.add(lane);
      this.#droppedLaneIds.add(lane);
    }
  }

  #pathOf(file: string): string {
    return this.#folder === undefined ? ":memory:" : `${this.#folder}/${file}`;
  }

  #inodeOf(file: string): string | undefined {
    if (this.#folder === undefined) return undefined;
    try {
      const { dev, ino } = Deno.statSync(this.#pathOf(file));
      return `${dev}:${ino}`;
    } catch {
      return undefined;
    }
  }

  /** Whether the data file is where the next start will look for it. */
  get isInPlace(): boolean {
    return this.#inodeOf(DATA_FILE) === this.#inode;
  }

  #number(sql: string): number {
    return Number(Object.values(this.#database.prepare(sql).get()!)[0] ?? 0);
  }

  /** Whether anything is kept over a restart. */
  get durable(): boolean {
    return this.#folder !== undefined;
  }

  /** Bytes of the data file that are free to be written again. */
  get reusableBytes(): number {
    return this.#number("PRAGMA freelist_count") * this.#number("PRAGMA page_size");
  }

  nextQueueId(): number {
    return this.#nextQueueId++;
  }

  /** Who asks for what comes next; undefined: the broker itself. */
  set author(author: Author | undefined) {
    this.definitions.author = author;
  }

  // -- lanes --

  lanes(): StoredLane[] {
    const rows = this.#database.prepare("SELECT * FROM lane").all();
    return rows.map((row) => {
      const id = row["id"] as number;
      this.#laneIds.add(id);
      this.#droppedLaneIds.delete(id);
      return {
        id,
        queue: row["queue"] as number,
        priority: row["priority"] as number,
        depth: row["depth"] as number,
        bytes: row["bytes"] as number,
        deliveredTo: row["delivered_to"] as number,
        lastPosition: this.#messages.lastPosition(id),
      };
    });
  }

  /** An id that no lane has, nor had while messages of it may be left. */
  takeLaneId(durable: boolean): number {
    let id: number;
    do {
      if (durable) id = this.#lastLaneId = this.#lastLaneId % LAST_LANE + 1;
      else id = -(this.#lastTransientId = this.#lastTransientId % LAST_LANE + 1);
    } while (this.#laneIds.has(id));
    this.#laneIds.add(id);
    return id;
  }

  /** A lane and all that it ever held is gone. */
  dropLane(lane: LaneRecord, lastPosition: number, bytes: number): void {
    this.discard(lane, 1, lastPosition, bytes);
    const tables = [this.#messages, this.#scratch.messages];
    const left = tables.some((table) => table?.hasDiscardedOf(lane.id));
    if (left) this.#droppedLaneIds.add(lane.id);
    else this.#laneIds.delete(lane.id);
  }

  // -- messages --

  insert(message: Message): void {
    this.#tableOf(message).insert(message, this.definitions.author);
    if (message.durable) this.#count(message, 1);
    this.#onChange();
  }

  remove(message: Message): void {
    if (message.row === Row.none || message.row === Row.skipped) return;
    this.#tableOf(message).remove(message);
    if (message.durable) this.#count(message, -1);
    this.#onChange();
  }

  #count(message: Message, change: 1 | -1): void {
    message.lane.depth += change;
    message.lane.bytes += change * message.bodyLength;
    this.#changedLanes.add(message.lane);
  }

  /** Writes a changed delivery count with the next commit. */
  update(message: Message): void {
    if (message.row === Row.none) return;
    this.#tableOf(message).update(message);
    this.#onChange();
  }

  /** Writes changed counters of a lane with the next commit. */
  changed(lane: LaneRecord): void {
    if (lane.queueId === 0) return;
    this.#changedLanes.add(lane);
    this.#onChange();
  }

  /**
   * Writes how far a lane was delivered, with the next commit that has another reason: the flag
   * "redelivered" after a crash is not worth an fsync. {@link Store.hasDelivered} asks for one.
   */
  delivered(lane: LaneRecord): void {
    this.#deliveredLanes.add(lane);
  }

  get hasDelivered(): boolean {
    return this.#deliveredLanes.size > 0;
  }

  /** Makes the next commit write what {@link delivered} noted. */
  forceDelivered(): void {
    for (const lane of this.#deliveredLanes) this.#changedLanes.add(lane);
    this.#deliveredLanes.clear();
  }

  /** The bytes of a message that memory has given up, or undefined when they cannot be read. */
  load(message: Message): Uint8Array | undefined {
    try {
      return this.#tableOf(message).load(message);
    } catch (error) {
      this.#noteDamage(error);
      return undefined;
    }
  }

  #noteDamage(error: unknown): void {
    this.#damaged = describeStorageError(error);
    this.#report(this.#damaged);
  }

  /**
   * The next messages of a lane behind a position, durable and transient ones in one order. None
   * when they cannot be read.
   */
  read(lane: LaneRecord, after: number, limit: number): Message[] {
    try {
      return this.#read(lane, after, limit);
    } catch (error) {
      this.#noteDamage(error);
      return [];
    }
  }

  #read(lane: LaneRecord, after: number, limit: number): Message[] {
    const durable = lane.id > 0 ? this.#messages.read(lane, after, limit, true) : [];
    const scratch = this.#scratch.messages;
    if (scratch === undefined) return durable;
    return durable.concat(scratch.read(lane, after, limit, false))
      .sort((one, other) => one.position - other.position)
      .slice(0, limit);
  }

  #tableOf(message: Message): MessageTable {
    return message.durable ? this.#messages : this.#scratch.open();
  }

  /**
   * Does what would come with the first change. Failing does no harm before that.
   * Later there may be no file descriptor left for the scratch file.
   */
  prepare(): void {
    try {
      this.#scratch.open();
      this.#inUse.mark();
      this.#reserve.take(this.reusableBytes);
    } catch {
      // The first change tries again.
      rollback(this.#database);
    }
  }

  /** The file is a copy of one that was in use, and found to be whole. */
  get isCopy(): boolean {
    return this.#inUse.isCopy;
  }

  /**
   * Gives up all rows of a lane between two positions. They are deleted piece by piece, if they are
   * not few.
   * @param bytes of their messages, at most
   */
  discard(lane: LaneRecord, first: number, last: number, bytes: number): void {
    if (first > last) return;
    const short = last - first < SHORT_ROWS && bytes < SHORT_BYTES;
    this.#scratch.messages?.discard(lane, first, last, short);
    if (lane.queueId !== 0) this.#messages.discard(lane, first, last, short);
    this.#onChange();
    this.#onDiscard?.();
  }

  /** Whether rows of purged messages are left. */
  get hasDiscarded(): boolean {
    return this.#messages.hasDiscarded || (this.#scratch.messages?.hasDiscarded ?? false);
  }

  // -- commit --

  /** Whether a commit would write anything. */
  get dirty(): boolean {
    return this.#messages.dirty || this.definitions.dirty || this.#changedLanes.size > 0 ||
      (this.#scratch.messages?.dirty ?? false);
  }

  /** Whether so much waits for the commit that it should not wait longer. */
  get isFull(): boolean {
    return this.definitions.pendingRows >= ENOUGH_ROWS || isEnough(this.#messages) ||
      (this.#scratch.messages !== undefined && isEnough(this.#scratch.messages));
  }

  /** As told to `onFailure`: the file cannot be written now, has no reserve, or is damaged. */
  get isFailing(): boolean {
    return this.#isFailing;
  }

  /** What the last commit held is still only in memory. */
  get lastCommitFailed(): boolean {
    return this.#lastCommitFailed;
  }

  /**
   * Writes everything since the last commit and syncs it to disk.
   * @returns whether it is safe on disk; if not, all of it is kept for the next try
   */
  commit(): boolean {
    if (!this.dirty) return true;
    this.forceDelivered();
    const error = this.#writeWithRoom();
    if (error !== undefined) {
      this.#lastCommitFailed = true;
      this.#report(describeStorageError(error));
      return false;
    }
    this.#messages.settled();
    this.definitions.settled();
    this.#changedLanes.clear();
    this.#lastCommitFailed = false;
    this.#reportState();
    this.#refusals.tell();
    return true;
  }

  /** @returns why it failed */
  #writeWithRoom(): unknown {
    let error = this.#write();
    // What the log holds may find its place in the file, and then its room is used again.
    if (isDiskFull(error) && this.#emptyLog("RESTART")) error = this.#write();
    if (isDiskFull(error) && this.#reserve.release()) error = this.#write();
    return error;
  }

  #write(): unknown {
    try {
      this.#scratch.write();
      this.#inUse.mark();
      this.#writeTransaction();
      return undefined;
    } catch (error) {
      rollback(this.#database);
      return error;
    }
  }

  /** @returns whether all of the log is in the file */
  #emptyLog(mode: "RESTART" | "TRUNCATE"): boolean {
    try {
      return this.#number(`PRAGMA wal_checkpoint(${mode})`) === 0;
    } catch {
      return false;
    }
  }

  /** Publishers wait for the reserve, once it had to be given up. */
  #reportState(): void {
    clearTimeout(this.#reserveTimer);
    const isMissing = this.#reserve.isReleased && !this.#restoreReserve();
    if (isMissing) this.#reserveTimer = setTimeout(() => this.#reportState(), RESERVE_RETRY_MS);
    if (this.#lastCommitFailed) return;
    this.#report(this.#damaged ?? (isMissing ? "the disk is full" : undefined));
  }

  #restoreReserve(): boolean {
    const take = () => this.#reserve.take(this.reusableBytes);
    return take() || (this.#emptyLog("TRUNCATE") && take());
  }

  /** The disk is almost full: gives all that is stored its place while there is one. */
  makeRoom(): void {
    this.#emptyLog("TRUNCATE");
  }

  #writeTransaction(): void {
    runTransaction(this.#database, this.#refusals, {
      all: () => {
        this.definitions.write();
        this.#messages.write();
      },
      singly: (attempt) => {
        this.definitions.writeSingly(attempt);
        this.#messages.writeSingly(attempt, (message) => this.#count(message, -1));
      },
      last: () => this.#writeLanes(),
    });
  }

  #writeLanes(): void {
    for (const lane of this.#changedLanes) {
      if (lane.dropped || lane.queueId === 0) continue;
      const { id, queueId, priority, depth, bytes, deliveredTo } = lane;
      this.#upsertLane.run(id, queueId, priority, depth, bytes, deliveredTo);
    }
  }

  #report(reason: string | undefined): void {
    if ((reason !== undefined) === this.#isFailing) return;
    this.#isFailing = reason !== undefined;
    this.#onFailure(reason);
  }

  /** Deletes some rows of purged messages. */
  sweep(): void {
    try {
      this.#inUse.mark();
      this.#sweep(this.#messages, this.#database);
      const { messages, database } = this.#scratch;
      if (messages !== undefined) this.#sweep(messages, database!);
      this.#reportState();
    } catch (error) {
      this.#report(describeStorageError(error));
    }
  }

  #sweep(messages: MessageTable, database: DatabaseSync): void {
    try {
      for (const lane of messages.sweep()) {
        if (this.#droppedLaneIds.delete(lane)) this.#laneIds.delete(lane);
      }
    } finally {
      rollback(database);
    }
  }

  close(): void {
    clearTimeout(this.#reserveTimer);
    this.#scratch.close();
    this.#reserve.end();
    try {
      this.#inUse.clear();
    } catch {
      // The mark stays: the next start finds the same file.
    }
    this.#database.close();
    if (this.#inode !== undefined) openFiles.delete(this.#inode);
  }

  #refuseOpen(): void {
    const inode = this.#inodeOf(DATA_FILE);
    if (inode === undefined || !openFiles.has(inode)) return;
    const path = this.#pathOf(DATA_FILE);
    throw new StorageError(
      `cannot use the data file ${path}: another broker of this process is using it`,
      EXIT.temporary,
    );
  }
}

/** @throws {StorageError} when it was made while the original was written */
function refuseDamagedCopy(path: string, database: DatabaseSync): void {
  const damage = findDamage(database);
  if (damage === undefined) return;
  throw new StorageError(
    `cannot use the data file ${path}: it was copied while a broker was using it, and is not whole ` +
      `(${damage}); end the broker before its folder is copied`,
    EXIT.badData,
  );
}

function isEnough({ pendingRows, pendingBytes }: MessageTable): boolean {
  return pendingRows >= ENOUGH_ROWS || pendingBytes >= ENOUGH_BYTES;
}
