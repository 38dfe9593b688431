/**
 * What waits to be sent on a connection. Frames of a turn are written behind one another and leave
 * in one piece; while a piece is on its way the next one collects.
 */

import { FrameWriter } from "./frames.ts";

/** Bytes that may wait before consumers of the connection are held back. */
const HIGH_WATER = 1024 * 1024;

/** A buffer that grew beyond this is not kept. */
const KEEP_BYTES = 2 * HIGH_WATER;

export class Outbox {
  readonly #connection: Deno.Conn;
  readonly #onDrained: () => void;
  frames = new FrameWriter();
  #spare = new FrameWriter();
  /** Bytes on their way to the kernel. */
  #sending = 0;
  #closed = false;
  /** Milliseconds since the epoch. */
  lastWrite = Date.now();
  #whenIdle: (() => void)[] = [];

  /** @param onDrained told when consumers need not be held back any more */
  constructor(connection: Deno.Conn, onDrained: () => void) {
    this.#connection = connection;
    this.#onDrained = onDrained;
  }

  get isEmpty(): boolean {
    return this.frames.length === 0 && this.#sending === 0;
  }

  /** Whether the peer reads fast enough to be given more deliveries. */
  get hasRoom(): boolean {
    return this.frames.length + this.#sending < HIGH_WATER;
  }

  /** Whether even answers pile up: then its requests are not read any more. */
  get isOverfull(): boolean {
    return this.frames.length + this.#sending > 4 * HIGH_WATER;
  }

  /** Sends what was written so far. */
  flush(): void {
    if (this.#sending > 0 || this.frames.length === 0 || this.#closed) return;
    this.#send().catch(() => this.close());
  }

  async #send(): Promise<void> {
    while (this.frames.length > 0 && !this.#closed) {
      const full = this.frames;
      const wasFull = !this.hasRoom;
      this.#sending = full.length;
      this.frames = this.#spare;
      this.lastWrite = Date.now();
      for (let sent = 0; sent < full.length;) {
        sent += await this.#connection.write(full.bytes.subarray(sent, full.length));
      }
      this.#sending = 0;
      full.length = 0;
      this.#spare = full.bytes.length > KEEP_BYTES ? new FrameWriter() : full;
      if (wasFull && this.hasRoom) this.#onDrained();
    }
    this.#idle();
  }

  /** Resolves when everything written so far was sent, or the connection is gone. */
  idle(): Promise<void> {
    if (this.#closed || this.isEmpty) return Promise.resolve();
    return new Promise((resolve) => this.#whenIdle.push(resolve));
  }

  #idle(): void {
    for (const resolve of this.#whenIdle.splice(0)) resolve();
  }

  /** Closes the socket. What was not sent yet is lost. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#idle();
    try {
      this.#connection.close();
    } catch (error) {
      // The peer was faster.
      if (!(error instanceof Deno.errors.BadResource)) throw error;
    }
  }
}
