/**
 * Turns of connections that send large bodies: what the kernel takes of them it may take at once, and
 * then comes the next body, so that megabytes would go before anybody else is looked at.
 */

/** Bytes that all of them send before sockets are looked at. */
const MOST_BYTES = 2 * 1024 * 1024;

export class SendingTurns {
  readonly #afterSockets: (run: () => void) => void;
  /** Bytes since sockets were last looked at, if not longer. */
  #sent = 0;
  readonly #waiting: { bytes: number; go: () => void }[] = [];

  /** @param afterSockets runs something once sockets were looked at */
  constructor(afterSockets: (run: () => void) => void) {
    this.#afterSockets = afterSockets;
  }

  /** Resolves when so many bytes may be sent, or a few more. Undefined: they may, now. */
  next(bytes: number): Promise<void> | undefined {
    if (this.#waiting.length === 0 && this.#sent < MOST_BYTES) {
      this.#sent += bytes;
      return undefined;
    }
    if (this.#waiting.length === 0) this.#afterSockets(() => this.#goOn());
    return new Promise((go) => this.#waiting.push({ bytes, go }));
  }

  #goOn(): void {
    this.#sent = 0;
    while (this.#waiting.length > 0 && this.#sent < MOST_BYTES) {
      const { bytes, go } = this.#waiting.shift()!;
      this.#sent += bytes;
      go();
    }
    if (this.#waiting.length > 0) this.#afterSockets(() => this.#goOn());
  }
}
