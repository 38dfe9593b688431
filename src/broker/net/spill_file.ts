/**
 * A file for the rest of bodies that are being sent to clients who do not read. It has no name: it
 * is gone when the process is. It has room for so much and no more; what finds none stays in memory.
 */

/** Bytes of a piece, at most. */
export const SPILL_BYTES = 64 * 1024;

/** A piece that is in the file. */
export interface Spilled {
  readonly slot: number;
  readonly length: number;
}

export class SpillFile {
  readonly #path: string | undefined;
  readonly #slots: number;
  #file: Deno.FsFile | undefined;
  #piece: Uint8Array<ArrayBuffer> | undefined;
  /** Slots that were used and are not. */
  #free: number[] = [];
  /** Slots that were ever used. */
  #used = 0;

  /** @param folder where it is made; undefined for none @param bytes that it may take */
  constructor(folder: string | undefined, bytes: number) {
    this.#path = folder && `${folder}/spill`;
    this.#slots = Math.floor(bytes / SPILL_BYTES);
  }

  /** Bytes of the disk that it takes. */
  get bytes(): number {
    return this.#used * SPILL_BYTES;
  }

  /** @returns undefined when there is no room for it, or it cannot be written */
  put(bytes: Uint8Array): Spilled | undefined {
    if (this.#path === undefined) return undefined;
    const isNew = this.#free.length === 0;
    if (isNew && this.#used >= this.#slots) return undefined;
    const slot = isNew ? this.#used : this.#free.at(-1)!;
    try {
      const file = this.#file ??= open(this.#path);
      file.seekSync(slot * SPILL_BYTES, Deno.SeekMode.Start);
      for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
    } catch {
      return undefined; // the disk is full, or there is no file descriptor
    }
    if (isNew) this.#used++;
    else this.#free.pop();
    return { slot, length: bytes.length };
  }

  /** Takes a piece out; it is there until the next one is taken. @throws when it cannot be read */
  take(spilled: Spilled): Uint8Array {
    this.#piece ??= new Uint8Array(SPILL_BYTES);
    const bytes = this.#piece.subarray(0, spilled.length);
    this.#file!.seekSync(spilled.slot * SPILL_BYTES, Deno.SeekMode.Start);
    for (let at = 0; at < bytes.length;) {
      const count = this.#file!.readSync(bytes.subarray(at));
      if (count === null) throw new Error("a body that was put aside is cut off");
      at += count;
    }
    this.free(spilled);
    return bytes;
  }

  /** Nobody wants it any more. */
  free({ slot }: Spilled): void {
    this.#free.push(slot);
    if (this.#free.length < this.#used) return;
    this.#free = [];
    this.#used = 0;
    this.#file?.truncateSync(0);
  }

  close(): void {
    this.#file?.close();
    this.#file = undefined;
  }
}

function open(path: string): Deno.FsFile {
  const file = Deno.openSync(path, {
    read: true,
    write: true,
    create: true,
    truncate: true,
    mode: 0o600,
  });
  Deno.removeSync(path);
  return file;
}
