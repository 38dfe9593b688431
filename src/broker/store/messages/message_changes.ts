/**
 * What changes among the messages of one database between two commits. A message that comes and
 * goes meanwhile is never written at all.
 */

import { LARGE_BYTES } from "../../message/content.ts";
import type { Range } from "./discards.ts";
import type { Author, Source } from "../refusals.ts";
import { type LaneRecord, type Message, type Pack, Row } from "../../message/message.ts";
import { bitOf, positionsOf } from "../file/pack_row.ts";
import type { Removed } from "./pack_changes.ts";

/** Positions of a lane that lie in one page, about: the rows of small messages. */
export const PAGE_ROWS = 25;
/** Bytes of rows that a page holds, and those of a row besides its message. */
export const PAGE_CONTENT = 4_000;
const ROW_BYTES = 16;

/** Messages of one lane to delete. */
export class Removals {
  /** Of those that have rows of their own. */
  readonly #positions: number[] = [];
  /** Those in packs, by the first positions of the packs. */
  readonly #packed = new Map<number, Removed>();
  #lastPacked: Removed | undefined;
  #lowest = Infinity;
  #highest = 0;
  #last = -Infinity;
  /** How often one was in another page than the one before. */
  #jumps = 0;
  /** Where they are, about: those that many settle in turn are in a few, however often they jump. */
  #pages = 0;

  /** @returns how many pages more they are in, about */
  add({ position, pack }: Message): number {
    if (pack === undefined) this.#positions.push(position);
    else this.#packOf(pack).bits |= bitOf(pack, position);
    if (isApart(this.#last, position)) this.#jumps++;
    this.#last = position;
    if (position < this.#lowest) this.#lowest = position;
    if (position > this.#highest) this.#highest = position;
    const before = this.#pages;
    this.#pages = Math.min(this.#jumps, 1 + (this.#highest - this.#lowest) / PAGE_ROWS);
    return this.#pages - before;
  }

  #packOf(pack: Pack): Removed {
    const last = this.#lastPacked;
    if (last?.pack.first === pack.first) return last;
    let removed = this.#packed.get(pack.first);
    if (removed === undefined) this.#packed.set(pack.first, removed = { pack, bits: 0 });
    return this.#lastPacked = removed;
  }

  /** A message stays. @returns whether it was to be deleted */
  keep({ position, pack }: Message): boolean {
    if (pack === undefined) {
      const index = this.#positions.indexOf(position);
      if (index >= 0) this.#positions.splice(index, 1);
      return index >= 0;
    }
    const removed = this.#packed.get(pack.first);
    const bit = bitOf(pack, position);
    if (removed === undefined || (removed.bits & bit) === 0) return false;
    removed.bits &= ~bit;
    if (removed.bits !== 0) return true;
    this.#packed.delete(pack.first);
    this.#lastPacked = undefined;
    return true;
  }

  get isEmpty(): boolean {
    return this.#positions.length === 0 && this.#packed.size === 0;
  }

  /** Those with rows of their own, in order. */
  get positions(): readonly number[] {
    return this.#positions.sort((one, other) => one - other);
  }

  /** What goes of packs, in order. */
  get packed(): readonly Removed[] {
    return [...this.#packed.values()].sort((one, other) => one.pack.first - other.pack.first);
  }

  /** Packs that are not given up as a whole. */
  get changedPacks(): number {
    let count = 0;
    for (const { pack, bits } of this.#packed.values()) if (bits !== pack.members) count++;
    return count;
  }

  /** All of them, in order. */
  get all(): number[] {
    const packed = [...this.#packed.values()]
      .flatMap(({ pack: { first }, bits }) => positionsOf(first, bits));
    return this.#positions.concat(packed).sort((one, other) => one - other);
  }
}

export class MessageChanges {
  inserts: Message[] = [];
  /** Who published them, from which of them on: mostly many in a row have one. */
  #authors: { readonly first: number; readonly author: Author | undefined }[] = [];
  /** Stored messages to delete, by lane. */
  readonly removals = new Map<LaneRecord, Removals>();
  /** Messages whose delivery count changed, those that have waited longest first. */
  readonly updates = new Set<Message>();
  /** How many of them have come since the last commit: what that has left waits for its time. */
  #freshUpdates = 0;
  /** Ranges that are given up, and whose rows are deleted later. */
  readonly discards = new Set<Range>();
  /** Ranges with few rows, which the commit deletes. */
  shortDiscards: Range[] = [];
  #isPostponed = false;
  #removed = 0;
  #insertedBytes = 0;
  /** Bytes of messages to delete that lie in the pages of their rows, others' among them. */
  #removedBytes = 0;
  /** Lanes with inserts, and the last of them. */
  readonly #lanes = new Set<LaneRecord>();
  #lane: LaneRecord | undefined;
  /** Pages where something is removed or updated, apart from one another, about. */
  #apart = 0;
  /** Pages that are only looked for, to be given up, about. */
  #found = 0;
  #updated: Message | undefined;

  get isEmpty(): boolean {
    return this.inserts.length === 0 && this.removals.size === 0 && this.updates.size === 0 &&
      this.discards.size === 0 && this.shortDiscards.length === 0;
  }

  /** Rows to write or delete. */
  get rows(): number {
    return this.inserts.length + this.#removed + this.#freshUpdates;
  }

  /** Bytes of messages to write. */
  get bytes(): number {
    return this.#insertedBytes;
  }

  /**
   * Pages of the file that lie apart and change, or are given up, about. They cost more than rows
   * that lie together: each is looked for by itself.
   */
  get scattered(): number {
    return this.#lanes.size + this.#apart + this.#found;
  }

  /** All pages that change and so are written to the log, about. */
  get pages(): number {
    const rows = this.inserts.length + this.#removed;
    const bytes = this.#insertedBytes + this.#removedBytes + ROW_BYTES * rows;
    let packs = 0;
    for (const removals of this.removals.values()) packs += removals.changedPacks;
    return this.#lanes.size + this.#apart + packs + bytes / PAGE_CONTENT;
  }

  insert(message: Message, author: Author | undefined): void {
    const { lane } = message;
    message.willBeStored();
    const isCopy = this.inserts.at(-1)?.content === message.content;
    if (author !== this.#authors.at(-1)?.author) {
      this.#authors.push({ first: this.inserts.length, author });
    }
    this.inserts.push(message);
    if (!isCopy) this.#insertedBytes += insertedBytes(message);
    if (lane !== this.#lane) this.#lanes.add(this.#lane = lane);
  }

  /** Who published each of the inserts. */
  get authors(): (Author | undefined)[] {
    let next = 0;
    let author: Author | undefined;
    return this.inserts.map((_, index) => {
      if (this.#authors[next]?.first === index) author = this.#authors[next++]!.author;
      return author;
    });
  }

  remove(message: Message): void {
    const isPending = message.row === Row.pending;
    message.removed();
    if (isPending) {
      if (goesAtOnce(message)) this.#insertedBytes -= message.size;
      return;
    }
    const { lane, rowBytes: size } = message;
    this.#removed++;
    // Pages that a message fills are given up as they are.
    if (size > PAGE_CONTENT / 2) this.#found += size / PAGE_CONTENT;
    else if (message.pack === undefined) this.#removedBytes += size;
    let removals = this.removals.get(lane);
    if (removals === undefined) this.removals.set(lane, removals = new Removals());
    this.#apart += removals.add(message);
  }

  /** Its delivery count has changed. */
  update(message: Message): void {
    const last = this.#updated;
    if (last?.lane !== message.lane || isApart(last.position, message.position)) this.#apart++;
    const { size } = this.updates;
    this.#freshUpdates += this.updates.add(this.#updated = message).size - size;
  }

  /** Gives up a range that has few rows. @param bytes of their messages, at most */
  discardShort(range: Range, bytes: number): void {
    this.#apart++;
    this.#found += bytes / PAGE_CONTENT;
    this.#removed += range.last - range.first + 1;
    this.shortDiscards.push(range);
  }

  /**
   * What was to be removed stays.
   * @returns whether it was to be removed
   */
  keep({ message, content }: Source): boolean {
    const removals = this.removals.get(message.lane);
    const isStored = removals?.keep(message) ?? false;
    if (!isStored && message.row !== Row.skipped) return false;
    if (isStored) {
      if (removals!.isEmpty) this.removals.delete(message.lane);
      this.#removed--;
    } else if (goesAtOnce(message)) this.#insertedBytes += message.size;
    message.kept(content);
    return true;
  }

  /** Of those that wait to be written. */
  removeRange(lane: LaneRecord, first: number, last: number): void {
    for (const message of this.inserts) {
      const { position } = message;
      if (message.lane !== lane || message.row !== Row.pending) continue;
      if (first <= position && position <= last) this.remove(message);
    }
  }

  /**
   * What is to be deleted is only given up by the next commit, as ranges, and changed delivery counts
   * are forgotten: their rows, or what lies beside them, cannot be read. Until it is written, what was
   * to be removed can still be kept.
   * @returns whether that changes what is written
   */
  postpone(): boolean {
    if (this.#isPostponed) return false;
    const isEmpty = this.removals.size === 0 && this.updates.size === 0 &&
      this.shortDiscards.length === 0;
    return this.#isPostponed = !isEmpty;
  }

  get isPostponed(): boolean {
    return this.#isPostponed;
  }

  /** Ranges of what is postponed. */
  postponed(): Range[] {
    if (!this.#isPostponed) return [];
    const ranges = [...this.shortDiscards];
    for (const [{ id: lane, dropped }, { all }] of this.removals) {
      if (dropped) continue;
      let range: Range | undefined;
      for (const position of all) {
        if (range?.last === position - 1) range.last = position;
        else ranges.push(range = { lane, first: position, last: position });
      }
    }
    return ranges;
  }

  /** All of it is on disk, but for some updates. @param updated those that are */
  written(updated: readonly Message[]): void {
    for (const message of this.inserts) {
      if (message.row === Row.pending) message.stored();
      else if (message.row === Row.skipped) message.skipped();
    }
    this.inserts = [];
    this.#authors = [];
    this.#insertedBytes = 0;
    this.removals.clear();
    this.#removed =
      this.#removedBytes =
      this.#apart =
      this.#found =
        0;
    this.#lanes.clear();
    this.#lane = this.#updated = undefined;
    for (const message of updated) this.updates.delete(message);
    if (this.#isPostponed) this.updates.clear();
    this.#freshUpdates = 0;
    this.discards.clear();
    this.shortDiscards = [];
    this.#isPostponed = false;
  }
}

/** Its body may be in the store already. */
function insertedBytes({ size, rowBytes, content }: Message): number {
  return content?.stored === undefined ? size : rowBytes;
}

/** Whether memory forgets a message that is not to be written, and does not wait for the commit. */
function goesAtOnce({ size, sharing }: Message): boolean {
  return sharing === undefined && size < LARGE_BYTES;
}

/** Whether rows of two positions of a lane are in different pages, probably. */
function isApart(position: number, other: number): boolean {
  return Math.abs(position - other) > PAGE_ROWS;
}

/** Whether a message of the inserts is still to be written. */
export function isWanted(message: Message): boolean {
  return message.row === Row.pending && !message.lane.dropped;
}
