/** Bytes on their way to the broker: the writes of one event-loop turn leave as one. */
import { pause } from "../time/timer.ts";
import { Waiters } from "../time/waiters.ts";
import type { Socket } from "./dial.ts";

const BLOCK_BYTES = 64 * 1024;
/** Larger pieces are sent from where they are instead of being copied. */
const COPY_LIMIT_BYTES = 16 * 1024;
const HIGH_WATER_BYTES = 1024 * 1024;
const LOW_WATER_BYTES = 256 * 1024;
/** Blocks that are kept, as many as may wait: a stream of tasks makes no new ones. */
const MOST_SPARES = HIGH_WATER_BYTES / BLOCK_BYTES;
/** A limit is kept to by so many pieces a second. */
const SLICES_PER_SECOND = 20;
/** More than the package lets pass before some requests of one channel, each behind the other, are here. */
const REQUEST_MICROTASKS = 24;

export class Outbox {
  readonly #socket: Socket;
  readonly #onError: (error: unknown) => void;
  readonly #bytesPerSecond: number;
  /** performance.now() from which more may leave. */
  #freeAt = 0;
  /** What comes before the block, in order. */
  #queue: Uint8Array[] = [];
  /** The block being filled; its used part is not in `#queue` yet. */
  #block = new Uint8Array(BLOCK_BYTES);
  /** Bytes of it. */
  #used = 0;
  /** The memory of sealed blocks, to tell them from pieces that belong to callers. */
  readonly #own = new WeakSet<ArrayBufferLike>();
  /** Blocks that were sent, for the next ones. */
  #spares: Uint8Array<ArrayBuffer>[] = [];
  /** Bytes that were added and are not with the operating system yet. */
  #pending = 0;
  #flushing: Promise<void> | undefined;
  /** Resolves when what was asked for in this turn is here. */
  #gathering: Promise<void> | undefined;
  /** Those who wait for room. */
  readonly #waiters = new Waiters();
  /** performance.now() of the last completed write. Written here, read by the heartbeat. */
  lastWrite = performance.now();

  /** @param bytesPerSecond what may leave; default as much as can */
  constructor(socket: Socket, onError: (error: unknown) => void, bytesPerSecond = Infinity) {
    this.#socket = socket;
    this.#onError = onError;
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** Nothing waits to be sent. */
  get empty(): boolean {
    return this.#pending === 0;
  }

  /** More is queued than should be; publishers wait for `drained`. */
  get congested(): boolean {
    return this.#pending > HIGH_WATER_BYTES;
  }

  /** Resolves when there is room again, or when the connection has ended. */
  drained(): Promise<void> {
    if (!this.congested) return Promise.resolve();
    return this.#waiters.wait();
  }

  /** Queues bytes. Small ones are copied; large ones must not change until they are sent. */
  add(bytes: Uint8Array): void {
    this.#pending += bytes.length;
    if (bytes.length > COPY_LIMIT_BYTES) {
      this.#seal();
      this.#queue.push(bytes);
    } else {
      if (this.#used + bytes.length > this.#block.length) this.#seal();
      this.#block.set(bytes, this.#used);
      this.#used += bytes.length;
    }
    this.#flushing ??= this.#flush();
  }

  /** Some requests follow, which are to leave together. */
  gather(): void {
    this.#gathering ??= someMicrotasks(REQUEST_MICROTASKS);
  }

  /** Resolves when everything queued so far has been handed to the operating system. */
  async flushed(): Promise<void> {
    await this.#flushing;
  }

  /** Forgets everything queued and wakes who waits. */
  discard(): void {
    this.#queue = [];
    this.#spares = [];
    this.#used = 0;
    this.#pending = 0;
    this.#waiters.wake();
  }

  #seal(): void {
    if (this.#used === 0) return;
    this.#own.add(this.#block.buffer);
    this.#queue.push(this.#block.subarray(0, this.#used));
    this.#block = this.#spares.pop() ?? new Uint8Array(BLOCK_BYTES);
    this.#used = 0;
  }

  async #flush(): Promise<void> {
    // Let the rest of this turn add its frames first.
    await this.#gathering;
    this.#gathering = undefined;
    try {
      while (this.#queue.length > 0 || this.#used > 0) {
        this.#seal();
        const batch = this.#queue;
        this.#queue = [];
        for (const bytes of batch) {
          await this.#write(bytes);
          if (this.#own.has(bytes.buffer) && this.#spares.length < MOST_SPARES) {
            this.#spares.push(new Uint8Array(bytes.buffer as ArrayBuffer));
          }
        }
      }
    } catch (error) {
      this.#onError(error);
    } finally {
      this.#flushing = undefined;
    }
  }

  async #write(bytes: Uint8Array): Promise<void> {
    const most = Math.max(1, Math.ceil(this.#bytesPerSecond / SLICES_PER_SECOND));
    const { length } = bytes;
    let sent = 0;
    do {
      if (most < Infinity) await this.#turn();
      // The memory of a task is given back when its copy is confirmed. A broker that confirms what
      // it has not read would take other bytes for these.
      if (bytes.length === 0) throw new Error("a task was confirmed before it was sent");
      const isWhole = sent === 0 && length <= most;
      const n = await this.#socket.write(isWhole ? bytes : bytes.subarray(sent, sent + most));
      this.#freeAt += 1_000 * n / this.#bytesPerSecond;
      sent += n;
      this.#pending = Math.max(0, this.#pending - n);
      this.lastWrite = performance.now();
      if (this.#pending < LOW_WATER_BYTES) this.#waiters.wake();
    } while (sent < length);
  }

  /** Waits until what has left is no more than its time allows. */
  async #turn(): Promise<void> {
    const now = performance.now();
    // What was not used is over, but for what a timer on a busy machine comes late.
    this.#freeAt = Math.max(this.#freeAt, now - 1_000 / SLICES_PER_SECOND);
    if (this.#freeAt > now) await pause(this.#freeAt - now);
  }
}

async function someMicrotasks(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await undefined;
}
