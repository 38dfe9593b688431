/** A part of the heap: beyond the heap, the process ends. */

import { nodeProcess } from "../../observe/node_process.ts";

/** Bytes for which nobody looks how long the heap may be: that takes some milliseconds. */
const SMALL_BYTES = 8 * 1024 * 1024;

export class HeapShare {
  #most: number;
  readonly #part: number;
  #bytes: number | undefined;

  /** @param most bytes, where the heap has room for more @param part of the heap */
  constructor(most: number, part: number) {
    this.#most = most;
    this.#part = part;
  }

  /** @param most as for the constructor */
  limitTo(most: number): void {
    this.#most = most;
  }

  /** Bytes that all may take. @param wanted bytes that they want */
  limit(wanted: number): number {
    if (wanted <= SMALL_BYTES) return this.#most;
    this.#bytes ??= Math.floor(heapBytes() * this.#part);
    return Math.min(this.#most, this.#bytes);
  }
}

/** Bytes that all objects together may take. */
function heapBytes(): number {
  return nodeProcess().getBuiltinModule("node:v8").getHeapStatistics().heap_size_limit;
}
