/**
 * What changes about packs that are written: messages are taken out of them, and a pack goes with the
 * last of them; all that are left come back.
 */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import { checksumOf } from "../file/checksum.ts";
import { idOf, LAST_POSITION, LAYOUT_HEADER, LIMIT, RANGE } from "../file/message_row.ts";
import type { Message, Pack } from "../../message/message.ts";
import {
  bitOf,
  bitsOf,
  columnOf,
  isGapless,
  lastOf,
  membersOf,
  PACK_POSITIONS,
} from "../file/pack_row.ts";

/** What is to be taken out of a pack. */
export interface Removed {
  readonly pack: Pack;
  /** Of its members. */
  bits: number;
}

export class PackChanges {
  readonly #delete: StatementSync;
  readonly #remove: StatementSync;
  readonly #removeRange: StatementSync;
  readonly #deleteEmpty: StatementSync;
  readonly #sweep: StatementSync;
  readonly #count: StatementSync;
  readonly #select: StatementSync;
  readonly #insert: StatementSync;

  constructor(database: DatabaseSync) {
    this.#delete = database.prepare(`DELETE FROM pack WHERE ${RANGE}`);
    this.#remove = database.prepare(
      `UPDATE pack SET gone = gone | ? WHERE id = ${idOf("?", "?")} AND (gone | ?) <> members`,
    );
    const first = `(id & ${LAST_POSITION})`;
    this.#removeRange = database.prepare(
      `UPDATE pack SET gone = gone | (members &
         ((2 << min(${PACK_POSITIONS - 1}, ? - ${first})) - (1 << max(0, ? - ${first}))))
       WHERE ${RANGE}`,
    );
    this.#deleteEmpty = database.prepare(`DELETE FROM pack WHERE ${RANGE} AND gone = members`);
    this.#sweep = database.prepare(
      `DELETE FROM pack WHERE id IN (SELECT id FROM pack WHERE ${RANGE} ORDER BY id ${LIMIT})`,
    );
    this.#count = database.prepare(
      `UPDATE pack SET deliveries = ? WHERE id = ${idOf("?", "?")} AND (gone | ?) = members`,
    );
    this.#select = database.prepare(
      `SELECT members, gone, content FROM pack WHERE id = ${idOf("?", "?")}`,
    );
    this.#insert = database.prepare(
      `INSERT INTO message(id, expires_at, deliveries, layout, content, checksum)
       VALUES (${idOf("?", "?")}, 0, ?, ?, ?, ?)`,
    );
  }

  // -- inside the transaction of the caller --

  /** @param removed of each pack once, in order */
  remove(lane: number, removed: readonly Removed[]): void {
    /** Packs that go as a whole, with nothing between them. */
    let whole: { first: number; last: number; end: number } | undefined;
    for (const { pack, bits } of removed) {
      if (bits !== pack.members) {
        this.#removeBits(lane, pack, bits);
        continue;
      }
      if (whole?.end === pack.first - 1) whole.last = pack.first;
      else {
        if (whole !== undefined) this.#delete.run(lane, whole.first, lane, whole.last);
        whole = { first: pack.first, last: pack.first, end: 0 };
      }
      whole.end = isGapless(pack) ? lastOf(pack) : 0;
    }
    if (whole !== undefined) this.#delete.run(lane, whole.first, lane, whole.last);
  }

  #removeBits(lane: number, { first }: Pack, bits: number): void {
    const { changes } = this.#remove.run(bits >>> 0, lane, first, bits >>> 0);
    // Nothing would be left in it.
    if (Number(changes) === 0) this.#delete.run(lane, first, lane, first);
  }

  /** Few positions of a lane. */
  removeRange(lane: number, first: number, last: number): void {
    const from = Math.max(1, first - PACK_POSITIONS + 1);
    this.#removeRange.run(last, first, lane, from, lane, last);
    this.#deleteEmpty.run(lane, from, lane, last);
  }

  /**
   * Any number of positions of a lane, piece by piece.
   * @returns how many packs were deleted, `most` at most: then there may be more
   */
  sweep(lane: number, first: number, last: number, most: number): number {
    // Below zero is no position, but the lanes up to number -1.
    const end = Math.max(0, last - PACK_POSITIONS + 1);
    const changes = Number(this.#sweep.run(lane, first, lane, end, most).changes);
    // What is left are those at both ends.
    if (changes < most) this.removeRange(lane, first, last);
    return changes;
  }

  /**
   * Writes a changed delivery count of some messages of one pack.
   * @returns whether it is that of all that are left in it; if not, nothing is written
   */
  count(messages: readonly Message[]): boolean {
    const { lane, pack, deliveries } = messages[0]!;
    if (messages.some((message) => message.deliveries !== deliveries)) return false;
    const bits = columnOf(bitsOfAll(messages));
    return Number(this.#count.run(deliveries, lane.id, pack!.first, bits).changes) > 0;
  }

  /**
   * Gives some messages of one pack rows of their own, with their delivery counts. Those that have
   * one already keep it.
   */
  unpack(messages: readonly Message[]): void {
    const { lane, pack } = messages[0]!;
    const { first } = pack!;
    const row = this.#select.get(lane.id, first);
    if (row === undefined) return;
    const members = bitsOf(row["members"] as number);
    const bits = bitsOfAll(messages) & members & ~bitsOf(row["gone"] as number);
    if (bits === 0) return;
    const content = row["content"] as Uint8Array;
    const found = membersOf({ first, members }, content, bits);
    for (const { position, start, size, addressLength, headerLength } of found) {
      const bytes = content.subarray(start, start + size);
      const { deliveries, durable } = messages.find((message) => message.position === position)!;
      const layout = headerLength * LAYOUT_HEADER + addressLength;
      const sum = durable ? checksumOf(bytes) : 0;
      this.#insert.run(lane.id, position, deliveries, layout, bytes, sum);
    }
    this.#removeBits(lane.id, pack!, bits);
  }
}

/** @param messages of one pack */
function bitsOfAll(messages: readonly Message[]): number {
  return messages.reduce((bits, { pack, position }) => bits | bitOf(pack!, position), 0);
}
