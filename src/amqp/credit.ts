/**
 * What a broker may still send to a consumer. RabbitMQ gives back what is on its way to a consumer that
 * ends, and sends it behind others: nothing is when all that it may send is here and not acknowledged.
 */
import { after } from "../time/timer.ts";
import type { Acknowledgements } from "./acknowledgements.ts";

/** After so many milliseconds the broker is asked whether there is anything to come, and so often. */
const LOOK_MS = 500;
const LOOKS = 10;

export class Credit {
  readonly #acknowledgements: Acknowledgements;
  readonly #ready: () => Promise<number>;
  /** Of the consumer. */
  #limit = Infinity;
  #isEnded = false;
  /** The consumer was sent anything: it is none that only stands by. */
  #isServed = false;
  #look: (() => void) | undefined;

  /** @param ready asks how many messages are left on the queue */
  constructor(acknowledgements: Acknowledgements, ready: () => Promise<number>) {
    this.#acknowledgements = acknowledgements;
    this.#ready = ready;
  }

  /** A consumer begins. @param limit most deliveries that are sent before they are settled */
  begin(limit: number): void {
    this.#limit = limit;
    this.#isServed = false;
    this.#acknowledgements.countAnew();
  }

  /** A delivery has come. */
  came(): void {
    this.#isServed = true;
    if (this.#look !== undefined && this.#isUsedUp) this.#look();
  }

  /** Nothing comes any more. */
  end(): void {
    this.#isEnded = true;
    this.#look?.();
  }

  /**
   * Holds acknowledgements, for which more would come, until `release` is called on them. Resolves
   * when nothing is on its way: all that may come is here, or the queue is empty; and after some time.
   * A broker that has much to do may be silent for long, so that its silence alone says nothing.
   *
   * @throws {ToolError} the broker cannot be asked
   */
  async useUp(): Promise<void> {
    this.#acknowledgements.hold();
    for (let look = 0; look < LOOKS && !this.#isUsedUp && !this.#isEnded; look++) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = after(LOOK_MS, this.#look = resolve);
      await promise;
      timer.cancel();
      this.#look = undefined;
      if (this.#isUsedUp || this.#isEnded || !this.#isServed) return;
      // What was on its way when this is answered comes right behind the answer.
      if (await this.#ready() === 0) return;
    }
  }

  get #isUsedUp(): boolean {
    return this.#acknowledgements.untold >= this.#limit;
  }
}
