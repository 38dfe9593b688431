/** The counters of lanes in the data file: how much is in them, and how far they were delivered. */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { DeliveredMarks } from "../file/delivered_marks.ts";
import type { LaneRecord, Message } from "../../message/message.ts";

export interface StoredLane {
  id: number;
  queue: number;
  priority: number;
  depth: number;
  bytes: number;
  deliveredTo: number;
  lastPosition: number;
}

export class LaneCounters {
  readonly #database: DatabaseSync;
  readonly #marks: DeliveredMarks;
  readonly #upsert: StatementSync;
  readonly #changed = new Set<LaneRecord>();
  /** Those that were delivered further, which alone is not worth a commit. */
  readonly #delivered = new Set<LaneRecord>();
  /** The last of each: mostly the next message is of the same lane. */
  #lastChanged: LaneRecord | undefined;
  #lastDelivered: LaneRecord | undefined;

  constructor(database: DatabaseSync, marks: DeliveredMarks) {
    this.#database = database;
    this.#marks = marks;
    this.#upsert = database.prepare(
      `INSERT OR REPLACE INTO lane(id, queue, priority, depth, bytes, delivered_to, last_position)
       VALUES (?, ?, ?, ?, ?, ?, ?)`,
    );
  }

  /** Whether a commit would write anything. */
  get dirty(): boolean {
    return this.#changed.size > 0;
  }

  /** Lanes that a commit would write. */
  get pendingRows(): number {
    return this.#changed.size;
  }

  /** A durable message came or went. */
  count(message: Message, change: 1 | -1): void {
    const { lane } = message;
    lane.depth += change;
    lane.bytes += change * message.bodyLength;
    if (lane !== this.#lastChanged) this.#changed.add(this.#lastChanged = lane);
  }

  changed(lane: LaneRecord): void {
    this.#changed.add(lane);
  }

  delivered(lane: LaneRecord): void {
    this.#marks.note(lane);
    if (lane !== this.#lastDelivered) this.#delivered.add(this.#lastDelivered = lane);
  }

  get hasDelivered(): boolean {
    return this.#delivered.size > 0;
  }

  /** Makes the next commit write what {@link delivered} noted. @param most lanes that it writes */
  forceDelivered(most: number): void {
    this.#lastDelivered = undefined;
    for (const lane of this.#delivered) {
      if (this.#changed.size >= most) return;
      this.#delivered.delete(lane);
      this.#changed.add(lane);
    }
  }

  /** Inside the transaction of the caller. */
  write(): void {
    for (const lane of this.#changed) {
      if (lane.dropped || lane.queueId === 0) continue;
      const { id, queueId, priority, depth, bytes, deliveredTo, lastPosition } = lane;
      this.#upsert.run(id, queueId, priority, depth, bytes, deliveredTo, lastPosition);
    }
  }

  /** All of it is on disk. */
  written(): void {
    this.#changed.clear();
    this.#lastChanged = undefined;
  }

  /**
   * @param lastPosition tells the highest position in use of a lane; `known`: in files of now it
   *   has none above, and in those of old it is 0
   */
  stored(lastPosition: (id: number, known: number) => number): StoredLane[] {
    const rows = this.#database.prepare("SELECT * FROM lane").all();
    const lanes: StoredLane[] = [];
    // Those that the data file does not know to be delivered so far.
    const marked: StoredLane[] = [];
    for (const row of rows) {
      const id = row["id"] as number;
      const written = row["delivered_to"] as number;
      const lane = {
        id,
        queue: row["queue"] as number,
        priority: row["priority"] as number,
        depth: row["depth"] as number,
        bytes: row["bytes"] as number,
        deliveredTo: Math.max(written, this.#marks.takeOver(id)),
        lastPosition: lastPosition(id, row["last_position"] as number),
      };
      lanes.push(lane);
      if (lane.deliveredTo > written) marked.push(lane);
    }
    this.#marks.restored(marked);
    return lanes;
  }
}
