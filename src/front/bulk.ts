/**
 * Sends the tasks of an input, however many: one that is none is told with its place, and every end
 * before the input's says how many tasks are confirmed and from where to go on.
 */
import type { Connector } from "../amqp/connection.ts";
import { Feed, type Need, type Numbered } from "../amqp/feed.ts";
import { ensureQueue, ensureWorkQueue, type QueuePolicy } from "../amqp/declare.ts";
import { EXIT, ToolError, UsageError } from "../errors.ts";
import type { Outgoing } from "./outgoing.ts";

/** One of an input's records, with its place, 1 for the first. */
export interface Item {
  readonly number: number;
  /** As it was written; kept for whoever takes what is refused. */
  readonly source?: Uint8Array | undefined;
  /** Bytes of the input up to its end. */
  readonly end?: number | undefined;
  /** @throws {ToolError} it is no task, or cannot be read */
  readonly read: () => Outgoing | Promise<Outgoing>;
}

export interface BulkOptions {
  readonly connector: Connector;
  /** Made sure of before all tasks; default only those that they are for. */
  readonly queue?: QueuePolicy | undefined;
  /** How long nothing may be confirmed while something waits for it, in milliseconds. */
  readonly timeoutMs: number;
  /** What a record is called: "line". */
  readonly unit: string;
  /** So many were left out at the beginning. */
  readonly skip: number;
  /** Takes what can never be sent; without it the first one ends everything. */
  readonly onRejected?: ((item: Item, error: ToolError) => Promise<void>) | undefined;
}

/** A record that is under way. */
interface Sent extends Numbered {
  readonly item: Item;
}

export class Bulk {
  readonly #options: BulkOptions;
  readonly #feed: Feed<Sent>;
  /** Place of the last record that was taken or rejected. */
  #last: number;
  #end = 0;
  #rejected = 0;
  /** Why no more records are taken. */
  #stop: ToolError | undefined;
  #isDone = false;
  /** Ends the wait for the next record. */
  #wake: () => void = () => {};

  constructor(options: BulkOptions) {
    this.#options = options;
    this.#last = options.skip;
    const { connector, queue, timeoutMs, onRejected } = options;
    this.#feed = new Feed<Sent>({
      connector,
      queue,
      patience: timeoutMs,
      // Where others are confirmed meanwhile, a single one may take longer.
      publisher: { confirmTimeout: 2 * timeoutMs },
      onRefused: onRejected && ((sent, error) => this.#reject(sent.item, error)),
    });
  }

  get confirmed(): number {
    return this.#feed.confirmed;
  }

  /** Records that were none, or that the broker refuses. */
  get rejected(): number {
    return this.#rejected;
  }

  /** Bytes of the input up to the end of the last record. */
  get end(): number {
    return this.#end;
  }

  /** Takes no more records; `send` throws this when those under way are confirmed. */
  stop(error: ToolError): void {
    if (this.#isDone) return;
    this.#stop ??= error;
    this.#wake();
    // It may still be looking for its broker.
    if (!this.#feed.isConnected && this.#last === this.#options.skip) this.#feed.abandon(error);
  }

  /**
   * Sends everything; resolves when all of it is confirmed or rejected.
   *
   * @throws {ToolError} it ended before the input did; says how many are confirmed, and how many
   *   records to leave out the next time
   */
  async send(items: AsyncIterator<Item>): Promise<void> {
    try {
      await this.#feed.send({ [Symbol.asyncIterator]: () => this.#tasksOf(items) });
    } catch (error) {
      throw error instanceof ToolError ? this.#farewell(error) : error;
    }
    if (this.#stop !== undefined) throw this.#farewell(this.#stop);
  }

  #tasksOf(items: AsyncIterator<Item>): AsyncIterator<Sent> {
    return {
      next: async () => {
        const sent = await this.#next(items);
        this.#isDone = sent === undefined;
        return sent === undefined ? { done: true, value: undefined } : { value: sent };
      },
      return: async () => {
        await items.return?.();
        return { done: true, value: undefined };
      },
    };
  }

  async #next(items: AsyncIterator<Item>): Promise<Sent | undefined> {
    while (this.#stop === undefined) {
      const next = await this.#take(items);
      if (next === undefined || next.done) break;
      const item = next.value;
      const sent = await this.#read(item);
      if (sent === undefined) break;
      this.#last = item.number;
      this.#end = item.end ?? 0;
      if (sent !== "rejected") return sent;
    }
    return undefined;
  }

  /** The next item, or nothing when no more are to be taken. */
  async #take(items: AsyncIterator<Item>): Promise<IteratorResult<Item> | undefined> {
    try {
      return await this.#unlessStopped(items.next());
    } catch (error) {
      if (!(error instanceof ToolError)) throw error;
      this.#stop ??= error;
      return undefined;
    }
  }

  /** The promise's value, or undefined when no more are to be taken: its input may never come. */
  #unlessStopped<T>(promise: Promise<T>): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      this.#wake = () => resolve(undefined);
      promise.then(resolve, reject);
    });
  }

  /** @returns undefined: it has stopped everything */
  async #read(item: Item): Promise<Sent | "rejected" | undefined> {
    try {
      const reading = item.read();
      const outgoing = reading instanceof Promise ? await this.#unlessStopped(reading) : reading;
      if (outgoing === undefined) return undefined;
      return { number: item.number, task: outgoing.publication, needs: needOf(outgoing), item };
    } catch (error) {
      if (!(error instanceof ToolError)) throw error;
      // What options alone have wrong is found out before.
      const fault = error instanceof UsageError
        ? new ToolError(error.message, EXIT.badData, { cause: error })
        : error;
      if (this.#options.onRejected === undefined) {
        this.#stop ??= this.#placed(item.number, fault);
        return undefined;
      }
      try {
        await this.#reject(item, fault);
        return "rejected";
      } catch (error) {
        if (!(error instanceof ToolError)) throw error;
        this.#stop ??= error;
        return undefined;
      }
    }
  }

  async #reject(item: Item, error: ToolError): Promise<void> {
    await this.#options.onRejected!(item, error);
    this.#rejected++;
  }

  #placed(number: number, error: ToolError): ToolError {
    const { unit } = this.#options;
    return new ToolError(`${unit} ${number}: ${error.message}`, error.exitCode, { cause: error });
  }

  /** The last words: what is confirmed, and how to go on. */
  #farewell(error: ToolError): ToolError {
    const first = this.#feed.firstUnconfirmed;
    const failed = this.#feed.failed;
    const { message, exitCode } = failed === undefined ? error : this.#placed(failed, error);
    const rejected = this.#options.onRejected ? `, rejected: ${this.#rejected}` : "";
    const next = first === undefined
      ? `go on with --skip ${this.#last}`
      : `go on with --skip ${first - 1} (${this.#options.unit} ${first} and later ones may be on ` +
        "the queue or not)";
    return new ToolError(`${message}; confirmed: ${this.confirmed}${rejected}; ${next}`, exitCode, {
      cause: error,
    });
  }
}

function needOf({ queue, delayQueue }: Outgoing): Need {
  return {
    name: delayQueue?.name ?? queue.name,
    ensure: async (transport) => {
      await ensureWorkQueue(transport, queue); // the task would wait for nothing
      if (delayQueue !== undefined && queue.create) await ensureQueue(transport, delayQueue);
    },
  };
}
