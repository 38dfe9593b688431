/**
 * Why a connection is not read for a while. What its client sends meanwhile waits in the socket.
 *
 * States: off <> on, while there is a reason, > lifted, when the connection is to end: what the
 * client still has to say is read then.
 */

import type { Outbox } from "../net/outbox.ts";

type AnswerRoom = Pick<Outbox, "askForAnswerRoom" | "isClosed">;

export class Backpressure {
  readonly #outbox: AnswerRoom;
  /** An alarm is on, and the client publishes. */
  #blocked = false;
  /** Memory is short, and content is what comes next. */
  #starved = false;
  /** Memory is short, and a large frame has begun. */
  #cramped = false;
  #lifted = false;
  /** Wakes who waits in {@link whenOff}. */
  #resume: (() => void) | undefined;

  /** @param outbox that it has no room for answers is the last reason: the client does not read */
  constructor(outbox: AnswerRoom) {
    this.#outbox = outbox;
  }

  get isOn(): boolean {
    if (this.#lifted) return false;
    return this.#blocked || this.#starved || this.#cramped || !this.#outbox.askForAnswerRoom();
  }

  /** Somebody waits in {@link whenOff}. */
  get isWaiting(): boolean {
    return this.#resume !== undefined;
  }

  get isBlocked(): boolean {
    return this.#blocked;
  }

  set isBlocked(blocked: boolean) {
    this.#blocked = blocked;
    this.check();
  }

  get isStarved(): boolean {
    return this.#starved;
  }

  set isStarved(starved: boolean) {
    this.#starved = starved;
    this.check();
  }

  get isCramped(): boolean {
    return this.#cramped;
  }

  set isCramped(cramped: boolean) {
    this.#cramped = cramped;
    this.check();
  }

  /** For good. */
  lift(): void {
    this.#lifted = true;
    this.check();
  }

  /** The outbox may have drained. */
  check(): void {
    if (this.isWaiting && !this.mustWait) this.#resume!();
  }

  /** Whether to wait instead of reading. A closed outbox never drains: reading then shows the end. */
  get mustWait(): boolean {
    return this.isOn && !this.#outbox.isClosed;
  }

  /** Resolves when it is off, or the outbox is closed. For one at a time. */
  async whenOff(): Promise<void> {
    while (this.mustWait) {
      await new Promise<void>((resolve) => this.#resume = resolve);
    }
    this.#resume = undefined;
  }
}
