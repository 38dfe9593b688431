/** `new_task --lines`: every line of an input is a task. */
import type { Connector } from "../amqp/connection.ts";
import { ensureQueue, type QueuePolicy } from "../amqp/declare.ts";
import { Feed, type Numbered } from "../amqp/feed.ts";
import { type Publication, Publisher } from "../amqp/publisher.ts";
import { ToolError } from "../errors.ts";
import { readLines } from "./input.ts";
import { MAX_BODY_BYTES } from "./task_flags.ts";

export interface LinesOrder {
  /** File, or "-" for stdin. */
  readonly path: string;
  readonly queue: QueuePolicy;
  /** What all tasks have in common; the message id is the beginning of theirs. */
  readonly task: Omit<Publication, "body">;
  /** How long nothing may be confirmed while something waits for it, in milliseconds. */
  readonly timeout: number;
}

/**
 * Sends the lines; resolves with their number when the broker has confirmed all of them.
 *
 * @throws {ToolError} with the number of the first line that is not confirmed
 */
export async function sendLines(connector: Connector, order: LinesOrder): Promise<number> {
  const { queue, timeout } = order;
  const feed = new Feed({
    connector,
    patience: timeout,
    openPublisher: async (transport) => {
      await ensureQueue(transport, queue);
      // Where others are confirmed meanwhile, a single one may take longer.
      return await Publisher.open(transport, { confirmTimeout: 2 * timeout });
    },
  });
  try {
    await feed.send(tasksOf(order));
  } catch (error) {
    const first = feed.firstUnconfirmed;
    if (!(error instanceof ToolError) || first === undefined) throw error;
    throw new ToolError(
      `${error.message}; confirmed: ${feed.confirmed}, and line ${first} is the first that is not: ` +
        "it and later ones may be on the queue or not",
      error.exitCode,
      { cause: error },
    );
  }
  return feed.confirmed;
}

async function* tasksOf({ path, task }: LinesOrder): AsyncGenerator<Numbered> {
  for await (const { number, bytes } of readLines(path, MAX_BODY_BYTES)) {
    if (bytes.length === 0) continue;
    const messageId = `${task.properties.messageId}-${number}`;
    const properties = { ...task.properties, messageId, timestamp: new Date() };
    yield { number, task: { ...task, body: bytes, properties } };
  }
}
