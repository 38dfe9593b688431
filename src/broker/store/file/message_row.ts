/** A row of the table `message`: its id, which is two numbers, and its columns. */

/** Bits of a row id that hold the position; those above hold the lane. */
export const POSITION_BITS = 40;

export const LAST_POSITION = 2 ** POSITION_BITS - 1;

/** Row ids have 63 bits. */
export const LAST_LANE = 2 ** (63 - POSITION_BITS) - 1;

/** The column `layout` is the length of the address, and this times the length of the header. */
export const LAYOUT_HEADER = 0x10000;

/** The rows of a lane lie together, in the order of their positions. */
export const MESSAGE_COLUMNS = `id INTEGER PRIMARY KEY, expires_at INTEGER NOT NULL,
  deliveries INTEGER NOT NULL, layout INTEGER NOT NULL, content BLOB NOT NULL, checksum INTEGER,
  shared INTEGER`;

/**
 * SQL for the rows of a lane between two positions, both included. Its values: lane, first, lane,
 * last. Not numbered: Deno 2.4 cannot bind "?1".
 */
export const RANGE = `id BETWEEN ${idOf("?", "?")} AND ${idOf("?", "?")}`;

/**
 * SQL for how many rows at most. Its value: that. A bare value would be part of what SQLite plans, and
 * the statement would be prepared anew each time, which takes longer than most of them.
 */
export const LIMIT = "LIMIT ? + 0";

/** Bits of a chunk's id that hold which one of its body it is; those above hold the body. */
export const CHUNK_BITS = 16;

/** SQL for the ids of the chunks of a body. Its values: the body, twice. */
export const OF_BODY = `id BETWEEN ? << ${CHUNK_BITS} AND (? + 1 << ${CHUNK_BITS}) - 1`;

/** SQL for the row id of a position in a lane. */
export function idOf(lane: string, position: string): string {
  return `(${lane} << ${POSITION_BITS} | ${position})`;
}

/** What a lane is in a row id. */
const LANE = 2 ** POSITION_BITS;

/** The same row id as a number, if it is a safe one: it is for the first 8,191 lanes. */
export function idNumber(lane: number, position: number): number {
  return lane * LANE + position;
}
