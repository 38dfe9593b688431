/**
 * Memory for what waits to be sent, of all connections together, and who gets none.
 *
 * Large bodies and frames are counted apart, and each may take so much. A content that several
 * connections are sent counts once. When frames take too much, a connection gets only a little more
 * than it has read, and of very many connections each next to nothing; when bodies do, nobody gets
 * another large one until there is room. Clients that do not read must not keep it from those who do:
 * what is left of their bodies goes into a file. They may have their reasons, and are not closed.
 */

import type { Deadlines } from "../../time/deadlines.ts";
import type { Scheduler, Slice, Work } from "../../time/scheduler.ts";
import { LargeBuffers } from "./large_buffers.ts";
import type { Limits } from "./limits.ts";
import { SendingTurns } from "./sending_turns.ts";
import { SpillFile } from "./spill_file.ts";

/** Milliseconds after which a client that takes no byte counts as one that does not read. */
const STALLED_MS = 250;

/** Part of the disk that the data may take, at most, for the file. */
const SPILL_PART = 1 / 4;

/**
 * Bytes of frames that a connection may have when there is no room; and when there are so many that
 * they have taken as much again.
 */
const SHARE = 64 * 1024;
export const LEAST_SHARE = 4 * 1024;

/** Part of the room that must be free before those who wait are asked again. */
const FREE_PART = 1 / 8;

/** What a connection sends, as the room sees it. */
export interface Holder {
  /** Large bodies of it are in memory. */
  readonly holdsBodies: boolean;
  isStalled(ms: number): boolean;
  /** Puts a piece of its bodies into the file. @returns whether there was room */
  spillPiece(): boolean;
  /** There may be room again. */
  wake(): void;
}

export class OutboxRoom implements Work {
  readonly spill: SpillFile;
  /** Bytes of large bodies in memory, and of frames. Written by outboxes and their bodies. */
  bodies = 0;
  frames = 0;
  readonly buffers: LargeBuffers;
  readonly turns: SendingTurns;
  readonly #hasFile: boolean;
  #most: number;
  readonly #scheduler: Scheduler;
  readonly #deadlines: Deadlines;
  readonly #holders = new Set<Holder>();
  /** Who found no room. */
  readonly #waiting = new Set<Holder>();
  #isWatching = false;

  /** @param folder for the file; undefined: all is in memory, and bodies have no bound */
  constructor(
    limits: Pick<Limits, "outboxBytes" | "spillBytes" | "diskShareBytes">,
    folder: string | undefined,
    host: {
      readonly scheduler: Scheduler;
      readonly deadlines: Deadlines;
      readonly afterSockets: (run: () => void) => void;
    },
  ) {
    this.#hasFile = folder !== undefined;
    this.#most = limits.outboxBytes;
    this.buffers = new LargeBuffers(limits.outboxBytes);
    const spillBytes = Math.min(limits.spillBytes, limits.diskShareBytes * SPILL_PART);
    this.spill = new SpillFile(folder, spillBytes);
    this.turns = new SendingTurns(host.afterSockets);
    this.#scheduler = host.scheduler;
    this.#deadlines = host.deadlines;
  }

  close(): void {
    this.spill.close();
  }

  /** @param bytes of large bodies, and the same of frames, and of large buffers */
  limitTo(bytes: number): void {
    this.#most = bytes;
    this.buffers.limitTo(bytes);
  }

  get #mostBodies(): number {
    return this.#hasFile ? this.#most : Infinity;
  }

  get isTight(): boolean {
    return this.bodiesAreTight || this.framesAreTight;
  }

  get bodiesAreTight(): boolean {
    return this.bodies >= this.#mostBodies;
  }

  get framesAreTight(): boolean {
    return this.frames >= this.#most;
  }

  /** Bytes of frames that a connection may have where there is no room for more. */
  get share(): number {
    return this.frames < 2 * this.#most ? SHARE : LEAST_SHARE;
  }

  get #isFree(): boolean {
    return this.bodies <= this.#mostBodies * (1 - FREE_PART);
  }

  /** Whether there would be no room for one more body even if some of these bytes were not there. */
  isFullWithout(bytes: number): boolean {
    return this.bodies - bytes >= this.#mostBodies;
  }

  /** It has large bodies from now on. */
  hold(holder: Holder): void {
    this.#holders.add(holder);
  }

  giveBack(bytes: number): void {
    this.bodies -= bytes;
    if (this.#waiting.size > 0 && this.#isFree) this.#scheduler.add(this);
  }

  /** It wants a large body, and is woken when there is room. */
  wait(holder: Holder): void {
    this.#waiting.add(holder);
    this.#watch();
  }

  /** A connection is over. */
  leave(holder: Holder): void {
    this.#waiting.delete(holder);
    this.#holders.delete(holder);
  }

  #watch(): void {
    if (this.#isWatching) return;
    this.#isWatching = true;
    this.#deadlines.after(STALLED_MS, () => {
      this.#isWatching = false;
      if (this.#waiting.size > 0) this.#scheduler.add(this);
    });
  }

  /** Makes room, as long as there is none, and wakes those who wait, in turn. */
  work(slice: Slice): boolean {
    if (!this.#isFree && this.#spillStalled(slice)) return true;
    let left = this.#waiting.size;
    for (const holder of this.#waiting) {
      if (left-- === 0 || this.bodiesAreTight) break;
      this.#waiting.delete(holder);
      holder.wake();
      if (slice.isOver) return this.#waiting.size > 0;
    }
    if (this.#waiting.size > 0) this.#watch();
    return false;
  }

  /** @returns whether there is more to do */
  #spillStalled(slice: Slice): boolean {
    for (const holder of this.#holders) {
      if (!holder.holdsBodies) this.#holders.delete(holder);
      else if (holder.isStalled(STALLED_MS)) {
        while (holder.holdsBodies) {
          if (!holder.spillPiece()) return false;
          if (slice.isOver) return true;
        }
      }
      if (this.bodies <= this.#mostBodies / 2) return false;
    }
    return false;
  }
}
