/** Where the tutorial's `task_queue` is, apart from that of other test files. */
import { AMQPClient } from "@cloudamqp/amqp-client";
import { waitUntil } from "../support/wait.ts";
import type { QueueType } from "./peers.ts";

export class Place {
  /** @param url with the name of the virtual host */
  constructor(readonly url: string) {}

  /** Deletes `task_queue`, should an earlier test have left it. */
  async clear(): Promise<void> {
    await this.#onChannel((channel) => channel.queueDelete("task_queue"));
  }

  /** Declares `task_queue` as the tutorials do; the older ones, for classic, without arguments. */
  async declare(type: QueueType): Promise<void> {
    const args = type === "quorum" ? { "x-queue-type": type } : {};
    await this.#onChannel((channel) => channel.queueDeclare("task_queue", { durable: true }, args));
  }

  /** How many tasks are ready in `task_queue`, and how many consumers it has. */
  async look(): Promise<{ ready: number; consumers: number }> {
    const { messageCount, consumerCount } = await this.#onChannel((channel) =>
      channel.queueDeclare("task_queue", { passive: true })
    );
    return { ready: messageCount, consumers: consumerCount };
  }

  async waitForConsumers(count: number): Promise<void> {
    await waitUntil(`${count} consumers`, async () => (await this.look()).consumers === count);
  }

  async #onChannel<T>(act: (channel: Channel) => Promise<T>): Promise<T> {
    const connection = await new AMQPClient(this.url).connect();
    try {
      return await act(await connection.channel());
    } finally {
      await connection.close();
    }
  }
}

type Channel = Awaited<ReturnType<AMQPClient["channel"]>>;
