/**
 * The bytes of a pack: small messages of a lane in one row, in the order of their positions. Each is
 * the lengths of its address, header and body, two bytes for each, the low one first; then these
 * three. A pack fits into one page, so that what cannot be read is no more than with a row for each.
 */

import { copyBytes } from "../../wire/bytes.ts";
import type { Message, Pack } from "../../message/message.ts";

/** Positions that a pack can hold, from its first one on. */
export const PACK_POSITIONS = 32;

/** Bytes of a pack at most: what a page takes, less what else is in the row. */
export const PACK_BYTES = 4_000;

/** In front of each message. */
const HEAD_BYTES = 6;

/** Comes on top of a column with 32 bits. */
const FILL = 2 ** 32;

/** SQL for {@link columnOf} no bits. */
export const NO_BITS = `${FILL}`;

/** Bits as they are stored. */
export function columnOf(bits: number): number {
  return FILL + (bits >>> 0);
}

/** What {@link columnOf} has made a column of. */
export function bitsOf(column: number): number {
  return column | 0;
}

/** The bit of a position. */
export function bitOf({ first }: Pick<Pack, "first">, position: number): number {
  return 1 << (position - first);
}

/** Where the bits of a pack stand, in order. */
export function positionsOf(first: number, bits: number): number[] {
  const positions: number[] = [];
  for (let rest = bits; rest !== 0; rest &= rest - 1) {
    positions.push(first + 31 - Math.clz32(rest & -rest));
  }
  return positions;
}

/** The highest position in it. */
export function lastOf({ first, members }: Pack): number {
  return first + 31 - Math.clz32(members);
}

/** Whether it has all positions from its first to its last one. */
export function isGapless({ members }: Pack): boolean {
  return (members & (members + 1)) === 0;
}

/** Bytes that a message takes in a pack. */
export function packedSize({ size }: Message): number {
  return HEAD_BYTES + size;
}

/** Writes a message from `at` on. @returns where it ends */
export function putMessage(bytes: Uint8Array, at: number, message: Message): number {
  const { addressLength, headerLength, bodyLength } = message;
  bytes[at] = addressLength;
  bytes[at + 1] = addressLength >> 8;
  bytes[at + 2] = headerLength;
  bytes[at + 3] = headerLength >> 8;
  bytes[at + 4] = bodyLength;
  bytes[at + 5] = bodyLength >> 8;
  const { array, start, size } = message.content!;
  copyBytes(array, start, start + size, bytes, at + HEAD_BYTES);
  return at + HEAD_BYTES + size;
}

/** A message in the bytes of a pack. */
export interface Member {
  readonly position: number;
  /** Where it is in these bytes, and how many are its own. */
  readonly start: number;
  readonly size: number;
  readonly addressLength: number;
  readonly headerLength: number;
}

/**
 * Those members that some bits name, in order.
 * @param start where the pack begins in the bytes, and ends
 * @throws when the bytes are not those of such a pack
 */
export function membersOf(
  { first, members }: Pack,
  bytes: Uint8Array,
  bits: number,
  start = 0,
  end = bytes.length,
): Member[] {
  const found: Member[] = [];
  let at = start;
  let rest = members;
  for (; rest !== 0 && at + HEAD_BYTES <= end; rest &= rest - 1) {
    const bit = rest & -rest;
    const start = at + HEAD_BYTES;
    const addressLength = bytes[at]! | bytes[at + 1]! << 8;
    const headerLength = bytes[at + 2]! | bytes[at + 3]! << 8;
    const bodyLength = bytes[at + 4]! | bytes[at + 5]! << 8;
    at = start + addressLength + headerLength + bodyLength;
    if ((bits & bit) === 0) continue;
    const position = first + 31 - Math.clz32(bit);
    found.push({ position, start, size: at - start, addressLength, headerLength });
  }
  if (rest !== 0 || at !== end) throw new Error(`pack ${first} is malformed`);
  return found;
}
