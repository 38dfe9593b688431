/** Tasks that leave a queue, many at a time: what is known of each is told in their order. */

/** How one task leaves. */
export interface Departure {
  /** Begins at once; resolves when it is done. */
  readonly leave: () => Promise<void>;
  /** Called when it is done, after the same of all that began before. */
  readonly tell: () => Promise<void> | void;
}

export class Departures {
  #last: Promise<void> = Promise.resolve();
  #failure: { readonly error: unknown } | undefined;
  /** Nobody listens any more. */
  #isMute = false;

  /** @throws what the first one threw that failed: none begins after it */
  begin(departure: Departure): void {
    this.#check();
    this.#last = this.#go(this.#last, departure);
  }

  /** Resolves when all have ended, however that was. */
  settled(): Promise<void> {
    return this.#last;
  }

  /** Resolves when all have ended. @throws what the first one threw that failed */
  async done(): Promise<void> {
    await this.#last;
    this.#check();
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  async #go(before: Promise<void>, { leave, tell }: Departure): Promise<void> {
    const hasLeft = await this.#attempt(leave);
    await before;
    if (hasLeft && !this.#isMute) this.#isMute = !await this.#attempt(tell);
  }

  async #attempt(act: () => Promise<void> | void): Promise<boolean> {
    try {
      await act();
      return true;
    } catch (error) {
      this.#failure ??= { error };
      return false;
    }
  }
}
