/**
 * Serves queues in strict order: a task of one only when those before it have none.
 *
 * A broker that sends tasks by itself knows no order among queues. So the worker asks the queues one
 * after the other (basic.get) for every free place. When all are empty, it consumes them until a task
 * comes, and then asks again. Tasks that came beside that one and find no place go back.
 */
import type { Consumer } from "../amqp/consumer.ts";
import type { Delivery } from "../amqp/consumption.ts";

export interface StrictOptions {
  /** In the order of the queues. */
  readonly consumers: readonly Pick<Consumer, "hold" | "pull" | "resume">[];
  /** Tasks that may run at the same time. */
  readonly places: number;
  /** Runs a task. Never rejects. */
  readonly run: (delivery: Delivery) => Promise<void>;
  /** Gives a task back that was not begun, or was lost. Never rejects. */
  readonly giveBack: (delivery: Delivery) => Promise<void>;
}

export class StrictIntake {
  readonly #options: StrictOptions;
  /** What has come and was not begun, by queue. */
  readonly #hands: Delivery[][];
  #running = 0;
  /** The queues are consumed: there is a place, and they were empty. */
  #listening = false;
  #serving = false;
  /** The queue that is asked for a task just now. */
  #asked: number | undefined;
  /** Something has changed since `#serve` looked. */
  #again = false;

  constructor(options: StrictOptions) {
    this.#options = options;
    this.#hands = options.consumers.map(() => []);
    for (const consumer of options.consumers) consumer.hold(this);
  }

  /** All queues can be asked, for the first time or again. */
  look(): void {
    this.#again = true;
    if (!this.#serving) this.#serve();
  }

  /** A task of a queue has come, asked for or not. */
  take(queue: number, delivery: Delivery): void {
    this.#hands[queue]!.push(delivery);
    if (queue !== this.#asked) this.look();
  }

  /** Fills the free places. Never rejects. */
  async #serve(): Promise<void> {
    this.#serving = true;
    while (this.#again) {
      this.#again = false;
      if (this.#listening) await this.#listen(false);
      while (this.#running < this.#options.places) {
        const delivery = await this.#next();
        if (delivery === undefined) break;
        this.#begin(delivery);
      }
      if (this.#running < this.#options.places) await this.#listen(true);
      else this.#giveRestBack();
    }
    this.#serving = false;
  }

  /** The first task of the first queue that has one. */
  async #next(): Promise<Delivery | undefined> {
    for (const [i, consumer] of this.#options.consumers.entries()) {
      const hand = this.#hands[i]!;
      while (hand.length > 0 && !hand[0]!.live) this.#options.giveBack(hand.shift()!);
      if (hand.length === 0) {
        this.#asked = i;
        await consumer.pull(this);
        this.#asked = undefined;
      }
      const delivery = hand.shift();
      if (delivery !== undefined) return delivery;
    }
    return undefined;
  }

  async #begin(delivery: Delivery): Promise<void> {
    this.#running++;
    await this.#options.run(delivery);
    this.#running--;
    this.look();
  }

  #giveRestBack(): void {
    for (const delivery of this.#hands.flatMap((hand) => hand.splice(0))) {
      this.#options.giveBack(delivery);
    }
  }

  /** Resolves when it is so; when the broker has stopped, nothing is on its way any more. */
  async #listen(listening: boolean): Promise<void> {
    this.#listening = listening;
    const { consumers } = this.#options;
    if (listening) { for (const consumer of consumers) consumer.resume(this); }
    else await Promise.all(consumers.map((consumer) => consumer.hold(this)));
  }
}
