/** Virtual hosts of the shared node, so that each test has a `task_queue` of its own. */
import { AMQPClient } from "@cloudamqp/amqp-client";
import type { RabbitmqClient } from "../support/rabbitmq.ts";
import { waitUntil } from "../support/wait.ts";
import type { QueueType } from "./peers.ts";

export class Place {
  /** @param url with the name of the virtual host */
  constructor(readonly url: string) {}

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

/** Makes virtual hosts on a node, in one call of rabbitmqctl. */
export async function makePlaces(node: RabbitmqClient, names: readonly string[]): Promise<Place[]> {
  const binaries = names.map((name) => `<<"${name}">>`).join(", ");
  await node.eval(
    `[begin
        rabbit_vhost:add(Name, <<"tests">>),
        rabbit_auth_backend_internal:set_permissions(
          <<"guest">>, Name, <<".*">>, <<".*">>, <<".*">>, <<"tests">>)
      end || Name <- [${binaries}]].`,
  );
  return names.map((name) => new Place(`${node.url}${name}`));
}
