/**
 * What survives a restart, in one SQLite file. Changes are remembered and written by
 * {@link Store.commit} as one transaction, so that an event-loop turn costs one fsync however much
 * happened in it. Nothing that depends on a change may leave the process before its commit.
 *
 * Transient messages for which memory has no room go to a scratch file that is emptied at start.
 */

import { type DatabaseSync, DatabaseSync as Database } from "node:sqlite";
import { type LaneRecord, type Message, Row } from "./message.ts";
import { MessageTable } from "./message_table.ts";
import { describeStorageError, openDatabase } from "./schema.ts";

export const DATA_FILE = "broker.db";
const SCRATCH_FILE = "scratch.db";

/** Rows of purged messages deleted in one transaction: some milliseconds of work. */
const SWEEP_ROWS = 5_000;

export interface StoredExchange {
  vhost: string;
  name: string;
  type: string;
  autoDelete: boolean;
  internal: boolean;
  arguments: Uint8Array;
}

export interface StoredQueue {
  id: number;
  vhost: string;
  name: string;
  autoDelete: boolean;
  arguments: Uint8Array;
}

export interface StoredBinding {
  vhost: string;
  source: string;
  kind: "queue" | "exchange";
  destination: string;
  routingKey: string;
  arguments: Uint8Array;
}

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
}

export class Store {
  readonly #folder: string | undefined;
  readonly #onFailure: StoreOptions["onFailure"];
  readonly #database: DatabaseSync;
  readonly #messages: MessageTable;
  #scratch: { database: DatabaseSync; messages: MessageTable } | undefined;
  /** Statements of topology changes that wait for the commit, in order. */
  #topology: (() => void)[] = [];
  #changedLanes = new Set<LaneRecord>();
  #deliveredLanes = new Set<LaneRecord>();
  #failing = false;
  #nextId: number;
  /** Transient lanes count downwards: they only meet durable ones in the scratch file. */
  #nextTransientId = -1;
  #hasDiscarded: boolean;

  /** @throws {StorageError} when the data file cannot be used */
  constructor(options: StoreOptions) {
    this.#folder = options.folder;
    this.#onFailure = options.onFailure;
    this.#database = openDatabase(this.#pathOf(DATA_FILE));
    this.#messages = new MessageTable(this.#database);
    this.#nextId = 1 + Math.max(
      this.#number("SELECT max(id) FROM queue"),
      this.#number("SELECT max(id) FROM lane"),
      this.#number("SELECT max(lane) FROM discarded"),
    );
    this.#hasDiscarded = this.#number("SELECT count(*) FROM discarded") > 0;
  }

  #pathOf(file: string): string {
    return this.#folder === undefined ? ":memory:" : `${this.#folder}/${file}`;
  }

  #number(sql: string): number {
    return Number(Object.values(this.#database.prepare(sql).get()!)[0] ?? 0);
  }

  /** Whether anything is kept over a restart. */
  get durable(): boolean {
    return this.#folder !== undefined;
  }

  /** An id for a queue or a lane; never used again. */
  nextId(): number {
    return this.#nextId++;
  }

  nextTransientId(): number {
    return this.#nextTransientId--;
  }

  // -- messages --

  insert(message: Message): void {
    this.#tableOf(message).insert(message);
    if (message.durable) this.#count(message, 1);
  }

  remove(message: Message): void {
    if (message.row === Row.none || message.row === Row.skipped) return;
    this.#tableOf(message).remove(message);
    if (message.durable) this.#count(message, -1);
  }

  #count(message: Message, change: 1 | -1): void {
    message.lane.depth += change;
    message.lane.bytes += change * message.bodyLength;
    this.#changedLanes.add(message.lane);
  }

  /** Writes a changed delivery count with the next commit. */
  update(message: Message): void {
    if (message.row !== Row.none) this.#tableOf(message).update(message);
  }

  /** Writes changed counters of a lane with the next commit. */
  changed(lane: LaneRecord): void {
    if (lane.queueId !== 0) this.#changedLanes.add(lane);
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

  /** The bytes of a message that memory has given up. */
  load(message: Message): Uint8Array {
    return this.#tableOf(message).load(message);
  }

  /** The next messages of a lane behind a position, durable and transient ones in one order. */
  read(lane: LaneRecord, after: number, limit: number): Message[] {
    if (this.#messages.hasInserts || this.#scratch?.messages.hasInserts) this.commit();
    const stored = lane.id > 0 ? this.#readStored(lane, after, limit) : [];
    if (this.#scratch === undefined) return stored;
    return stored.concat(this.#scratch.messages.read(lane, after, limit, false))
      .sort((one, other) => one.position - other.position)
      .slice(0, limit);
  }

  /** Rows that a purge gave up may still be there. */
  #readStored(lane: LaneRecord, after: number, limit: number): Message[] {
    const ranges = this.#hasDiscarded ? this.#discardedRanges(lane) : [];
    for (;;) {
      const rows = this.#messages.read(lane, after, limit, true);
      const messages = rows.filter(({ position }) =>
        !ranges.some(({ first, last }) => first <= position && position <= last)
      );
      if (messages.length > 0 || rows.length === 0) return messages;
      after = rows[rows.length - 1]!.position;
      after = Math.max(after, ...ranges.filter(({ first }) => first <= after).map((r) => r.last));
    }
  }

  #discardedRanges(lane: LaneRecord): { first: number; last: number }[] {
    const rows = this.#database.prepare("SELECT first, last FROM discarded WHERE lane = ?");
    return rows.all(lane.id) as { first: number; last: number }[];
  }

  #tableOf(message: Message): MessageTable {
    return message.durable ? this.#messages : this.#openScratch();
  }

  #openScratch(): MessageTable {
    if (this.#scratch === undefined) {
      const path = this.#pathOf(SCRATCH_FILE);
      if (this.#folder !== undefined) removeFile(path);
      const database = new Database(path);
      database.exec("PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF");
      database.exec(
        `CREATE TABLE message(
           lane INTEGER, position INTEGER, expires_at INTEGER, deliveries INTEGER,
           layout INTEGER, content BLOB, PRIMARY KEY(lane, position)) WITHOUT ROWID`,
      );
      this.#scratch = { database, messages: new MessageTable(database) };
    }
    return this.#scratch.messages;
  }

  /** Gives up all rows of a lane between two positions. They are deleted piece by piece. */
  discard(lane: LaneRecord, first: number, last: number): void {
    if (first > last) return;
    if (this.#scratch?.messages.hasInserts) this.commit();
    this.#scratch?.messages.deleteRange(lane.id, first, last);
    if (lane.queueId === 0) return;
    this.#hasDiscarded = true;
    this.#later("INSERT INTO discarded(lane, first, last) VALUES (?, ?, ?)", lane.id, first, last);
  }

  // -- topology --

  #later(sql: string, ...values: (string | number | Uint8Array)[]): void {
    this.#topology.push(() => this.#database.prepare(sql).run(...values));
  }

  addExchange(exchange: StoredExchange): void {
    const { vhost, name, type, autoDelete, internal } = exchange;
    this.#later(
      "INSERT INTO exchange VALUES (?, ?, ?, ?, ?, ?)",
      ...[vhost, name, type, Number(autoDelete), Number(internal), exchange.arguments],
    );
  }

  removeExchange(vhost: string, name: string): void {
    this.#later("DELETE FROM exchange WHERE vhost = ? AND name = ?", vhost, name);
  }

  addQueue(queue: StoredQueue): void {
    const { id, vhost, name, autoDelete } = queue;
    this.#later(
      "INSERT INTO queue VALUES (?, ?, ?, ?, ?)",
      ...[id, vhost, name, Number(autoDelete), queue.arguments],
    );
  }

  /** The caller has dropped its lanes and discarded their messages. */
  removeQueue(id: number): void {
    this.#later("DELETE FROM lane WHERE queue = ?", id);
    this.#later("DELETE FROM queue WHERE id = ?", id);
  }

  addBinding(binding: StoredBinding): void {
    this.#later("INSERT OR IGNORE INTO binding VALUES (?, ?, ?, ?, ?, ?)", ...bindingKey(binding));
  }

  removeBinding(binding: StoredBinding): void {
    this.#later(
      `DELETE FROM binding WHERE vhost = ? AND source = ? AND kind = ? AND destination = ?
         AND routing_key = ? AND arguments = ?`,
      ...bindingKey(binding),
    );
  }

  exchanges(): StoredExchange[] {
    const rows = this.#database.prepare("SELECT * FROM exchange").all();
    return rows.map((row) => ({
      vhost: row["vhost"] as string,
      name: row["name"] as string,
      type: row["type"] as string,
      autoDelete: row["auto_delete"] === 1,
      internal: row["internal"] === 1,
      arguments: row["arguments"] as Uint8Array,
    }));
  }

  queues(): StoredQueue[] {
    const rows = this.#database.prepare("SELECT * FROM queue ORDER BY id").all();
    return rows.map((row) => ({
      id: row["id"] as number,
      vhost: row["vhost"] as string,
      name: row["name"] as string,
      autoDelete: row["auto_delete"] === 1,
      arguments: row["arguments"] as Uint8Array,
    }));
  }

  bindings(): StoredBinding[] {
    const rows = this.#database.prepare("SELECT * FROM binding").all();
    return rows.map((row) => ({
      vhost: row["vhost"] as string,
      source: row["source"] as string,
      kind: row["kind"] as "queue" | "exchange",
      destination: row["destination"] as string,
      routingKey: row["routing_key"] as string,
      arguments: row["arguments"] as Uint8Array,
    }));
  }

  lanes(): StoredLane[] {
    const rows = this.#database.prepare("SELECT * FROM lane").all();
    return rows.map((row) => ({
      id: row["id"] as number,
      queue: row["queue"] as number,
      priority: row["priority"] as number,
      depth: row["depth"] as number,
      bytes: row["bytes"] as number,
      deliveredTo: row["delivered_to"] as number,
      lastPosition: this.#messages.lastPosition(row["id"] as number),
    }));
  }

  // -- users --

  secretOf(user: string): string | undefined {
    const row = this.#database.prepare("SELECT secret FROM user WHERE name = ?").get(user);
    return row?.["secret"] as string | undefined;
  }

  get hasUsers(): boolean {
    return this.#number("SELECT count(*) FROM user") > 0;
  }

  setSecret(user: string, secret: string): void {
    this.#database.prepare("INSERT OR REPLACE INTO user VALUES (?, ?)").run(user, secret);
  }

  // -- commit --

  /** Whether a commit would write anything. */
  get dirty(): boolean {
    return this.#messages.dirty || this.#topology.length > 0 || this.#changedLanes.size > 0 ||
      (this.#scratch?.messages.dirty ?? false);
  }

  /** The last commit failed: what it held is still only in memory. */
  get failing(): boolean {
    return this.#failing;
  }

  /**
   * Writes everything since the last commit and syncs it to disk.
   * @returns whether it is safe on disk; if not, all of it is kept for the next try
   */
  commit(): boolean {
    if (!this.dirty) return true;
    this.forceDelivered();
    try {
      this.#writeScratch();
      this.#database.exec("BEGIN IMMEDIATE");
      for (const statement of this.#topology) statement();
      this.#messages.write();
      this.#writeLanes();
      this.#database.exec("COMMIT");
    } catch (error) {
      this.#rollback();
      this.#report(describeStorageError(error));
      return false;
    }
    this.#messages.settled();
    this.#topology = [];
    this.#changedLanes.clear();
    this.#report(undefined);
    return true;
  }

  #writeScratch(): void {
    if (!this.#scratch?.messages.dirty) return;
    const { database, messages } = this.#scratch;
    database.exec("BEGIN");
    try {
      messages.write();
      database.exec("COMMIT");
    } catch (error) {
      if (database.isTransaction) database.exec("ROLLBACK");
      throw error;
    }
    messages.settled();
  }

  #writeLanes(): void {
    const upsert = this.#database.prepare(
      "INSERT OR REPLACE INTO lane(id, queue, priority, depth, bytes, delivered_to) " +
        "VALUES (?, ?, ?, ?, ?, ?)",
    );
    for (const lane of this.#changedLanes) {
      if (lane.dropped || lane.queueId === 0) continue;
      const { id, queueId, priority, depth, bytes, deliveredTo } = lane;
      upsert.run(id, queueId, priority, depth, bytes, deliveredTo);
    }
  }

  /** SQLite has rolled back by itself after some errors, a full disk among them. */
  #rollback(): void {
    if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
  }

  #report(reason: string | undefined): void {
    if ((reason !== undefined) === this.#failing) return;
    this.#failing = reason !== undefined;
    this.#onFailure(reason);
  }

  /**
   * Deletes some rows of purged messages.
   * @returns whether more are left
   */
  sweep(): boolean {
    if (!this.#hasDiscarded || this.#failing) return false;
    this.commit();
    const range = this.#database.prepare("SELECT rowid, * FROM discarded LIMIT 1").get();
    if (range === undefined) {
      this.#hasDiscarded = false;
      return false;
    }
    const [rowid, lane, first, last] = ["rowid", "lane", "first", "last"]
      .map((column) => range[column] as number) as [number, number, number, number];
    const upTo = Math.min(last, first + SWEEP_ROWS - 1);
    try {
      this.#database.exec("BEGIN IMMEDIATE");
      this.#messages.deleteRange(lane, first, upTo);
      const update = upTo === last
        ? this.#database.prepare("DELETE FROM discarded WHERE rowid = ?1 AND ?2 > 0")
        : this.#database.prepare("UPDATE discarded SET first = ?2 WHERE rowid = ?1");
      update.run(rowid, upTo + 1);
      this.#database.exec("COMMIT");
    } catch (error) {
      this.#rollback();
      this.#report(describeStorageError(error));
      return false;
    }
    return true;
  }

  close(): void {
    this.#scratch?.database.close();
    if (this.#folder !== undefined && this.#scratch !== undefined) {
      removeFile(this.#pathOf(SCRATCH_FILE));
    }
    this.#database.close();
  }
}

function bindingKey(
  binding: StoredBinding,
): [string, string, string, string, string, Uint8Array] {
  const { vhost, source, kind, destination, routingKey } = binding;
  return [vhost, source, kind, destination, routingKey, binding.arguments];
}

function removeFile(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
