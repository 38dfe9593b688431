/** Has the broker send tasks of a queue only while there is room to run them. */
import type { Consumer } from "../amqp/consumer.ts";
import type { Delivery } from "../amqp/consumption.ts";
import type { TaskRoom } from "./task_room.ts";

/**
 * For a worker that acknowledges a task before it runs it. The prefetch does not hold the broker
 * back then: after each acknowledgement it sends another task. With no room to run, that task would
 * wait here unacknowledged, until the broker takes it back and counts a crash. So this intake stops
 * the consumer while as many tasks run as may, or as have room in memory.
 */
export class EarlyIntake {
  readonly #consumer: Pick<Consumer, "hold" | "resume">;
  readonly #most: number;
  readonly #run: (delivery: Delivery) => Promise<void>;
  readonly #room: TaskRoom | undefined;
  #running = 0;
  #isHeld = false;
  /** Of the bodies of what runs. */
  #bytes = 0;

  /**
   * @param consumer has one delivery at a time sent (prefetch 1)
   * @param most how many tasks of its queue may run at the same time
   * @param run acknowledges a task, runs it and never rejects
   * @param room for their bodies; a single one may have more
   */
  constructor(
    consumer: Pick<Consumer, "hold" | "resume">,
    most: number,
    run: (delivery: Delivery) => Promise<void>,
    room?: TaskRoom,
  ) {
    this.#consumer = consumer;
    this.#most = most;
    this.#run = run;
    this.#room = room;
  }

  get #isFull(): boolean {
    return this.#running >= this.#most || this.#bytes >= (this.#room?.bytes ?? Infinity);
  }

  /** Never rejects. */
  async take(delivery: Delivery): Promise<void> {
    const bytes = delivery.task.body.length;
    this.#running++;
    this.#bytes += bytes;
    this.#room?.note(this.#bytes, () => this.#look());
    if (this.#isFull) {
      this.#isHeld = true;
      await this.#consumer.hold(this);
    }
    await this.#run(delivery);
    this.#running--;
    this.#bytes -= bytes;
    this.#look();
  }

  #look(): void {
    if (!this.#isHeld || this.#isFull) return;
    this.#isHeld = false;
    this.#consumer.resume(this);
  }
}
