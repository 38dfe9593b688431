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
  return onChannel(url, (channel) => countReady(channel, name));
}

/** Milliseconds between two looks at a queue. */
const LOOK_MS = 20;

/** Resolves when so many tasks are ready, with how many and when. */
export function untilReady(
  url: string,
  name: string,
  count: number,
): Promise<{ at: number; ready: number }> {
  return onChannel(url, async (channel) => {
    for (;;) {
      const ready = await countReady(channel, name);
      if (ready >= count) return { at: performance.now(), ready };
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  });
}

async function countReady(channel: Channel, name: string): Promise<number> {
  return (await channel.queueDeclare(name, { passive: true })).messageCount;
}

async function onChannel<T>(url: string, act: (channel: Channel) => Promise<T>): Promise<T> {
  const connection = await new AMQPClient(url).connect();
  try {
    return await act(await connection.channel());
  } finally {
    await connection.close();
  }
}
