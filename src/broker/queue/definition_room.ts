/** How much memory queues, exchanges and bindings may take: each costs a client a few bytes. */

import { nodeProcess } from "../../observe/node_process.ts";
import { preconditionFailed } from "../wire/faults.ts";

/** Bytes for which nobody looks how long the heap may be: that takes some milliseconds. */
const SMALL_BYTES = 8 * 1024 * 1024;

/** The part of the heap that they may take. */
const HEAP_SHARE = 3;

/** Shared by the virtual hosts, who write it. */
export class DefinitionRoom {
  #most: number;
  #bytes = 0;
  #heapShare: number | undefined;

  /** @param most bytes, where the heap has room for more */
  constructor(most: number) {
    this.#most = most;
  }

  /** @param most as for the constructor */
  limitTo(most: number): void {
    this.#most = most;
  }

  /** Of all that there is. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Room for something new.
   * @param doing what is refused when there is none: "declare queue 'tasks' in vhost '/'"
   * @throws {Fault} precondition-failed, as RabbitMQ answers where it has such a limit
   */
  take(doing: () => string, bytes: number): void {
    if (this.#bytes + bytes > this.#limit(this.#bytes + bytes)) {
      const limit = Math.round(this.#limit(Infinity) / 1024);
      throw preconditionFailed(
        `cannot ${doing()}: the limit of ${limit} kB of memory for queues, exchanges and bindings ` +
          `is reached`,
      );
    }
    this.#bytes += bytes;
  }

  #limit(wanted: number): number {
    if (wanted <= SMALL_BYTES) return this.#most;
    this.#heapShare ??= Math.floor(heapBytes() / HEAP_SHARE);
    return Math.min(this.#most, this.#heapShare);
  }

  /** Something that was there before: it is never refused. */
  restore(bytes: number): void {
    this.#bytes += bytes;
  }

  giveBack(bytes: number): void {
    this.#bytes -= bytes;
  }
}

/** Bytes that all objects together may take: beyond that, the process ends. */
function heapBytes(): number {
  return nodeProcess().getBuiltinModule("node:v8").getHeapStatistics().heap_size_limit;
}
