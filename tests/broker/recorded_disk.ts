/**
 * What a power cut may leave of a broker's data, from a record of all that was written and synced
 * (`tests/support/fake_disk.c`). What was synced is there; of what was written since, any sectors.
 */
import type { Random } from "../support/random.ts";

/** A disk writes a sector whole or not at all. */
const SECTOR_BYTES = 512;

const WORDS = 5;
const KINDS = ["", "write", "truncate", "begin", "end"] as const;

/** The data file and its log. */
const FILES = ["broker.db", "broker.db-wal"] as const;

export interface DiskRecord {
  readonly kind: "write" | "truncate" | "begin" | "end";
  readonly file: number;
  /** Of a write; the size after a truncate. */
  readonly at: number;
  /** Of a begin and its end. */
  readonly sync: number;
  /** The system's number of the thread that did it. */
  readonly thread: number;
  readonly bytes: Uint8Array;
  /** Where the record ends in its file. */
  readonly end: number;
}

export async function readRecords(path: string): Promise<DiskRecord[]> {
  const all = await Deno.readFile(path);
  const view = new DataView(all.buffer);
  const records: DiskRecord[] = [];
  for (let from = 0; from < all.length;) {
    const word = (index: number) => view.getUint32(from + 4 * index, true);
    const [kind, file, at, length, thread] = [KINDS[word(0)]!, word(1), word(2), word(3), word(4)];
    const start = from + 4 * WORDS;
    const end = kind === "write" ? start + length : start;
    if (kind === "") throw new Error(`no record at ${from}`);
    const bytes = all.subarray(start, end);
    records.push({ kind, file, at, sync: length, thread, bytes, end });
    from = end;
  }
  return records;
}

/** How much of what was not synced is there. */
const SURVIVORS = ["none", "all", "some writes", "some sectors", "the later ones"] as const;

/** The disk as the records tell it, one after the other. */
export class RecordedDisk {
  readonly #records: readonly DiskRecord[];
  readonly #isSynced: boolean;
  readonly #files = FILES.map(() => ({ bytes: new Uint8Array(), size: 0 }));
  /** Changes that no sync has brought to the disk. */
  #pending: { index: number; record: DiskRecord }[] = [];
  /** Where syncs that are under way began. */
  readonly #begun = new Map<number, number>();
  #next = 0;

  /** @param isSynced false: a disk that lies about it */
  constructor(records: readonly DiskRecord[], isSynced = true) {
    this.#records = records;
    this.#isSynced = isSynced;
  }

  /** Up to a record, and that one not. */
  advance(end: number): void {
    for (; this.#next < end; this.#next++) this.#take(this.#next, this.#records[this.#next]!);
  }

  /** All of it is on the disk. */
  settle(): void {
    for (const { record } of this.#pending.splice(0)) this.#apply(this.#files, record);
  }

  #take(index: number, record: DiskRecord): void {
    const { kind, file, sync } = record;
    if (kind === "begin") this.#begun.set(sync, index);
    else if (kind !== "end") this.#pending.push({ index, record });
    else if (this.#isSynced) {
      const begun = this.#begun.get(sync)!;
      this.#pending = this.#pending.filter((change) => {
        if (change.record.file !== file || change.index > begun) return true;
        this.#apply(this.#files, change.record);
        return false;
      });
    }
  }

  #apply(
    files: { bytes: Uint8Array; size: number }[],
    { kind, file: number, at, bytes }: DiskRecord,
    isThere: () => boolean = () => true,
  ): void {
    const file = files[number]!;
    if (kind === "truncate") {
      file.bytes.fill(0, at);
      file.size = at;
      return;
    }
    const end = at + bytes.length;
    if (end > file.bytes.length) {
      const larger = new Uint8Array(Math.max(end, 2 * file.bytes.length));
      larger.set(file.bytes);
      file.bytes = larger;
    }
    for (let from = at; from < end;) {
      const to = Math.min(end, from - from % SECTOR_BYTES + SECTOR_BYTES);
      if (isThere()) file.bytes.set(bytes.subarray(from - at, to - at), from);
      from = to;
    }
    file.size = Math.max(file.size, end);
  }

  /**
   * Writes what a power cut here may leave.
   * @param folder where it goes
   * @returns in words
   */
  async image(folder: string, random: Random): Promise<string> {
    const files = this.#files.map(({ bytes, size }) => ({ bytes: bytes.slice(), size }));
    const survivors = random.pick(SURVIVORS);
    const first = random.below(this.#pending.length + 1);
    for (const [index, { record }] of this.#pending.entries()) {
      if (survivors === "none") break;
      if (survivors === "some writes" && random.below(2) > 0) continue;
      if (survivors === "the later ones" && index < first) continue;
      const isTorn = survivors === "some sectors" && record.kind === "write";
      this.#apply(files, record, isTorn ? () => random.below(2) > 0 : undefined);
    }
    for (const [number, { bytes, size }] of files.entries()) {
      await Deno.writeFile(`${folder}/${FILES[number]}`, bytes.subarray(0, size));
    }
    return `after record ${this.#next}, ${survivors} of ${this.#pending.length} changes`;
  }
}
