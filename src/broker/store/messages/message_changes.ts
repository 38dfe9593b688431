/**
 * What changes among the messages of one database between two commits. A message that comes and
 * goes meanwhile is never written at all.
 */

import { LARGE_BYTES } from "../../message/content.ts";
import type { Range } from "./discards.ts";
import type { Author, Source } from "../refusals.ts";
import { type LaneRecord, type Message, Row } from "../../message/message.ts";

export class MessageChanges {
  inserts: Message[] = [];
  /** Who published them. */
  authors: (Author | undefined)[] = [];
  /** Positions of stored rows to delete, by lane. */
  readonly removals = new Map<LaneRecord, number[]>();
  /** Messages whose delivery count changed. */
  readonly updates = new Set<Message>();
  /** Ranges that are given up, and whose rows are deleted later. */
  readonly discards = new Set<Range>();
  /** Ranges with few rows, which the commit deletes. */
  shortDiscards: Range[] = [];
  #isPostponed = false;
  #removed = 0;
  #insertedBytes = 0;

  get isEmpty(): boolean {
    return this.inserts.length === 0 && this.removals.size === 0 && this.updates.size === 0 &&
      this.discards.size === 0 && this.shortDiscards.length === 0;
  }

  /** Rows to write or delete. */
  get rows(): number {
    return this.inserts.length + this.#removed + this.updates.size;
  }

  /** Bytes of messages to write. */
  get bytes(): number {
    return this.#insertedBytes;
  }

  insert(message: Message, author: Author | undefined): void {
    message.willBeStored();
    const isCopy = this.inserts.at(-1)?.content === message.content;
    this.inserts.push(message);
    this.authors.push(author);
    if (!isCopy) this.#insertedBytes += message.size;
  }

  remove(message: Message): void {
    const isPending = message.row === Row.pending;
    message.removed();
    if (isPending) {
      if (goesAtOnce(message)) this.#insertedBytes -= message.size;
      return;
    }
    this.#removed++;
    const positions = this.removals.get(message.lane);
    if (positions === undefined) this.removals.set(message.lane, [message.position]);
    else positions.push(message.position);
  }

  /**
   * What was to be removed stays.
   * @returns whether it was to be removed
   */
  keep({ message, content }: Source): boolean {
    const positions = this.removals.get(message.lane) ?? [];
    const index = positions.indexOf(message.position);
    if (index < 0 && message.row !== Row.skipped) return false;
    if (index >= 0) {
      positions.splice(index, 1);
      if (positions.length === 0) this.removals.delete(message.lane);
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
    for (const [{ id: lane, dropped }, positions] of this.removals) {
      if (dropped) continue;
      positions.sort((one, other) => one - other);
      let range: Range | undefined;
      for (const position of positions) {
        if (range?.last === position - 1) range.last = position;
        else ranges.push(range = { lane, first: position, last: position });
      }
    }
    return ranges;
  }

  /** All of it is on disk. */
  written(): void {
    for (const message of this.inserts) {
      if (message.row === Row.pending) message.stored();
      else if (message.row === Row.skipped) message.skipped();
    }
    this.inserts = [];
    this.authors = [];
    this.#insertedBytes = 0;
    this.removals.clear();
    this.#removed = 0;
    this.updates.clear();
    this.discards.clear();
    this.shortDiscards = [];
    this.#isPostponed = false;
  }
}

/** Whether memory forgets a message that is not to be written, and does not wait for the commit. */
function goesAtOnce({ size, sharing }: Message): boolean {
  return sharing === undefined && size < LARGE_BYTES;
}

/** Whether a message of the inserts is still to be written. */
export function isWanted(message: Message): boolean {
  return message.row === Row.pending && !message.lane.dropped;
}
