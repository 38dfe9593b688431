/**
 * Whether the data file is a copy that somebody made while a broker used the original: such a copy
 * is made of pieces of different moments. While it is used, the file says in itself what file it is;
 * a copy says the same and is another one. So does what was copied after a crash, or restored from
 * a snapshot, and that is as good as the original: {@link findDamage} tells them apart.
 */

import type { DatabaseSync } from "node:sqlite";
import { hasChecksum } from "./checksum.ts";
import { CHUNK_BITS, LAST_POSITION, LAYOUT_HEADER, POSITION_BITS } from "./message_row.ts";
import { bitsOf, membersOf } from "./pack_row.ts";
import { everyRow } from "./schema.ts";

/** The mark that a file is in use. */
export class InUse {
  readonly #database: DatabaseSync;
  readonly #path: string | undefined;
  #isMarked: boolean;
  /** The file was marked when it was another one. */
  readonly isCopy: boolean;

  /** @param path of the data file; undefined: it is in memory */
  constructor(database: DatabaseSync, path: string | undefined) {
    this.#database = database;
    this.#path = path;
    const mark = database.prepare("SELECT file FROM in_use").get()?.["file"] as string | undefined;
    this.#isMarked = path === undefined || (mark !== undefined && isSame(mark, identityOf(path)));
    this.isCopy = mark !== undefined && !this.#isMarked;
  }

  /** Must come before every other change of the file. */
  mark(): void {
    if (this.#isMarked) return;
    this.#database.exec("BEGIN IMMEDIATE");
    this.#database.exec("DELETE FROM in_use");
    this.#database.prepare("INSERT INTO in_use VALUES (?)").run(identityOf(this.#path!));
    this.#database.exec("COMMIT");
    // Into the file itself: its log may be copied at another time.
    this.#database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    this.#isMarked = true;
  }

  /** The last change of the file. */
  clear(): void {
    if (!this.#isMarked || this.#path === undefined) return;
    this.#database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    this.#database.exec("DELETE FROM in_use");
    this.#isMarked = false;
  }
}

/**
 * When it was made, and its number: not the disk's, which changes when the machine starts again.
 * Some file systems know no time.
 */
function identityOf(path: string): string {
  const { birthtime, ino } = Deno.statSync(path);
  return `${birthtime?.getTime() ?? ""} ${ino ?? ""}`;
}

function isSame(one: string, other: string): boolean {
  const [born, number] = one.split(" ");
  const [otherBorn, otherNumber] = other.split(" ");
  return born !== "" && otherBorn !== "" ? born === otherBorn : number === otherNumber;
}

/** What shows that the file is not of one moment, in words, or undefined. Reads all of it. */
export function findDamage(database: DatabaseSync): string | undefined {
  const { integrity_check: found } = database.prepare("PRAGMA integrity_check(1)").get()!;
  if (found !== "ok") return `SQLite says ${JSON.stringify(found)}`;
  return findMiscount(database) ?? findForeignBytes(database);
}

/** Messages that were given up are not counted. */
export function findMiscount(database: DatabaseSync): string | undefined {
  const found = countRows(database);
  if (!addPacks(database, found)) return "a pack of messages has other bytes than were stored";
  for (const lane of everyRow(database, "lane")) {
    const id = lane["id"] as number;
    const { depth, bytes } = found.get(id) ?? NOTHING;
    found.delete(id);
    const counted = lane["depth"] as number;
    if (counted !== depth || lane["bytes"] !== bytes) return miscount(depth, counted);
  }
  if (hasShortBody(database)) return "a part of a message's body is missing";
  // Of a lane that is gone all may be given up, and there.
  for (const { depth } of found.values()) if (depth > 0) return miscount(depth, 0);
  return undefined;
}

/** Bodies in chunks that messages have. */
function hasShortBody(database: DatabaseSync): boolean {
  return database.prepare(
    `SELECT 1 FROM shared WHERE body > 0 AND copies > 0 AND body IS NOT (
       SELECT sum(length(bytes)) FROM chunk
       WHERE id BETWEEN shared.id << ${CHUNK_BITS} AND (shared.id + 1 << ${CHUNK_BITS}) - 1)`,
  ).get() !== undefined;
}

function miscount(there: number, counted: number): string {
  return `a queue has ${there} messages where ${counted} were counted`;
}

/** What is found of a lane. */
interface LaneCount {
  depth: number;
  /** Of the bodies. */
  bytes: number;
}

const PACKS = `(SELECT id >> ${POSITION_BITS} lane, id & ${LAST_POSITION} first, members, gone,
  content FROM pack)`;

const NOTHING: LaneCount = { depth: 0, bytes: 0 };

/** Those that have rows of their own, by lanes. */
function countRows(database: DatabaseSync): Map<number, LaneCount> {
  const rows = database.prepare(
    `SELECT id >> ${POSITION_BITS} lane, count(*) depth,
       sum(coalesce(
         (SELECT length(content) + body FROM shared WHERE shared.id = message.shared), 0
       ) + length(content) - layout % ${LAYOUT_HEADER} - layout / ${LAYOUT_HEADER}) bytes
     FROM message
     WHERE NOT EXISTS (
       SELECT 1 FROM discarded
       WHERE lane = message.id >> ${POSITION_BITS}
         AND message.id & ${LAST_POSITION} BETWEEN first AND last AND of IS NOT 'pack')
     GROUP BY 1`,
  ).all() as unknown as (LaneCount & { lane: number })[];
  return new Map(rows.map(({ lane, depth, bytes }) => [lane, { depth, bytes }]));
}

/** Adds those that are in packs. @returns false: one of them is none */
function addPacks(database: DatabaseSync, found: Map<number, LaneCount>): boolean {
  const discarded = Map.groupBy(
    database.prepare("SELECT lane, first, last FROM discarded WHERE of IS NOT 'message'").all(),
    (range) => range["lane"],
  );
  for (const row of everyRow(database, PACKS)) {
    const lane = row["lane"] as number;
    const pack = { first: row["first"] as number, members: bitsOf(row["members"] as number) };
    const count = found.get(lane) ?? { ...NOTHING };
    found.set(lane, count);
    const ranges = discarded.get(lane) ?? [];
    const content = row["content"] as Uint8Array;
    const there = ~bitsOf(row["gone"] as number);
    try {
      for (const member of membersOf(pack, content, there)) {
        const { position, size, addressLength, headerLength } = member;
        const isGivenUp = ranges.some((range) =>
          range["first"] as number <= position && position <= (range["last"] as number)
        );
        if (isGivenUp) continue;
        count.depth++;
        count.bytes += size - addressLength - headerLength;
      }
    } catch {
      return false;
    }
  }
  return true;
}

/** Old rows have no checksum. */
function findForeignBytes(database: DatabaseSync): string | undefined {
  const tables = [
    "checksum, content FROM message WHERE checksum NOT NULL AND shared IS NULL",
    // Those whose bodies are in chunks.
    "checksum, content FROM message WHERE shared NOT NULL AND length(content) > 0",
    "checksum, content FROM shared",
    "checksum, content FROM pack",
    "checksum, bytes content FROM chunk",
  ];
  for (const table of tables) {
    // Without ids: some are too large for a number.
    for (
      const { checksum, content } of everyRow(database, `(SELECT ${table})`)
    ) {
      if (!hasChecksum(content as Uint8Array, checksum as number)) {
        return "a message has another one's bytes";
      }
    }
  }
  return undefined;
}
