/**
 * How far lanes were delivered, in a file beside the data file: a message that comes without the flag
 * "redelivered" after a kill was never seen by anybody. A mark is written before the delivery leaves,
 * and costs some microseconds where a commit would write pages of the log. It is not synced: after a
 * power cut the marks hold that went into the data file with commits.
 *
 * A mark is a slot of the file: lane and position, little-endian. A lane without a slot has lane 0.
 */

import { LAST_POSITION } from "./message_row.ts";
import { createPrivately } from "./schema.ts";

const SLOT_BYTES = 16;
/** Lanes with a slot, and slots that are written in one turn; the marks of more wait for a commit. */
const MOST_SLOTS = 4_096;
const MOST_AT_ONCE = 64;

/** A power cut may leave anything in the file: what came behind it would be in rows of other lanes. */
const MOST_POSITION = LAST_POSITION / 2;

/** A lane, as far as it is marked. */
export interface MarkedLane {
  readonly id: number;
  readonly deliveredTo: number;
}

export class DeliveredMarks {
  readonly #path: string | undefined;
  #file: Deno.FsFile | undefined;
  /** Where the marks of lanes are. */
  readonly #slots = new Map<number, number>();
  readonly #free: number[] = [];
  /** To be written. */
  readonly #pending = new Set<MarkedLane>();
  /** Mostly the next message is of the same lane. */
  #last: MarkedLane | undefined;
  readonly #slot = new DataView(new ArrayBuffer(SLOT_BYTES));
  /** What a former process has left, until it was taken over. */
  #left: ReadonlyMap<number, number>;
  /** Lanes whose marks of that time are needed, until they are written. */
  #taken: readonly MarkedLane[] | undefined;
  #hasBegun = false;

  /** @param path undefined: everything is in memory */
  constructor(path: string | undefined) {
    this.#path = path;
    this.#left = path === undefined ? new Map() : readMarks(path);
  }

  /** The mark that a former process has left of a lane that is there; 0: none. */
  takeOver(lane: number): number {
    return this.#left.get(lane) ?? 0;
  }

  /** What is left of others than these means nothing, or is in the data file. */
  restored(lanes: readonly MarkedLane[]): void {
    if (this.#left.size > 0) this.#taken = lanes;
    this.#left = new Map();
    if (this.#hasBegun) this.#writeTaken();
  }

  /** The data can be used: from now on marks are written. */
  begin(): void {
    this.#hasBegun = true;
    this.#writeTaken();
  }

  #writeTaken(): void {
    const lanes = this.#taken;
    if (lanes === undefined) return;
    this.#taken = undefined;
    try {
      Deno.truncateSync(this.#path!);
    } catch {
      return; // they mean too much then, and never too little
    }
    for (const lane of lanes) this.note(lane);
    this.#write(Infinity);
  }

  /** A lane was delivered further. */
  note(lane: MarkedLane): void {
    if (lane !== this.#last && this.#path !== undefined) this.#pending.add(this.#last = lane);
  }

  /** A lane is gone. */
  forget(lane: MarkedLane): void {
    this.#pending.delete(lane);
    const slot = this.#slots.get(lane.id);
    if (slot === undefined) return;
    this.#slots.delete(lane.id);
    this.#free.push(slot);
    this.#put(slot, 0, 0);
  }

  /** Writes what was noted. */
  write(): void {
    if (this.#pending.size > 0) this.#write(MOST_AT_ONCE);
  }

  #write(most: number): void {
    this.#last = undefined;
    let count = 0;
    for (const { id, deliveredTo } of this.#pending) {
      if (++count > most) break;
      const slot = this.#slots.get(id) ?? this.#takeSlot(id);
      if (slot !== undefined) this.#put(slot, id, deliveredTo);
    }
    this.#pending.clear();
  }

  #takeSlot(id: number): number | undefined {
    if (this.#slots.size === MOST_SLOTS) return undefined;
    const slot = this.#free.pop() ?? this.#slots.size;
    this.#slots.set(id, slot);
    return slot;
  }

  #put(slot: number, lane: number, position: number): void {
    this.#slot.setBigInt64(0, BigInt(lane), true);
    this.#slot.setBigInt64(8, BigInt(position), true);
    try {
      const file = this.#file ??= open(this.#path!);
      file.seekSync(slot * SLOT_BYTES, Deno.SeekMode.Start);
      file.writeSync(new Uint8Array(this.#slot.buffer));
    } catch {
      // Without room on the disk the marks go with the next commit.
    }
  }

  close(): void {
    this.#file?.close();
    this.#file = undefined;
  }
}

function open(path: string): Deno.FsFile {
  createPrivately(path);
  return Deno.openSync(path, { write: true });
}

/** By lanes. What cannot be read is none. */
function readMarks(path: string): Map<number, number> {
  const marks = new Map<number, number>();
  try {
    const { buffer, byteLength } = Deno.readFileSync(path);
    const view = new DataView(buffer, 0, byteLength);
    for (let at = 0; at + SLOT_BYTES <= view.byteLength; at += SLOT_BYTES) {
      const lane = Number(view.getBigInt64(at, true));
      const position = Number(view.getBigInt64(at + 8, true));
      if (lane !== 0 && position <= MOST_POSITION) marks.set(lane, position);
    }
  } catch {
    // Nothing was delivered yet.
  }
  return marks;
}
