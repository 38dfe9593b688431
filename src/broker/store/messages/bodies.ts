/**
 * The bodies of very large contents, in chunks: rows of the table `chunk`, which commits write one
 * after the other. A body has a row in `shared`, which counts the messages that have it; as long as
 * it says 0 the body is nobody's. So it is before its first message is stored, and when the last one
 * is gone: then its chunks are deleted, some at a time, unless somebody in memory holds it.
 */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Content } from "../../message/content.ts";
import { CHUNK_BYTES, type StoredBody } from "../../message/stored_body.ts";
import { checksumOf, hasChecksum } from "../file/checksum.ts";
import { CHUNK_BITS, OF_BODY } from "../file/message_row.ts";
import { isDamage } from "../file/storage_error.ts";
import { LargeInsert } from "./large_insert.ts";
import type { SharedContents } from "./shared_contents.ts";

/** What a body is in the id of a chunk. */
const BODY = 2 ** CHUNK_BITS;

/** Milliseconds to delete chunks in one transaction. */
const SWEEP_MS = 10;

/** A body that is brought into the store chunk by chunk. Whoever has begun it holds it. */
export interface GrowingBody extends StoredBody {
  /** The next chunk, whose memory is not the caller's any more. */
  append(chunk: Uint8Array): void;
  /** All that was appended is written. Nobody may have it before: it is left out where the disk is full. */
  readonly isWritten: boolean;
  /**
   * The caller does not hold it any more, nor the memory that it comes from. What is not there yet will
   * not come.
   */
  end(): void;
}

class Body implements GrowingBody {
  readonly id: number;
  readonly length: number;
  readonly chunkBytes = CHUNK_BYTES;
  readonly bodies: Bodies;
  readonly #onChange: () => void;
  /** Bytes that are still to come. */
  #missing: number;

  constructor(bodies: Bodies, id: number, length: number, missing = 0, onChange = () => {}) {
    this.bodies = bodies;
    this.id = id;
    this.length = length;
    this.#missing = missing;
    this.#onChange = onChange;
  }

  append(chunk: Uint8Array): void {
    const from = this.length - this.#missing;
    this.#missing -= chunk.length;
    this.bodies.append(this.id, from, chunk, this.#missing === 0);
    this.#onChange();
  }

  get isWritten(): boolean {
    return this.bodies.isWritten(this.id);
  }

  end(): void {
    this.bodies.coming -= this.length;
    this.letGo();
  }

  read(from: number): Uint8Array {
    return this.bodies.read(this.id, from);
  }

  hold(): void {
    this.bodies.hold(this.id);
  }

  letGo(): void {
    this.bodies.letGo(this.id);
  }
}

export class Bodies {
  readonly #database: DatabaseSync;
  readonly #shared: SharedContents;
  readonly #onDamage: (error: unknown) => void;
  readonly #onGone: () => void;
  readonly #insert: LargeInsert;
  readonly #select: StatementSync;
  readonly #count: StatementSync;
  readonly #gone: StatementSync;
  readonly #delete: StatementSync;
  readonly #deleteBody: StatementSync;
  /** Those that have begun since the last commit, and their lengths. */
  readonly #begun = new Map<number, number>();
  /** Chunks that wait for it, by their ids, and bytes of them. */
  readonly #waiting = new Map<number, Uint8Array>();
  #waitingBytes = 0;
  /** Bytes of chunks that do not wait for company any more. Written by the store. */
  enough = 4 * 1024 * 1024;
  /** The last one of a body is among them: somebody waits for it. */
  #isAwaited = false;
  /** Chunks that the next commit writes at most; fewer where the disk has next to no room. */
  #most = Infinity;
  /** The last commit has left some. */
  #areLeft = false;
  /** Bytes of bodies that have begun to come, all of which are in memory. Written by the bodies. */
  coming = 0;
  /** How many hold a body. */
  readonly #holders = new Map<number, number>();
  /** Where a body could not be read when that was last tried. */
  readonly #unreadable = new Map<number, number>();
  /** Those that could not be deleted. */
  readonly #stuck = new Set<number>();
  /** There may be some that are nobody's. */
  #mayHaveGone: boolean;

  /**
   * @param onDamage told why a chunk cannot be read
   * @param onGone told that a body may have become nobody's
   */
  constructor(
    database: DatabaseSync,
    shared: SharedContents,
    onDamage: (error: unknown) => void = () => {},
    onGone: () => void = () => {},
  ) {
    this.#database = database;
    this.#shared = shared;
    this.#onDamage = onDamage;
    this.#onGone = onGone;
    this.#insert = new LargeInsert(database, "chunk(id, checksum, bytes)", "?, ?, ?");
    this.#select = database.prepare("SELECT checksum, bytes FROM chunk WHERE id = ?");
    this.#count = database.prepare(`SELECT count(*) count FROM chunk WHERE ${OF_BODY}`);
    this.#gone = database.prepare("SELECT id FROM shared WHERE copies <= 0");
    this.#delete = database.prepare(
      `DELETE FROM chunk WHERE id = (SELECT max(id) FROM chunk WHERE ${OF_BODY})`,
    );
    this.#deleteBody = database.prepare("DELETE FROM shared WHERE id = ?");
    this.#mayHaveGone = this.#gone.get() !== undefined;
  }

  // -- writing --

  /** The caller holds it. @param onChange told of each chunk */
  begin(length: number, onChange: () => void): GrowingBody {
    const id = this.#shared.nextId();
    this.#begun.set(id, length);
    this.coming += length;
    this.hold(id);
    return new Body(this, id, length, length, onChange);
  }

  /** For {@link Body}: the next commit writes it. */
  append(id: number, from: number, chunk: Uint8Array, isLast: boolean): void {
    if (isLast) this.#isAwaited = true;
    this.#waiting.set(chunkId(id, from), chunk);
    this.#waitingBytes += chunk.length;
  }

  /** For {@link Body}. */
  isWritten(id: number): boolean {
    return !this.#begun.has(id) && !this.#waitingOf(id).next().value;
  }

  *#waitingOf(id: number): Generator<number> {
    for (const chunk of this.#waiting.keys()) if (Math.floor(chunk / BODY) === id) yield chunk;
  }

  /** Whether a commit would write anything. */
  get dirty(): boolean {
    return this.#waiting.size + this.#begun.size > 0;
  }

  /** Bytes that a commit would write. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Whether so much waits for the commit that it should not wait longer. */
  get isFull(): boolean {
    return !this.#areLeft && (this.#isAwaited || this.#waitingBytes >= this.enough);
  }

  /**
   * There is no room for what waits: the next try to commit does without, and those after it begin
   * with little.
   * @returns whether that changes what is written
   */
  leave(): boolean {
    if (!this.dirty || this.#most === 0) return false;
    this.#most = 0;
    return true;
  }

  /** There was no room for what waits. */
  get areLeft(): boolean {
    return this.#areLeft;
  }

  /** Inside the transaction of the caller. After a rollback it can be done again. */
  write(): void {
    if (this.#most === 0) return;
    for (const [id, length] of this.#begun) this.#shared.addBody(id, length);
    for (const [id, bytes] of this.#next) this.#insert.run([id, checksumOf(bytes), bytes]);
  }

  get #next(): Iterable<[number, Uint8Array]> {
    return this.#waiting.entries().take(Math.min(this.#most, this.#waiting.size));
  }

  /** What has waited is on its way to the disk. */
  written(): void {
    if (this.#most > 0) this.#begun.clear();
    for (const [id, { buffer, length }] of this.#next) {
      this.#waiting.delete(id);
      this.#waitingBytes -= length;
      // Nobody keeps what was read of it: its memory is free at once.
      (buffer as ArrayBuffer).transfer(0);
    }
    if (!this.dirty) return this.#noneWaits();
    this.#areLeft = true;
    this.#most = Math.max(1, 2 * this.#most);
  }

  /**
   * Inside the transaction of the caller: the id of the body of a content, for messages that have it
   * from now on. What is not here yet is brought here in one go.
   */
  take(content: Content, messages: number): number {
    const { stored } = content;
    if (stored instanceof Body && stored.bodies === this) {
      this.#shared.addCopies(stored.id, messages);
      return stored.id;
    }
    const id = this.#shared.nextId();
    this.#shared.addBody(id, content.bodyLength);
    this.#shared.addCopies(id, messages);
    for (let from = 0; from < content.bodyLength; from += CHUNK_BYTES) {
      const bytes = content.chunk(from);
      this.#insert.run([chunkId(id, from), checksumOf(bytes), bytes]);
    }
    return id;
  }

  // -- reading --

  /**
   * A body that a message has.
   * @throws when it is not all there, or could not be read when that was last tried, and cannot now
   */
  of(id: number, length: number): StoredBody {
    const count = Number(this.#count.get(id, id)!["count"]);
    if (count !== Math.ceil(length / CHUNK_BYTES)) throw new Error("a part of a body is missing");
    const bad = this.#unreadable.get(id);
    if (bad !== undefined) {
      this.#read(id, bad);
      this.#unreadable.delete(id);
    }
    return new Body(this, id, length);
  }

  /** For {@link Body}. @throws when it cannot be read */
  read(id: number, from: number): Uint8Array {
    try {
      return this.#waiting.get(chunkId(id, from)) ?? this.#read(id, from);
    } catch (error) {
      // Whoever asks for the message again does not get it.
      this.#unreadable.set(id, from);
      this.#onDamage(error);
      throw error;
    }
  }

  #read(id: number, from: number): Uint8Array {
    const row = this.#select.get(chunkId(id, from));
    const bytes = row?.["bytes"] as Uint8Array | undefined;
    if (bytes === undefined) throw new Error("a part of a body is missing");
    if (!hasChecksum(bytes, row!["checksum"] as number)) {
      throw new Error("a body has other bytes than were stored");
    }
    return bytes;
  }

  // -- what is nobody's --

  /** For {@link Body}. */
  hold(id: number): void {
    this.#holders.set(id, (this.#holders.get(id) ?? 0) + 1);
  }

  letGo(id: number): void {
    const left = this.#holders.get(id)! - 1;
    if (left > 0) return void this.#holders.set(id, left);
    this.#holders.delete(id);
    this.#forget(id);
    this.#mayHaveGone = true;
    this.#onGone();
  }

  /** What of it waits for the commit is not worth it: no message has it, or all of it is written. */
  #forget(id: number): void {
    this.#begun.delete(id);
    for (const chunk of this.#waitingOf(id)) {
      this.#waitingBytes -= this.#waiting.get(chunk)!.length;
      this.#waiting.delete(chunk);
    }
    // No commit comes for nothing, which would say that there is room.
    if (!this.dirty) this.#noneWaits();
  }

  #noneWaits(): void {
    this.#areLeft = this.#isAwaited = false;
    this.#most = Infinity;
  }

  /** Messages that may have had some have gone. */
  noteGone(): void {
    this.#mayHaveGone = true;
  }

  /** Whether chunks may be left to delete. */
  get haveGone(): boolean {
    return this.#mayHaveGone;
  }

  /** Deletes some of them, in a transaction of its own. @returns how many */
  sweep(): number {
    if (!this.#mayHaveGone) return 0;
    const end = performance.now() + SWEEP_MS;
    const gone = this.#gone.all().map(({ id }) => id as number)
      .filter((id) => !this.#holders.has(id) && !this.#stuck.has(id));
    this.#mayHaveGone = gone.length > 0;
    if (!this.#mayHaveGone) return 0;
    let deleted = 0;
    this.#database.exec("BEGIN IMMEDIATE");
    for (const id of gone) {
      while (this.#deleteOne(id) && performance.now() < end) deleted++;
      if (performance.now() >= end) break;
    }
    this.#database.exec("COMMIT");
    return deleted;
  }

  /** @returns whether there was a chunk to delete; if not, the rest of the body is */
  #deleteOne(id: number): boolean {
    try {
      if (Number(this.#delete.run(id, id).changes) > 0) return true;
      this.#deleteBody.run(id);
      this.#unreadable.delete(id);
      return false;
    } catch (error) {
      if (isDamage(error)) this.#stuck.add(id);
      throw error;
    }
  }
}

function chunkId(id: number, from: number): number {
  return id * BODY + from / CHUNK_BYTES;
}
