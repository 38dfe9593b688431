/** The way out to a client: what it is sent goes as fast as the client takes it. */
import type { ServerResponse } from "./http.ts";

export class Outlet {
  readonly #response: ServerResponse;
  readonly #parts: Uint8Array[] = [];
  #unsent = 0;
  #isFull = false;
  #ends = false;

  constructor(response: ServerResponse) {
    this.#response = response;
    response.on("drain", () => {
      this.#isFull = false;
      this.#send();
    });
  }

  /** Bytes that the client has still to take. */
  get unsent(): number {
    return this.#unsent + this.#response.writableLength;
  }

  /** @param parts which others may be sent as well */
  write(parts: readonly Uint8Array[]): void {
    for (const part of parts) {
      this.#parts.push(part);
      this.#unsent += part.length;
    }
    this.#send();
  }

  /** Nothing comes after what was written. */
  end(): void {
    this.#ends = true;
    this.#send();
  }

  #send(): void {
    while (this.#parts.length > 0) {
      if (this.#isFull || this.#response.destroyed) return;
      const part = this.#parts.shift()!;
      this.#unsent -= part.length;
      this.#isFull = !this.#response.write(part);
    }
    if (this.#ends) this.#response.end();
  }
}
