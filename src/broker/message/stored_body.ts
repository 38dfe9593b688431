/** The body of a large content, which lies in the store and is read in chunks. */
export interface StoredBody {
  readonly length: number;
  /** {@link CHUNK_BYTES} */
  readonly chunkBytes: number;
  /**
   * The chunk that begins at a position; each is {@link CHUNK_BYTES} long, but the last. It is gone
   * after the next commit.
   * @throws when it cannot be read
   */
  read(from: number): Uint8Array;
  /** It stays in the store although no message has it, until it is {@link letGo} as often. */
  hold(): void;
  letGo(): void;
}

/** Bytes of a content from which on its body is stored in chunks. */
export const CHUNKED_FROM = 4 * 1024 * 1024;

/** Part of the format of the data file. Fits into two frames of the usual size. */
export const CHUNK_BYTES = 2 * (131_072 - 8);
