/** `new_task --lines`: every line of an input is a task. */
import type { Connector } from "../amqp/connection.ts";
import type { QueuePolicy } from "../amqp/declare.ts";
import { Feed, type Numbered } from "../amqp/feed.ts";
import type { Publication } from "../amqp/publisher.ts";
import { ToolError } from "../errors.ts";
import { readLines } from "./input.ts";
import { onSignals } from "./signals.ts";
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
 * The first signal to end takes no more lines, and waits for those that are under way.
 *
 * @throws {ToolError} with the number of the first line that is not confirmed; or of the one to go
 *   on from after a signal
 */
export async function sendLines(connector: Connector, order: LinesOrder): Promise<number> {
  const { queue, timeout } = order;
  const source = new Endable(tasksOf(order));
  const signals = onSignals({ end: (status) => source.end(status) });
  const feed = new Feed({
    connector,
    patience: timeout,
    queue,
    // Where others are confirmed meanwhile, a single one may take longer.
    publisher: { confirmTimeout: 2 * timeout },
  });
  try {
    await feed.send(source);
    if (source.status !== undefined) {
      throw new ToolError(
        `ended by a signal; confirmed: ${feed.confirmed}, and line ${source.last + 1} is the one ` +
          "to go on from",
        source.status,
      );
    }
  } catch (error) {
    const first = feed.firstUnconfirmed;
    if (!(error instanceof ToolError) || first === undefined) throw error;
    throw new ToolError(
      `${error.message}; confirmed: ${feed.confirmed}, and line ${first} is the first that is not: ` +
        "it and later ones may be on the queue or not",
      error.exitCode,
      { cause: error },
    );
  } finally {
    signals.dispose();
  }
  return feed.confirmed;
}

/** Tasks until the input ends, or `end` is called. */
class Endable implements AsyncIterable<Numbered> {
  /** Of the call that has ended it before the input did. */
  status: number | undefined;
  /** Number of the last one that was taken; 0: none. */
  last = 0;
  readonly #tasks: AsyncGenerator<Numbered>;
  #done = false;
  /** Ends the wait for the next one. */
  #wake = () => {};

  constructor(tasks: AsyncGenerator<Numbered>) {
    this.#tasks = tasks;
  }

  end(status: number): void {
    if (!this.#done) this.status = status;
    this.#wake();
  }

  [Symbol.asyncIterator](): AsyncIterator<Numbered> {
    return {
      next: () => this.#next(),
      return: () => this.#tasks.return(undefined),
    };
  }

  async #next(): Promise<IteratorResult<Numbered>> {
    const next = this.status === undefined
      ? await new Promise<IteratorResult<Numbered> | undefined>((resolve, reject) => {
        this.#wake = () => resolve(undefined);
        this.#tasks.next().then(resolve, reject);
      })
      : undefined;
    if (next === undefined || next.done) {
      this.#done = true;
      return { done: true, value: undefined };
    }
    this.last = next.value.number;
    return next;
  }
}

async function* tasksOf({ path, task }: LinesOrder): AsyncGenerator<Numbered> {
  for await (const { number, bytes } of readLines(path, MAX_BODY_BYTES)) {
    if (bytes.length === 0) continue;
    const messageId = `${task.properties.messageId}-${number}`;
    const properties = { ...task.properties, messageId, timestamp: new Date() };
    yield { number, task: { ...task, body: bytes, properties } };
  }
}
