/** Writes the changes among the messages of one database as a run of statements. */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Content } from "../../message/content.ts";
import type { Bodies } from "./bodies.ts";
import { checksumOf } from "../file/checksum.ts";
import { isWanted, type MessageChanges } from "./message_changes.ts";
import type { Range } from "./discards.ts";
import { LargeInsert } from "./large_insert.ts";
import { idNumber, idOf, LAYOUT_HEADER, RANGE } from "../file/message_row.ts";
import type { RunOne } from "../refusals.ts";
import { RowInserts, type Value } from "./row_inserts.ts";
import { copiesAt, SHARED_FROM, type SharedContents } from "./shared_contents.ts";
import { PackInserts } from "./pack_inserts.ts";
import type { PackChanges } from "./pack_changes.ts";
import { type Message, Row } from "../../message/message.ts";

/**
 * Bytes from which on a message has a statement for itself, and one that keeps no copy of it: others
 * keep their last values.
 */
const ALONE_BYTES = 16 * 1024;
const UNKEPT_BYTES = 256 * 1024;

/**
 * Delivery counts that a commit writes, if they differ so much that each needs a statement; and
 * messages that it looks at for that. Nobody was promised the others, which come with the next ones.
 */
const MOST_COUNTS = 2_000;
const MOST_COUNTED = 20_000;

/** In the row of a message whose content is shared. */
const NO_BYTES = new Uint8Array();

const COLUMNS = "id, expires_at, deliveries, layout, content, checksum";

export class MessageWriter {
  readonly #inserts: RowInserts;
  /** Of messages that nothing is particular about, which most are: fewer values take less time. */
  readonly #plainInserts: RowInserts;
  /** Of a message whose content is shared, or in chunks. */
  readonly #insertCopy: StatementSync;
  readonly #insertLarge: LargeInsert;
  readonly #delete: StatementSync;
  readonly #update: StatementSync;
  readonly #discard: StatementSync;
  readonly #shared: SharedContents;
  readonly #bodies: Bodies;
  readonly #packs: PackInserts;
  readonly #packChanges: PackChanges;
  /** Messages that this transaction gives rows of their own; and those whose counts it has written. */
  #unpacked: Message[] = [];
  #counted: Message[] = [];

  constructor(
    database: DatabaseSync,
    packChanges: PackChanges,
    shared: SharedContents,
    bodies: Bodies,
  ) {
    const into = `message(${COLUMNS})`;
    const values = `${idOf("?", "?")}, ?, ?, ?, ?, ?`;
    this.#inserts = new RowInserts(database, into, `(${values})`);
    this.#plainInserts = new RowInserts(database, into, "(?, 0, 0, ?, ?, ?)");
    this.#insertLarge = new LargeInsert(database, into, values);
    this.#insertCopy = database.prepare(
      `INSERT INTO message(${COLUMNS}, shared) VALUES (${values}, ?)`,
    );
    this.#delete = database.prepare(`DELETE FROM message WHERE ${RANGE}`);
    this.#update = database.prepare(`UPDATE message SET deliveries = ? WHERE ${RANGE}`);
    this.#discard = database.prepare("INSERT INTO discarded VALUES (?, ?, ?, ?)");
    this.#shared = shared;
    this.#bodies = bodies;
    this.#packs = new PackInserts(database);
    this.#packChanges = packChanges;
  }

  /** Inside the transaction of the caller. After a rollback the changes can be written again. */
  write(changes: MessageChanges): void {
    this.#shared.begin();
    this.#forget();
    this.#bodies.write();
    this.#writeInserts(this.#packs.insert(wantedOf(changes.inserts)));
    this.#writeOthers(changes);
  }

  /** The transaction is on its way to the disk. @returns messages whose counts it has written */
  written(): Message[] {
    for (const message of this.#unpacked) message.putInto(undefined);
    const counted = this.#counted;
    this.#forget();
    return counted;
  }

  #forget(): void {
    this.#unpacked = [];
    this.#counted = [];
  }

  /**
   * The same, message by message.
   * @param attempt runs a statement
   * @param onCounted told of the messages that are left out, and of those that stay
   */
  writeSingly(
    changes: MessageChanges,
    attempt: RunOne,
    onCounted: (message: Message, change: 1 | -1) => void,
  ): void {
    const { inserts, authors } = changes;
    this.#forget();
    this.#shared.begin();
    this.#bodies.write();
    const indexes = [...inserts.keys()];
    for (const index of indexes) {
      const message = inserts[index]!;
      if (!isWanted(message)) continue;
      const author = authors[index];
      const undo = () => message.lane.forget(message);
      const isWritten = attempt({ author, what: "a message", undo }, () => {
        this.#writeOne(message);
      });
      if (isWritten) continue;
      message.refused();
      onCounted(message, -1);
      const source = author?.source;
      const isUnwritten = source?.message.row === Row.skipped;
      if (source === undefined || !changes.keep(source)) continue;
      onCounted(source.message, 1);
      if (isUnwritten) indexes.push(inserts.indexOf(source.message));
    }
    this.#writeOthers(changes);
  }

  /** What takes nothing from a client but its place. */
  #writeOthers(changes: MessageChanges): void {
    const { removals, updates, discards, shortDiscards } = changes;
    for (const range of discards) this.#writeDiscard(range);
    if (changes.isPostponed) {
      for (const range of changes.postponed()) this.#writeDiscard(range);
      return;
    }
    for (const [lane, { positions, packed }] of removals) {
      if (lane.dropped) continue;
      this.#writeRemovals(lane.id, positions);
      this.#packChanges.remove(lane.id, packed);
    }
    this.#writeUpdates(updates);
    for (const { lane, first, last } of shortDiscards) {
      this.#delete.run(lane, first, lane, last);
      this.#packChanges.removeRange(lane, first, last);
    }
  }

  #writeUpdates(updates: Iterable<Message>): void {
    const counted = this.#counted;
    const single: Message[] = [];
    const packed: Message[] = [];
    let looked = 0;
    for (const message of updates) {
      if (looked++ === MOST_COUNTED) break;
      // It may be gone meanwhile.
      if (!message.hasRow) counted.push(message);
      else (message.pack === undefined ? single : packed).push(message);
    }
    let left = MOST_COUNTS - this.#writeCounts(single);
    for (const messages of byPacks(packed)) {
      if (left <= 0) return;
      left--;
      if (!this.#packChanges.count(messages)) {
        this.unpack(messages);
        left -= messages.length;
      }
      for (const message of messages) counted.push(message);
    }
  }

  /** Gives messages of one pack, or the only one of some, rows of their own. */
  unpack(messages: readonly Message[]): void {
    this.#packChanges.unpack(messages);
    this.#unpacked.push(...messages);
  }

  #writeDiscard({ lane, first, last, of = null }: Range): void {
    this.#discard.run(lane, first, last, of);
  }

  #writeInserts(messages: Message[]): void {
    const values: Value[] = [];
    const plain: Value[] = [];
    let shared: number | null = null;
    let before: Content | null = null;
    for (let index = 0; index < messages.length; index++) {
      const message = messages[index]!;
      const { content } = message;
      // The copies of one publish stand behind one another.
      if (content !== before) {
        shared = content!.isChunked
          ? this.#bodies.take(content!, copiesAt(messages, index))
          : this.#shared.share(messages, index);
      }
      before = content;
      if (shared !== null) {
        this.#writeCopy(message, shared);
        continue;
      }
      if (message.size >= ALONE_BYTES) {
        this.#writeOne(message);
        continue;
      }
      if (!pushPlain(plain, message)) pushValues(values, message);
    }
    this.#plainInserts.insert(plain);
    this.#inserts.insert(values);
  }

  #writeOne(message: Message): void {
    message.putInto(undefined);
    const content = message.content!;
    if (content.isChunked) return this.#writeCopy(message, this.#bodies.take(content, 1));
    const values: Value[] = [];
    pushValues(values, message);
    if (message.size >= UNKEPT_BYTES) this.#insertLarge.run(values);
    else this.#inserts.insert(values);
  }

  /** @param shared the id of its content, or of its body */
  #writeCopy(message: Message, shared: number): void {
    const content = message.content!;
    const own = content.isChunked ? content.head : NO_BYTES;
    this.#insertCopy.run(
      message.lane.id,
      message.position,
      message.expiresAt,
      message.deliveries,
      layoutOf(message),
      own,
      sumOf(message, own),
      shared,
    );
  }

  /**
   * Those at consecutive positions that came back as often as one another are one range.
   * @returns how many ranges were written
   */
  #writeCounts(messages: Message[]): number {
    messages.sort((one, other) =>
      one.lane === other.lane ? one.position - other.position : one.lane.id - other.lane.id
    );
    let count = 0;
    for (let index = 0; index < messages.length && count < MOST_COUNTS; count++) {
      const { lane, position, deliveries } = messages[index]!;
      let last = position;
      for (; index < messages.length; index++) {
        const next = messages[index]!;
        if (next.lane !== lane || next.position > last + 1 || next.deliveries !== deliveries) break;
        last = next.position;
        this.#counted.push(next);
      }
      this.#update.run(deliveries, lane.id, position, lane.id, last);
    }
    return count;
  }

  /** Consecutive positions become one range. */
  #writeRemovals(lane: number, positions: readonly number[]): void {
    if (positions.length === 0) return;
    let first = positions[0]!;
    let last = first;
    for (const position of positions) {
      if (position > last + 1) {
        this.#delete.run(lane, first, lane, last);
        first = position;
      }
      last = position;
    }
    this.#delete.run(lane, first, lane, last);
  }
}

/** Those that are to be written, in the order of their rows: mostly that is what they are. */
function wantedOf(inserts: readonly Message[]): readonly Message[] {
  const { lane } = inserts[0] ?? {};
  for (const message of inserts) {
    if (message.lane !== lane || !isWanted(message)) return inRowOrder(inserts.filter(isWanted));
  }
  return inserts;
}

/**
 * Those of each lane behind one another: their page is looked for once. Copies that may share a
 * content stay together.
 */
function inRowOrder(messages: readonly Message[]): readonly Message[] {
  const { lane } = messages[0] ?? {};
  if (messages.every((message) => message.lane === lane)) return messages;
  const small = messages.filter(({ size }) => size < SHARED_FROM);
  small.sort((one, other) => one.lane.id - other.lane.id);
  if (small.length === messages.length) return small;
  return small.concat(messages.filter(({ size }) => size >= SHARED_FROM));
}

/** Messages that are in packs, those of each pack together. */
export function byPacks(messages: Iterable<Message>): Iterable<Message[]> {
  return Map.groupBy(messages, ({ lane, pack }) => `${lane.id} ${pack!.first}`).values();
}

/**
 * Nothing if it can expire or has come back, or its id is not one number.
 * @param message that waits to be written, and has its content until then
 * @returns whether it is plain
 */
function pushPlain(values: Value[], message: Message): boolean {
  if (message.expiresAt !== 0 || message.deliveries !== 0) return false;
  const id = idNumber(message.lane.id, message.position);
  if (!Number.isSafeInteger(id)) return false;
  const { bytes } = message.content!;
  values.push(id, layoutOf(message), bytes, sumOf(message, bytes));
  return true;
}

/** The same for any message. */
function pushValues(values: Value[], message: Message): void {
  const { bytes } = message.content!;
  values.push(
    message.lane.id,
    message.position,
    message.expiresAt,
    message.deliveries,
    layoutOf(message),
    bytes,
    sumOf(message, bytes),
  );
}

/** Transient ones are not there any more when somebody looks. */
function sumOf({ durable }: Message, bytes: Uint8Array): number {
  return durable ? checksumOf(bytes) : 0;
}

function layoutOf({ headerLength, addressLength }: Message): number {
  return headerLength * LAYOUT_HEADER + addressLength;
}
