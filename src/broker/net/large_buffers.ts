/**
 * Memory for the large buffers that connections keep, to read into and to write from, of all
 * together. A few busy ones have what makes them quick; hundreds get by with small ones.
 */
export class LargeBuffers {
  /** Beyond what each connection may have anyway. Written by those who have the buffers. */
  bytes = 0;
  #most: number;

  /** @param most bytes */
  constructor(most: number) {
    this.#most = most;
  }

  limitTo(bytes: number): void {
    this.#most = bytes;
  }

  get haveRoom(): boolean {
    return this.bytes < this.#most;
  }
}
