/** Where the rows of a lane end, when the last of them cannot be read. Writes nothing. */

import { LAST_POSITION } from "../file/message_row.ts";
import type { Rows } from "./lane_reader.ts";

/**
 * Positions that are left out behind those that can be seen, when nobody knows how many cannot: of
 * those that a lane has, an eighth. Fewer would do if messages went in the order in which they came.
 */
const GAP = (LAST_POSITION + 1) / 8;

/** What can be told of where rows end. */
export interface End {
  /** Of those that can be seen none is behind it. */
  readonly position: number;
  /** Nor of those that cannot. */
  readonly isSure: boolean;
}

/** What is told of rows that the pages of a table may have, though one of these cannot be read. */
export function findEnd(rows: Rows, lane: number): End {
  // Nothing is found in a page that cannot be read, and the page before says which positions it has.
  const isBehind = (position: number) => attempt(() => rows.findNext(lane, position) === undefined);
  if (isBehind(LAST_POSITION)) {
    return { position: firstOf(isBehind) - 1 + rows.reach, isSure: true };
  }
  const isLost = (position: number) => !attempt(() => (rows.findNext(lane, position), true));
  return { position: isLost(LAST_POSITION) ? firstOf(isLost) - 1 + rows.reach : 0, isSure: false };
}

/** A position that is behind all messages of some tables, and of which at least one is not sure. */
export function behindAll(seen: number): number {
  return Math.min(seen + GAP, LAST_POSITION - 1);
}

/** The first position from which on something holds, or one of those if it comes and goes. */
function firstOf(holds: (position: number) => boolean): number {
  let [low, high] = [0, LAST_POSITION];
  while (low + 1 < high) {
    const middle = Math.floor((low + high) / 2);
    if (holds(middle)) high = middle;
    else low = middle;
  }
  return high;
}

/** @returns false: something cannot be read */
function attempt(holds: () => boolean): boolean {
  try {
    return holds();
  } catch {
    return false;
  }
}
