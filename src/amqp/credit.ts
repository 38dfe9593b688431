/**
 * What a broker may still send to a consumer. RabbitMQ gives back what is on its way to a consumer that
 * ends, and sends it behind others: nothing is when all that it may send is here and not acknowledged.
 */
import { after } from "../time/timer.ts";
import type { Acknowledgements } from "./acknowledgements.ts";

/** What was on its way has come after this, in milliseconds; and so often it is looked for more. */
const QUIET_MS = 500;
const LOOKS = 3;

export class Credit {
  readonly #acknowledgements: Acknowledgements;
  /** Of the consumer. */
  #limit = Infinity;
  #isEnded = false;
  #look: (() => void) | undefined;

  constructor(acknowledgements: Acknowledgements) {
    this.#acknowledgements = acknowledgements;
  }

  /** A consumer begins. @param limit most deliveries that are sent before they are settled */
  begin(limit: number): void {
    this.#limit = limit;
    this.#acknowledgements.countAnew();
  }

  /** A delivery has come. */
  came(): void {
    if (this.#look !== undefined && this.#isUsedUp) this.#look();
  }

  /** Nothing comes any more. */
  end(): void {
    this.#isEnded = true;
    this.#look?.();
  }

  /**
   * Holds acknowledgements, for which more would come, until `release` is called on them. Resolves
   * when nothing is on its way, or nothing has come for a while; and after some time.
   */
  async useUp(): Promise<void> {
    this.#acknowledgements.hold();
    let before = -1;
    for (let look = 0; look < LOOKS && !this.#isUsedUp && !this.#isEnded; look++) {
      if (this.#acknowledgements.untold === before) return;
      before = this.#acknowledgements.untold;
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = after(QUIET_MS, this.#look = resolve);
      await promise;
      timer.cancel();
      this.#look = undefined;
    }
  }

  get #isUsedUp(): boolean {
    return this.#acknowledgements.untold >= this.#limit;
  }
}
