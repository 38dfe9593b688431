/**
 * Numbered tasks through one queue, at a steady rate: as many wait all the time as at the beginning.
 * They are confirmed in order, and acknowledged in order.
 */
import { Consumer } from "../../src/amqp/consumer.ts";
import type { Delivery } from "../../src/amqp/consumption.ts";
import { declareQueue } from "../../src/amqp/declare.ts";
import { Told } from "../../src/amqp/pending.ts";
import { Publisher } from "../../src/amqp/publisher.ts";
import type { Transport } from "../../src/amqp/transport.ts";
import { pause } from "../../src/time/timer.ts";
import { createLogger } from "../../src/observe/log.ts";
import { connectorFor } from "../worker/bench.ts";

const QUEUE = "load";
/** Confirms that are waited for. */
const WINDOW = 2_000;
const PREFETCH = 500;
/** For one confirm, on a busy machine. */
const CONFIRM_MS = 600_000;
const TICK_MS = 10;
/** What a pause of the broker leaves to be made up for, in milliseconds: else a burst follows it. */
const MOST_LATE_MS = 100;

export class StreamOfTasks implements AsyncDisposable {
  /** Of a body: its number, a blank, and the filler. */
  static readonly bytes = 100;
  static readonly filler = "t";

  readonly #transport: Transport;
  readonly #publisher: Publisher;
  readonly #consumer: Consumer;
  readonly #running: Promise<void>;
  readonly #backlog: number;
  #flowing: Promise<void> | undefined;
  #isOver = false;
  #failure: unknown;
  #published = 0;
  #confirmed = 0;
  #acknowledged = 0;
  /** Came, and not acknowledged. */
  #inHand: Delivery[] = [];

  private constructor(transport: Transport, publisher: Publisher, url: string, backlog: number) {
    this.#transport = transport;
    this.#publisher = publisher;
    this.#backlog = backlog;
    this.#consumer = new Consumer({
      connector: connectorFor(url),
      queue: { name: QUEUE, type: "quorum", strict: false, create: false },
      prefetch: PREFETCH,
      log: createLogger({ name: "stream", write: () => {} }),
      onDelivery: (delivery) => {
        this.#inHand.push(delivery);
        this.#acknowledge();
      },
    });
    this.#running = this.#consumer.run();
    this.#running.catch((error) => this.#failure = error);
  }

  /** @param backlog tasks that wait at least */
  static async open(url: string, backlog: number): Promise<StreamOfTasks> {
    const transport = await connectorFor(url).connect();
    const publisher = await Publisher.open(transport, { confirmTimeout: CONFIRM_MS });
    await declareQueue(transport, { name: QUEUE, arguments: {} });
    return new StreamOfTasks(transport, publisher, url, backlog);
  }

  /** How many are confirmed: all before that number. */
  get confirmed(): number {
    if (this.#failure !== undefined) throw this.#failure;
    return this.#confirmed;
  }

  /** How many are acknowledged, which the broker may have heard of or not. */
  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** Puts so many more, and waits until they are confirmed. */
  async put(count: number): Promise<void> {
    await this.#send(this.#published + count);
    while (this.confirmed < this.#published) await pause(TICK_MS);
  }

  /** From now on so many come each second, until `end`. */
  flow(rate: number): void {
    this.#flowing = (async () => {
      let last = performance.now();
      while (!this.#isOver) {
        await pause(TICK_MS);
        const now = performance.now();
        const ms = Math.min(now - last, MOST_LATE_MS);
        last = now;
        await this.#send(this.#published + Math.round(ms * rate / 1_000));
      }
    })().catch((error) => this.#failure = error);
  }

  async end(): Promise<void> {
    this.#isOver = true;
    await this.#flowing;
    // Else the last ones would be in doubt.
    while (this.confirmed < this.#published) await pause(TICK_MS);
    await this.#consumer.close();
    await this.#running;
    await this.#transport.shutdown();
    if (this.#failure !== undefined) throw this.#failure;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    await this.#consumer.close();
    await this.#transport.shutdown();
  }

  async #send(upTo: number): Promise<void> {
    const { bytes, filler } = StreamOfTasks;
    while (this.#published < upTo && !this.#isOver) {
      if (this.#published - this.confirmed >= WINDOW) {
        await pause(1);
        continue;
      }
      const number = this.#published++;
      const task = {
        exchange: "",
        routingKey: QUEUE,
        body: new TextEncoder().encode(`${number} `.padEnd(bytes, filler)),
        properties: { deliveryMode: 2, messageId: String(number) },
      };
      const onConfirmed = () => {
        if (number !== this.#confirmed) this.#failure ??= new Error(`${number} out of order`);
        this.#confirmed++;
      };
      this.#publisher.send(task, new Told(onConfirmed, (error) => this.#failure ??= error));
    }
    this.#acknowledge();
  }

  #acknowledge(): void {
    let done = 0;
    for (const delivery of this.#inHand) {
      if (this.#confirmed - this.#acknowledged <= this.#backlog) break;
      if (delivery.task.id !== String(this.#acknowledged)) {
        this.#failure ??= new Error(`${delivery.task.id} came out of order`);
      }
      delivery.ack();
      this.#acknowledged++;
      done++;
    }
    this.#inHand.splice(0, done);
  }
}
