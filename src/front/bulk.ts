/**
 * Sends the tasks of an input, however many: one that is none is told with its place, and every end
 * before the input's says how many tasks are confirmed and from where to go on.
 */
import type { Connector } from "../amqp/connection.ts";
import { Feed, type Need, type Numbered } from "../amqp/feed.ts";
import { ensureQueue, ensureWorkQueue, type QueuePolicy } from "../amqp/declare.ts";
import type { Supply } from "../amqp/supply.ts";
import type { Transport } from "../amqp/transport.ts";
import { EXIT, ToolError, UsageError } from "../errors.ts";
import type { Outgoing } from "./outgoing.ts";

/** One of an input's records, with its place, 1 for the first. */
export interface Item {
  readonly number: number;
  /** As it was written. */
  readonly source: Uint8Array;
  /** Bytes of the input up to its end. */
  readonly end: number;
  /** @throws {ToolError} it is no task, or cannot be read */
  read(): Outgoing | Promise<Outgoing>;
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
  /** For whoever takes what is refused. */
  readonly item: Item | undefined;
}

/** What became of a record; undefined: no more are to be taken. */
type Taken = Sent | "rejected" | undefined;

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
  /** What the last task needed: most need the same. */
  #lastNeed: { readonly outgoing: Outgoing; readonly need: Need } | undefined;
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
      onRefused: onRejected && ((sent, error) => this.#reject(sent.item!, error)),
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
  async send(items: Supply<Item>): Promise<void> {
    try {
      await this.#feed.send({
        next: () => this.#noted(this.#next(items)),
        close: () => items.close(),
      });
    } catch (error) {
      throw error instanceof ToolError ? this.#farewell(error) : error;
    }
    if (this.#stop !== undefined) throw this.#farewell(this.#stop);
  }

  /** The same, and remembers the end. */
  #noted(next: Sent | undefined | Promise<Sent | undefined>): typeof next {
    if (next instanceof Promise) return next.then((sent) => this.#noted(sent));
    if (next === undefined) this.#isDone = true;
    return next;
  }

  /** The next task; a promise of it only where something has to be waited for. */
  #next(items: Supply<Item>): Sent | undefined | Promise<Sent | undefined> {
    const taken = this.#take(items);
    return taken instanceof Promise ? this.#behindRejects(items, taken) : taken;
  }

  async #behindRejects(items: Supply<Item>, taking: Promise<Taken>): Promise<Sent | undefined> {
    try {
      for (let taken = await taking;; taken = await this.#take(items)) {
        if (taken !== "rejected") return taken;
      }
    } catch (error) {
      return this.#endWith(error);
    }
  }

  #take(items: Supply<Item>): Sent | undefined | Promise<Taken> {
    if (this.#stop !== undefined) return undefined;
    try {
      const item = items.next();
      if (item instanceof Promise) return this.#takeLater(item);
      return item && this.#read(item);
    } catch (error) {
      return this.#endWith(error);
    }
  }

  async #takeLater(coming: Promise<Item | undefined>): Promise<Taken> {
    const item = await this.#unlessStopped(coming);
    return item && this.#read(item);
  }

  #read(item: Item): Sent | Promise<Taken> {
    try {
      const outgoing = item.read();
      return outgoing instanceof Promise
        ? this.#readLater(item, outgoing)
        : this.#sentOf(item, outgoing);
    } catch (error) {
      return this.#refuse(item, error);
    }
  }

  async #readLater(item: Item, reading: Promise<Outgoing>): Promise<Taken> {
    try {
      const outgoing = await this.#unlessStopped(reading);
      return outgoing && this.#sentOf(item, outgoing);
    } catch (error) {
      return await this.#refuse(item, error);
    }
  }

  #sentOf(item: Item, outgoing: Outgoing): Sent {
    this.#pass(item);
    return {
      number: item.number,
      task: outgoing.publication,
      needs: this.#needOf(outgoing),
      item: this.#options.onRejected && item,
    };
  }

  /** Of a record that is none. */
  async #refuse(item: Item, error: unknown): Promise<"rejected" | undefined> {
    if (!(error instanceof ToolError)) throw error;
    // What options alone have wrong is found out before.
    const fault = error instanceof UsageError
      ? new ToolError(error.message, EXIT.badData, { cause: error })
      : error;
    if (this.#options.onRejected === undefined) throw this.#placed(item.number, fault);
    await this.#reject(item, fault);
    this.#pass(item);
    return "rejected";
  }

  #pass({ number, end }: Item): void {
    this.#last = number;
    this.#end = end;
  }

  /** @throws what is no error of the user's */
  #endWith(error: unknown): undefined {
    if (!(error instanceof ToolError)) throw error;
    this.#stop ??= error;
  }

  /** The promise's value, or undefined when no more are to be taken: its input may never come. */
  #unlessStopped<T>(promise: Promise<T>): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      this.#wake = () => resolve(undefined);
      promise.then(resolve, reject);
    });
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

  #needOf(outgoing: Outgoing): Need {
    const { queue, delayQueue } = outgoing;
    const last = this.#lastNeed;
    if (last?.outgoing.queue === queue && last.outgoing.delayQueue?.name === delayQueue?.name) {
      return last.need;
    }
    const need = {
      name: delayQueue?.name ?? queue.name,
      ensure: async (transport: Transport) => {
        await ensureWorkQueue(transport, queue); // the task would wait for nothing
        if (delayQueue !== undefined && queue.create) await ensureQueue(transport, delayQueue);
      },
    };
    this.#lastNeed = { outgoing, need };
    return need;
  }
}
