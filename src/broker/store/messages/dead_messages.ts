/**
 * Which stored messages are dead, and wait for a queue to go to: after a restart they must not be
 * ready again. Their rows stay among the others; whatever was in a pack gets one. Most messages never
 * are in this table: they are dead and gone in one commit.
 *
 * There may be very many: only those are in memory that somebody has taken, by {@link
 * DeadMessages.add} or {@link DeadMessages.read}, until he lets them go.
 */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { DeathReason } from "../../message/deaths.ts";
import { type LaneRecord, Message } from "../../message/message.ts";
import {
  idOf,
  LAST_POSITION,
  LAYOUT_HEADER,
  LIMIT,
  POSITION_BITS,
  RANGE,
} from "../file/message_row.ts";
import { numberOf } from "../file/schema.ts";
import { isDamage } from "../file/storage_error.ts";

/** The dead of a lane, as a former process left them. */
export interface DeadCount {
  readonly lane: number;
  readonly count: number;
  /** Of their bodies. */
  readonly bytes: number;
  /** The highest position of one. */
  readonly last: number;
  /** The number of the first death. */
  readonly first: number;
}

/** Where somebody stands among the dead of a lane, who takes them in the order of their deaths. */
export interface Place {
  readonly death: number;
  readonly position: number;
}

export interface Dead extends Place {
  /** Undefined: it is not there any more. */
  readonly message: Message | undefined;
  readonly reason: DeathReason;
}

interface Row extends Place {
  readonly reason: DeathReason;
  readonly expiresAt: number;
  readonly deliveries: number;
  /** Null when the message is not there any more. */
  readonly layout: number | null;
  readonly size: number;
}

const SIZE = "(length(message.content) + coalesce(length(shared.content) + body, 0))";
const JOIN = `dead LEFT JOIN message ON message.id = dead.id
  LEFT JOIN shared ON shared.id = message.shared`;
const BODY = `${SIZE} - layout % ${LAYOUT_HEADER} - layout / ${LAYOUT_HEADER}`;

export class DeadMessages {
  readonly #database: DatabaseSync;
  readonly #unpack: (messages: readonly Message[]) => void;
  readonly #onChange: () => void;
  readonly #onDamage: (error: unknown) => void;
  readonly #onReadable: () => void;
  readonly #select: StatementSync;
  readonly #positions: StatementSync;
  readonly #insert: StatementSync;
  readonly #delete: StatementSync;
  /** Those that somebody has, those included that the next commit writes. */
  readonly #taken = new Map<Message, number>();
  readonly #inserts = new Map<Message, { reason: DeathReason; death: number }>();
  readonly #deletes = new Set<Message>();
  /** Lanes that rows may be of. */
  readonly #lanes = new Set<number>();
  /** Lanes whose rows could not be read when that was last tried. */
  readonly #unreadable = new Set<number>();
  #nextDeath = 1;
  /** Rows of messages that are not there any more, or in packs, are in the table. */
  #hasStrays = false;
  /** {@link leavePacked} */
  #isBesideDamage = false;
  #staysPacked = false;

  /**
   * @param unpack gives stored messages rows of their own, within a transaction
   * @param onChange told of every change that waits for a commit
   * @param onDamage told when what is stored cannot be read
   * @param onReadable told when what could not be read can be, or is gone
   */
  constructor(
    database: DatabaseSync,
    unpack: (messages: readonly Message[]) => void,
    onChange: () => void,
    onDamage: (error: unknown) => void,
    onReadable: () => void,
  ) {
    this.#unpack = unpack;
    this.#onDamage = onDamage;
    this.#onReadable = onReadable;
    this.#database = database;
    this.#onChange = onChange;
    const lane = `dead.id >> ${POSITION_BITS}`;
    this.#select = database.prepare(
      `SELECT dead.id & ${LAST_POSITION} position, death, reason, message.expires_at expiresAt,
         message.deliveries, layout, ${SIZE} size
       FROM ${JOIN} WHERE ${lane} = ? AND (death, dead.id) > (?, ${idOf("?", "?")})
       ORDER BY death, dead.id ${LIMIT}`,
    );
    this.#positions = database.prepare(
      `SELECT json_group_array(position) positions
       FROM (
         SELECT id & ${LAST_POSITION} position FROM dead
         WHERE ${RANGE} AND (NOT ? OR EXISTS (SELECT 1 FROM message WHERE message.id = dead.id))
         ORDER BY id)`,
    );
    this.#insert = database.prepare(`INSERT OR REPLACE INTO dead VALUES (${idOf("?", "?")}, ?, ?)`);
    this.#delete = database.prepare(`DELETE FROM dead WHERE id = ${idOf("?", "?")}`);
  }

  /** Whether a commit would write anything because of a message. */
  get dirty(): boolean {
    return this.#inserts.size > 0 || this.#deletes.size > 0;
  }

  // -- what a former process left --

  /** How many there are. None if one cannot be read: then they are ready. */
  stored(): DeadCount[] {
    try {
      // What follows reads the index.
      numberOf(this.#database, "SELECT total(length(reason)) FROM dead NOT INDEXED");
      const rows = this.#database.prepare(
        `SELECT dead.id >> ${POSITION_BITS} lane, count(layout) count, count(*) - count(layout) strays,
           total(${BODY}) bytes, max(dead.id & ${LAST_POSITION}) last,
           min(death) first, max(death) death
         FROM ${JOIN} GROUP BY dead.id >> ${POSITION_BITS}`,
      ).all() as unknown as (DeadCount & { strays: number; death: number })[];
      for (const { lane, strays, death } of rows) {
        this.#lanes.add(lane);
        this.#hasStrays ||= strays > 0;
        this.#nextDeath = Math.max(this.#nextDeath, death + 1);
      }
      return rows;
    } catch (error) {
      this.#onDamage(error);
      return [];
    }
  }

  // -- one by one --

  /** A message must not be ready after a restart. It is behind all that are dead of its lane. */
  add(message: Message, reason: DeathReason): void {
    this.#add(message, reason, this.#taken.get(message) ?? this.#nextDeath++);
  }

  /** The same, but it died at the same time as a former one. */
  addAt(message: Message, reason: DeathReason, death: number): void {
    this.#add(message, reason, this.#taken.get(message) ?? death);
  }

  #add(message: Message, reason: DeathReason, death: number): void {
    if (!message.durable || this.#taken.has(message)) return;
    this.#taken.set(message, death);
    this.#inserts.set(message, { reason, death });
    this.#lanes.add(message.lane.id);
    this.#onChange();
  }

  /** Nobody has it any more; it stays dead, and {@link read} finds it once it is written. */
  letGo(message: Message): void {
    this.#taken.delete(message);
  }

  /** A message is gone; it need not be one of these. */
  remove(message: Message): void {
    if (!this.#taken.delete(message)) return;
    this.#inserts.delete(message);
    this.#deletes.add(message);
  }

  /** Where the next one will stand that dies. */
  get end(): Place {
    return { death: this.#nextDeath - 1, position: LAST_POSITION };
  }

  // -- many --

  /** Whether there may be any of a lane. */
  has(lane: number): boolean {
    return this.#lanes.has(lane);
  }

  /** The lane is gone; its rows are deleted with those of its messages. */
  dropLane(lane: number): void {
    this.#lanes.delete(lane);
    this.#noteReadable(lane);
  }

  /** Whether there are none that could not be read when they were last wanted. */
  get isReadable(): boolean {
    return this.#unreadable.size === 0;
  }

  #noteReadable(lane: number): void {
    if (this.#unreadable.delete(lane)) this.#onReadable();
  }

  /** Takes the next ones of a lane that are on disk. @returns undefined: they cannot be read now */
  read(lane: LaneRecord, behind: Place, limit: number): Dead[] | undefined {
    const { id } = lane;
    let rows: Row[];
    try {
      rows = this.#select.all(id, behind.death, id, behind.position, limit) as unknown as Row[];
    } catch (error) {
      this.#unreadable.add(id);
      this.#onDamage(error);
      return undefined;
    }
    this.#noteReadable(id);
    return rows.map(({ layout, size, expiresAt, deliveries, ...dead }) => {
      if (layout === null) return { ...dead, message: undefined };
      const lengths = {
        size,
        addressLength: layout % LAYOUT_HEADER,
        headerLength: Math.floor(layout / LAYOUT_HEADER),
      };
      const message = new Message(lane, dead.position, lengths, expiresAt, true);
      message.restore(deliveries);
      this.#taken.set(message, dead.death);
      return { ...dead, message };
    });
  }

  /** The positions in a lane between two, both included, at which the dead are, in order. */
  positions(lane: number, first: number, last: number): number[] {
    try {
      const row = this.#positions.get(lane, first, lane, last, Number(this.#hasStrays))!;
      return JSON.parse(row["positions"] as string);
    } catch (error) {
      this.#onDamage(error);
      return [];
    }
  }

  // -- writing --

  /** Inside the transaction of the caller. */
  write(): void {
    if (this.#hasStrays) {
      this.#database.exec("DELETE FROM dead WHERE id NOT IN (SELECT id FROM message)");
    }
    for (const { lane, position } of this.#deletes) this.#delete.run(lane.id, position);
    for (const [{ lane, position }, { reason, death }] of this.#inserts) {
      if (!lane.dropped) this.#insert.run(lane.id, position, reason, death);
    }
    this.#giveRows();
  }

  #giveRows(): void {
    if (this.#staysPacked) return;
    try {
      this.#unpack([...this.#inserts.keys()].filter(({ lane }) => !lane.dropped));
    } catch (error) {
      this.#isBesideDamage ||= isDamage(error);
      throw error;
    }
  }

  /**
   * Nothing is taken out of packs by the next commit: what lies beside one of them cannot be read. It
   * is ready after a restart.
   * @returns whether that changes what is written
   */
  leavePacked(): boolean {
    const isNew = this.#isBesideDamage && !this.#staysPacked;
    this.#staysPacked ||= isNew;
    return isNew;
  }

  /** All of it is on disk. */
  written(): void {
    this.#hasStrays = this.#isBesideDamage = this.#staysPacked = false;
    this.#inserts.clear();
    this.#deletes.clear();
  }
}
