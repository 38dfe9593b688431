/**
 * A publish on its way to its queues. Very many take it piece by piece: it is confirmed when all have
 * it, and a crash before that leaves it in some of them.
 */

import type { Publication } from "../message/message.ts";
import type { Queue } from "../queue/queue.ts";
import type { Slice, Work } from "../../time/scheduler.ts";

/** Queues between two looks at the clock, and those that take a publish in one go. */
const PIECE = 256;

export class Spread implements Work {
  readonly #publication: Publication;
  readonly #queues: readonly Queue[];
  /** Index of the first one that has not been asked. */
  #next: number;
  #isRefused = false;

  /** @param queues at least one @param next index of the first one that has not been asked */
  constructor(publication: Publication, queues: readonly Queue[], next = 0) {
    this.#publication = publication;
    this.#queues = queues;
    this.#next = next;
    if (queues.length > 1) publication.content.share();
  }

  get isDone(): boolean {
    return this.#next === this.#queues.length;
  }

  /** What became of it, once it is done: refused if one of the queues did not take it. */
  get result(): "accepted" | "refused" {
    return this.#isRefused ? "refused" : "accepted";
  }

  /** Goes on with the next piece. */
  step(): void {
    const end = Math.min(this.#next + PIECE, this.#queues.length);
    while (this.#next < end) {
      const queue = this.#queues[this.#next++]!;
      // It may have gone since the last piece.
      if (!queue.deleted && !queue.publish(this.#publication)) this.#isRefused = true;
    }
    if (!this.isDone) return;
    const { content } = this.#publication;
    if (this.#queues.length > 1) content.giveUp();
    else content.notTaken();
  }

  /** In one go, however many they are. */
  finish(): void {
    while (!this.isDone) this.step();
  }

  work(slice: Slice): boolean {
    while (!this.isDone) {
      this.step();
      if (slice.isOver) break;
    }
    return !this.isDone || this.isCrowded;
  }

  /** One of its queues {@link isCrowded}. */
  get isCrowded(): boolean {
    return this.#queues.some(isCrowded);
  }
}

/**
 * Whether no more should be published to a queue for a while: too many of its dead letters wait to be
 * sent, or somebody waits until what is over has gone, who would never be done else.
 */
export function isCrowded(queue: Queue): boolean {
  return queue.flow.gets > 0 || queue.isDying;
}
