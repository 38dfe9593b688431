/** Queues for the bench, through the package's own client: not what is measured. */
import { AMQPClient } from "@cloudamqp/amqp-client";

type Channel = Awaited<ReturnType<AMQPClient["channel"]>>;

/** Declares a durable queue of a type, empty. */
export async function freshQueue(url: string, name: string, type: string): Promise<void> {
  await onChannel(url, async (channel) => {
    await channel.queueDelete(name);
    await channel.queueDeclare(name, { durable: true }, { "x-queue-type": type });
  });
}

/** Tasks that are ready in a queue. */
export function readyIn(url: string, name: string): Promise<number> {
  return onChannel(url, async (channel) => {
    return (await channel.queueDeclare(name, { passive: true })).messageCount;
  });
}

async function onChannel<T>(url: string, act: (channel: Channel) => Promise<T>): Promise<T> {
  const connection = await new AMQPClient(url).connect();
  try {
    return await act(await connection.channel());
  } finally {
    await connection.close();
  }
}
