/** Which messages of a commit go into packs together, and the INSERTs for those. */

import type { DatabaseSync } from "node:sqlite";
import { checksumOf } from "../file/checksum.ts";
import { idOf } from "../file/message_row.ts";
import type { Message } from "../../message/message.ts";
import {
  bitOf,
  columnOf,
  NO_BITS,
  PACK_BYTES,
  PACK_POSITIONS,
  packedSize,
  putMessage,
} from "../file/pack_row.ts";
import { RowInserts, type Value } from "./row_inserts.ts";
import { SHARED_FROM } from "./shared_contents.ts";

/** Bytes from which on a message has a row of its own: a pack takes few of them. */
const MOST_BYTES = SHARED_FROM;

/** Fewer have rows of their own. */
const FEWEST = 2;

/** Packs that are written with one statement, at most. */
const MOST_PACKS = 16;

export class PackInserts {
  readonly #rows: RowInserts;
  /** Of packs that wait for their statement. Made when it is needed. */
  #buffer: Uint8Array | undefined;
  #used = 0;
  #values: Value[] = [];

  constructor(database: DatabaseSync) {
    this.#rows = new RowInserts(
      database,
      "pack(id, gone, members, deliveries, checksum, content)",
      `(${idOf("?", "?")}, ${NO_BITS}, ?, 0, ?, ?)`,
    );
  }

  /**
   * Inside the transaction of the caller.
   * @param messages small ones of a lane behind one another, in order
   * @returns those that are in no pack
   */
  insert(messages: readonly Message[]): Message[] {
    // What failed in the middle is written anew.
    this.#values = [];
    this.#used = 0;
    const others: Message[] = [];
    let run: Message[] = [];
    let bytes = 0;
    for (const message of messages) {
      message.putInto(undefined);
      if (!isPlain(message)) {
        others.push(message);
        continue;
      }
      const size = packedSize(message);
      if (run.length > 0 && (!isNext(run, message) || bytes + size > PACK_BYTES)) {
        this.#add(run, bytes, others);
        run = [];
        bytes = 0;
      }
      run.push(message);
      bytes += size;
    }
    this.#add(run, bytes, others);
    this.#flush();
    return others;
  }

  #add(run: Message[], size: number, others: Message[]): void {
    if (run.length < FEWEST) return void others.push(...run);
    const { lane, position: first, durable } = run[0]!;
    const buffer = this.#makeRoom(size);
    const start = this.#used;
    let members = 0;
    for (const message of run) {
      this.#used = putMessage(buffer, this.#used, message);
      members |= bitOf({ first }, message.position);
    }
    const pack = { first, members };
    for (const message of run) message.putInto(pack);
    const bytes = buffer.subarray(start, this.#used);
    this.#values.push(lane.id, first, columnOf(members), durable ? checksumOf(bytes) : 0, bytes);
  }

  /** @returns where the next pack is made, behind what is in use */
  #makeRoom(size: number): Uint8Array {
    this.#buffer ??= new Uint8Array(MOST_PACKS * PACK_BYTES);
    if (this.#used + size > this.#buffer.length) this.#flush();
    return this.#buffer;
  }

  #flush(): void {
    const values = this.#values;
    this.#values = [];
    this.#used = 0;
    this.#rows.insert(values);
  }
}

/** Whether there is nothing particular about it: a pack has no columns for that. */
function isPlain({ size, expiresAt, deliveries }: Message): boolean {
  return size < MOST_BYTES && expiresAt === 0 && deliveries === 0;
}

/**
 * Whether a message is behind those of a pack, and can be in it. Durable ones are stored in the order
 * of their positions. Transient ones are when they find no room, or are delivered: what comes later
 * may lie between two of them, and packs must lie behind one another.
 */
function isNext(run: readonly Message[], { lane, position, durable }: Message): boolean {
  const first = run[0]!;
  const last = run.at(-1)!.position;
  return lane === first.lane && position - first.position < PACK_POSITIONS &&
    (durable ? position > last : position === last + 1);
}
