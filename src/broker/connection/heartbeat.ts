/** Signs of life of a connection, in both directions. */

import { now } from "../../time/clock.ts";
import type { Deadline, Deadlines } from "../../time/deadlines.ts";
import type { Outbox } from "../net/outbox.ts";
import type { FrameWriter } from "../wire/frames.ts";

/** Where heartbeats are written, and what tells whether the client reads. */
export type HeartbeatOutbox =
  & Pick<Outbox, "isStalled" | "lastWrite" | "trim">
  & { readonly frames: Pick<FrameWriter, "heartbeat"> };

/** A connection, as its heartbeat sees it. */
export interface HeartbeatSession {
  readonly outbox: HeartbeatOutbox;
  readonly deadlines: Deadlines;
  /** It is held back, or what it sent before is still being worked off: nobody reads what it sends. */
  readonly isWaiting: boolean;
  /** Sends what is in the outbox, unless it waits for the disk. */
  flush(): void;
  /** The client gives no sign of life any more. Called at most once. */
  abandon(reason: string): void;
}

/** Milliseconds that a heartbeat may leave after the deadline that wrote it. */
const SLACK_MS = 50;

/**
 * Milliseconds, after we were stopped or very busy ourselves, in which nobody is taken for silent: what
 * very many clients have sent meanwhile is not read at once.
 */
const CATCHING_UP_MS = 2_000;

/** Half the interval is how often both sides send, and how often is looked. */
export class Heartbeat {
  readonly #session: HeartbeatSession;
  /** Milliseconds, as agreed with the client; 0 for no heartbeats. */
  readonly #interval: number;
  /** When something was last read, in milliseconds since the epoch, by the clock of `clock.ts`. */
  #lastRead = now();
  #next: Deadline | undefined;

  /** @param seconds as agreed with the client; 0 for no heartbeats */
  constructor(session: HeartbeatSession, seconds: number) {
    this.#session = session;
    this.#interval = seconds * 1000;
    this.#arm();
  }

  /** Something has arrived, or could not arrive for a reason of ours. */
  heard(): void {
    this.#lastRead = now();
  }

  stop(): void {
    this.#session.deadlines.cancel(this.#next);
  }

  #arm(): void {
    if (this.#interval === 0) return;
    this.#next = this.#session.deadlines.after(this.#interval / 2, () => this.#beat());
  }

  #beat(): void {
    const { outbox } = this.#session;
    const ending = this.#signOfDeath();
    if (ending !== undefined) return this.#session.abandon(ending);
    if (now() - outbox.lastWrite >= this.#interval / 2 - SLACK_MS) {
      outbox.trim();
      outbox.frames.heartbeat();
      // Not with the turn: a heartbeat says that we live, even while the disk makes us wait.
      this.#session.flush();
    }
    this.#arm();
  }

  /** Why the client is taken for dead, if it is. */
  #signOfDeath(): string | undefined {
    const { outbox, deadlines, isWaiting } = this.#session;
    // It may have sent heartbeats that nobody has read: then only its reading shows that it lives.
    if (isWaiting) {
      return outbox.isStalled(this.#interval * 2) ? "the client does not read" : undefined;
    }
    const isSilent = now() - this.#lastRead > this.#interval * 2 &&
      now() - deadlines.wasLateAt > CATCHING_UP_MS;
    return isSilent ? "no heartbeat from the client" : undefined;
  }
}
