/** Random histories of two channels and three queues, as an {@link Author} makes them up. */
import type { Properties } from "../support/methods.ts";
import { Random } from "../support/random.ts";
import type { Table } from "../support/wire.ts";

/** The channel that consumes and settles, on a connection of its own. */
export type Seat = 0 | 1;
export const SEATS: readonly Seat[] = [0, 1];

export interface Delivery {
  readonly tag: number;
  readonly queue: number;
  /** "" for basic.get. */
  readonly consumer: string;
}

export type Step =
  | { do: "publish"; queue: number; body: string; properties: Properties }
  | { do: "consume"; seat: Seat; queue: number; consumer: string; prefetch: number; noAck: boolean }
  | { do: "cancel"; seat: Seat; consumer: string }
  | { do: "get"; seat: Seat; queue: number; noAck: boolean }
  | { do: "ack" | "requeue" | "reject"; seat: Seat; tag: number; multiple: boolean }
  | { do: "recover" | "close channel" | "cut"; seat: Seat }
  | { do: "purge"; queue: number };

/** The author of a history: knows what can be said at each step. */
export class Author {
  readonly #random: Random;
  readonly queues: readonly Table[];
  readonly #consumers: { seat: Seat; queue: number; consumer: string }[] = [];
  #next = 0;

  constructor(seed: number) {
    this.#random = new Random(seed);
    this.queues = Array.from({ length: 3 }, () => this.#arguments());
  }

  #chance(percent: number): boolean {
    return this.#random.below(100) < percent;
  }

  #arguments(): Table {
    const table: Table = {};
    const limited = this.#chance(50);
    if (this.#chance(40)) table["x-max-priority"] = 3;
    if (limited) table["x-max-length"] = this.#random.pick([0, 1, 3, 5]);
    if (limited) {
      table["x-overflow"] = this.#random.pick([
        "drop-head",
        "reject-publish",
        "reject-publish-dlx",
      ]);
    }
    if (this.#chance(15) && table["x-max-priority"] === undefined) table["x-message-ttl"] = 0;
    if (this.#chance(40)) table["x-single-active-consumer"] = true;
    return table;
  }

  step(held: (seat: Seat) => readonly Delivery[]): Step {
    for (;;) {
      const step = this.#propose(held);
      if (step !== undefined) return step;
    }
  }

  #propose(held: (seat: Seat) => readonly Delivery[]): Step | undefined {
    const random = this.#random;
    const seat = random.pick(SEATS);
    const queue = random.below(this.queues.length) * 2;
    const roll = random.below(100);
    if (roll < 35) return this.#publish(queue);
    if (roll < 45) {
      // Dead letters too.
      return {
        do: "get",
        seat,
        queue: queue + (this.#chance(30) ? 1 : 0),
        noAck: this.#chance(30),
      };
    }
    if (roll < 75) {
      const deliveries = held(seat);
      if (deliveries.length === 0) return undefined;
      const how = random.pick(["ack", "ack", "requeue", "requeue", "reject"] as const);
      // RabbitMQ buries those of a queue with priorities by priority, and not as they were taken.
      const inOrder = how !== "reject" || !this.queues.some((table) => "x-max-priority" in table);
      const many = this.#chance(30) && inOrder;
      const { tag } = random.pick(deliveries);
      const named = deliveries.filter((delivery) => delivery.tag <= tag);
      return { do: how, seat, tag, multiple: many && (how === "ack" || haveOrder(named)) };
    }
    if (roll < 85) return this.#consume(seat, queue);
    if (roll < 88) {
      // RabbitMQ serves the next single active consumer after a cancel only with the next event.
      const own = this.#consumers.filter((consumer) => {
        return consumer.seat === seat && !this.#isSingle(consumer.queue);
      });
      if (own.length === 0) return undefined;
      const { consumer } = random.pick(own);
      this.#leave((other) => other.consumer === consumer);
      return { do: "cancel", seat, consumer };
    }
    if (roll < 91) return haveOrder(held(seat)) ? { do: "recover", seat } : undefined;
    if (roll < 97) {
      this.#leave((consumer) => consumer.seat === seat);
      return { do: this.#chance(50) ? "cut" : "close channel", seat };
    }
    return { do: "purge", queue };
  }

  #publish(queue: number): Step {
    const properties: Properties = { deliveryMode: this.#chance(70) ? 2 : 1 };
    if (this.#chance(50)) properties.priority = this.#random.below(5);
    // RabbitMQ looks for what has expired in a queue with priorities not with every publish.
    const hasPriorities = this.queues[queue / 2]!["x-max-priority"] !== undefined;
    if (this.#chance(5) && !hasPriorities) properties.expiration = "0";
    if (this.#chance(10)) properties.expiration = "600000";
    return { do: "publish", queue, body: `m${this.#next++}`, properties };
  }

  #consume(seat: Seat, queue: number): Step | undefined {
    const others = this.#consumers.filter((consumer) => consumer.queue === queue);
    if (others.length >= (this.#isSingle(queue) ? 3 : 1)) return undefined;
    // Nothing says in which order two queues serve one channel.
    if (this.#consumers.some((other) => other.seat === seat && other.queue !== queue)) {
      return undefined;
    }
    const consumer = `c${this.#next++}`;
    this.#consumers.push({ seat, queue, consumer });
    return {
      do: "consume",
      seat,
      queue,
      consumer,
      prefetch: this.#random.below(4),
      noAck: this.#chance(15),
    };
  }

  #isSingle(queue: number): boolean {
    return this.queues[queue / 2]!["x-single-active-consumer"] === true;
  }

  #leave(who: (consumer: { seat: Seat; consumer: string }) => boolean): void {
    const stay = this.#consumers.filter((consumer) => !who(consumer));
    this.#consumers.splice(0, Infinity, ...stay);
  }
}

/**
 * RabbitMQ takes back those of each consumer for themselves, and those of basic.get: among one
 * queue's of several, a later one may come before an earlier one.
 */
function haveOrder(deliveries: readonly Delivery[]): boolean {
  const takers = new Map<number, string>();
  return deliveries.every(({ queue, consumer }) => {
    const taker = takers.get(queue) ?? consumer;
    takers.set(queue, taker);
    return taker === consumer;
  });
}
