/** A queue seen from outside, through the package's own TCP client and not through our code. */
import { AMQPClient } from "@cloudamqp/amqp-client";
import type { AMQPMessage } from "@cloudamqp/amqp-client/amqp-message";
import { waitUntil } from "../support/wait.ts";

export type Channel = Awaited<ReturnType<AMQPClient["channel"]>>;

/** Does something on a connection of its own. */
export async function onChannel<T>(
  url: string,
  act: (channel: Channel) => Promise<T>,
): Promise<T> {
  const connection = await new AMQPClient(url).connect();
  try {
    return await act(await connection.channel());
  } finally {
    if (!connection.closed) await connection.close();
  }
}

/** How many tasks are ready, and how many consumers there are. */
export async function look(
  url: string,
  queue: string,
): Promise<{ ready: number; consumers: number }> {
  return await onChannel(url, async (channel) => {
    for (let isAgain = false;; isAgain = true) {
      const { messageCount, consumerCount } = await channel.queueDeclare(queue, { passive: true });
      // RabbitMQ says so of a quorum queue whose leader does not answer it within 250 ms, too.
      if (messageCount + consumerCount === 0 && !isAgain) continue;
      return { ready: messageCount, consumers: consumerCount };
    }
  });
}

/** Waits until nothing is ready and nobody consumes; quorum queues count with a delay. */
export async function waitForNothing(url: string, queue: string): Promise<void> {
  await waitUntil(`nothing on ${queue}`, async () => {
    const { ready, consumers } = await look(url, queue);
    return ready === 0 && consumers === 0;
  });
}

/** Waits for a number of ready tasks; quorum queues count with a delay. */
export async function waitForReady(url: string, queue: string, ready: number): Promise<void> {
  await waitUntil(`${ready} tasks ready`, async () => (await look(url, queue)).ready === ready);
}

/** Takes everything that is ready. */
export async function takeAll(url: string, queue: string): Promise<AMQPMessage[]> {
  return await onChannel(url, async (channel) => {
    const messages: AMQPMessage[] = [];
    for (;;) {
      const message = await channel.basicGet(queue, { noAck: true });
      if (message === null) return messages;
      messages.push(message);
    }
  });
}

/** Takes the one task that must be there. */
export async function takeOne(url: string, queue: string): Promise<AMQPMessage> {
  const messages = await takeAll(url, queue);
  if (messages.length === 1) return messages[0]!;
  throw new Error(`The queue ${queue} must hold one task, and holds ${messages.length}`);
}

/** A body as bytes, whether the package made one or not. */
export function bytesOf(message: AMQPMessage): Uint8Array {
  return message.body ?? new Uint8Array();
}
