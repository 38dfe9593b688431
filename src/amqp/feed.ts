/**
 * Publishes tasks from a source without an end in sight: a bounded number is on its way at a time,
 * and what a lost connection leaves unconfirmed is sent again, with the same id and in the same
 * order, over the next one.
 */
import {
  ChannelError,
  ConnectionError,
  EXIT,
  isPassing,
  reason,
  TaskError,
  ToolError,
} from "../errors.ts";
import { type Connector, reconnectPause } from "./connection.ts";
import { ensureWorkQueue, type QueuePolicy } from "./declare.ts";
import type { Publication, PublisherOptions } from "./publisher.ts";
import { declareOnce, type OpenLink, PublishingLink } from "./publishing_link.ts";
import type { Supply } from "./supply.ts";
import { formatDuration } from "../task/duration.ts";
import { deadline } from "../time/deadline.ts";
import { after, pause, type Timer } from "../time/timer.ts";
import type { Transport } from "./transport.ts";

/** Unconfirmed at a time. */
const MOST_TASKS = 1_000;
const MOST_BYTES = 16 * 1024 * 1024;

/** Queues that are known to be there on a connection; more are asked for again. */
const MOST_KNOWN_QUEUES = 10_000;

/** A queue that must be there before a task is published. */
export interface Need {
  readonly name: string;
  /** Asks for it, once on each connection. @throws {ToolError} */
  readonly ensure: (transport: Transport) => Promise<unknown>;
}

/** A task with its place in the source. */
export interface Numbered {
  readonly number: number;
  readonly task: Publication;
  readonly needs?: Need | undefined;
}

export interface FeedOptions<T extends Numbered = Numbered> {
  readonly connector: Connector;
  /** Made sure of on every connection; default none but what tasks need. */
  readonly queue?: QueuePolicy | undefined;
  readonly publisher?: PublisherOptions;
  /** How long nothing may be confirmed while something waits for it, in milliseconds. */
  readonly patience: number;
  /** Takes what can never be sent; without it the feed ends. Until it resolves the task is pending. */
  readonly onRefused?: ((task: T, error: TaskError) => Promise<void>) | undefined;
}

export class Feed<T extends Numbered = Numbered> {
  readonly #options: FeedOptions<T>;
  readonly #publishing: PublishingLink;
  /** Unconfirmed, by number and in their order. */
  readonly #pending = new Map<number, T>();
  #pendingBytes = 0;
  #confirmed = 0;
  /** Tasks that have to be sent one by one, because one of them has ended a channel. */
  #careful = 0;
  /** The link that ended for one that is known. */
  #refusedOn: OpenLink | undefined;
  /** Tasks that were refused and are being taken; until then they are pending. */
  #refusing = 0;
  /** Links that ended or were not had since the last confirm. */
  #failures = 0;
  /** Where tasks go; undefined while it is made. */
  #link: OpenLink | undefined;
  /** Queues that are there, by names; only of the present link. */
  readonly #had = new Set<string>();
  /** Tasks that wait until their queue is there: those behind them may not overtake them. */
  #waiting = 0;
  /** The last connection, which the broker may block. */
  #transport: Transport | undefined;
  /** What ends the feed before its source does, and the task that it is about. */
  #failure: unknown;
  #failed: number | undefined;
  /** Tells it to what `send` awaits, which is one thing at a time. */
  #interrupt: (failure: unknown) => void = () => {};
  /** Why the last connection or attempt failed, for the sentence when patience is over. */
  #trouble: ToolError | undefined;
  /** Wakes `send` when something was confirmed. */
  #wake: () => void = () => {};
  /** performance.now() of the last confirm, or from when on there was something to wait for. */
  #lastProgress = 0;
  #watchdog: Timer | undefined;

  constructor(options: FeedOptions<T>) {
    this.#options = options;
    this.#publishing = new PublishingLink(options.connector, options.publisher);
  }

  /** Tasks that the broker has confirmed. */
  get confirmed(): number {
    return this.#confirmed;
  }

  /** The number of the first task that is not confirmed, of those taken from the source. */
  get firstUnconfirmed(): number | undefined {
    return this.#pending.keys().next().value;
  }

  /** The number of the task that has ended the feed, if one has. */
  get failed(): number | undefined {
    return this.#failed;
  }

  get isConnected(): boolean {
    return this.#link !== undefined;
  }

  /** Ends it before its source does. */
  abandon(error: ToolError): void {
    this.#fail(error);
  }

  /**
   * Publishes everything that the source gives; resolves when all of it is confirmed.
   *
   * @throws {ToolError} a task cannot be delivered, or nothing was confirmed for too long; what is
   *   pending may be on the queue or not
   */
  async send(source: Supply<T>): Promise<void> {
    try {
      await this.#unlessFailed(
        deadline(this.#connect(), this.#options.patience, () => this.#overdue()),
      );
      for (;;) {
        const next = source.next();
        const item = next instanceof Promise ? await this.#unlessFailed(next) : next;
        if (item === undefined) break;
        this.#add(item);
        while (this.#isFull) await this.#turn();
      }
      while (this.#pending.size > 0) await this.#turn();
      await this.#publishing.close();
    } catch (error) {
      this.#fail(error);
      throw error;
    } finally {
      this.#watchdog?.cancel();
      this.#publishing.destroy(new ConnectionError("given up"));
      source.close();
    }
  }

  get #isFull(): boolean {
    return this.#pending.size >= MOST_TASKS || this.#pendingBytes >= MOST_BYTES;
  }

  #unlessFailed<T>(promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#interrupt = reject;
      if (this.#failure !== undefined) reject(this.#failure);
      promise.then(resolve, reject);
    });
  }

  /** Waits until something is confirmed. */
  #turn(): Promise<void> {
    return this.#unlessFailed(new Promise<void>((resolve) => this.#wake = resolve));
  }

  #add(item: T): void {
    this.#pending.set(item.number, item);
    this.#pendingBytes += item.task.body.length;
    if (this.#pending.size === 1) this.#lastProgress = performance.now();
    this.#watch(this.#options.patience);
    const link = this.#link;
    if (link === undefined) return; // whoever connects sends it
    if (link.publisher.isEnded) this.#replace(link);
    else if (this.#careful === 0) this.#publish(link, item);
  }

  /** Sends everything pending, or the first of it. */
  #publishPending(link: OpenLink): void {
    const items = [...this.#pending.values()];
    for (const item of this.#careful > 0 ? items.slice(0, 1) : items) this.#publish(link, item);
  }

  #publish(link: OpenLink, item: T): void {
    const { task, needs } = item;
    const isThere = needs === undefined || this.#waiting === 0 && this.#had.has(needs.name);
    const published = isThere
      ? link.publisher.publish(task)
      : this.#publishBehind(link, needs, item);
    published.then(
      () => {
        this.#onConfirmed(item);
        if (link.publisher.isEnded) this.#replace(link);
      },
      async (error) => {
        await this.#onRefused(link, item, error);
        if (link.publisher.isEnded) this.#replace(link);
      },
    );
  }

  /** Tasks for one queue stay in their order: all of them wait for the same promise. */
  async #publishBehind(
    link: OpenLink,
    { name, ensure }: Need,
    { number, task }: T,
  ): Promise<void> {
    if (link.declared.size >= MOST_KNOWN_QUEUES) {
      link.declared.clear();
      this.#had.clear();
    }
    this.#waiting++;
    try {
      await declareOnce(link, name, () => ensure(link.transport));
      if (link === this.#link) this.#had.add(name);
    } catch (error) {
      // What waits for it is sent over the next link.
      if (isPassing(error)) link.transport.destroy(new ConnectionError(reason(error)));
      else this.#fail(error, number);
      throw error;
    } finally {
      this.#waiting--;
    }
    // In the same breath: whoever comes from here on finds nobody waiting.
    await link.publisher.publish(task);
  }

  #onConfirmed(item: T): void {
    if (!this.#settle(item)) return; // sent twice, and confirmed twice
    this.#confirmed++;
    this.#failures = 0;
    this.#trouble = undefined;
  }

  /** @returns false: it was not pending */
  #settle({ number, task }: T): boolean {
    if (!this.#pending.delete(number)) return false;
    this.#pendingBytes -= task.body.length;
    this.#lastProgress = performance.now();
    if (this.#careful > 0) {
      this.#careful--;
      if (this.#link?.publisher.isEnded === false) this.#publishPending(this.#link);
    }
    this.#wake();
    return true;
  }

  async #onRefused(link: OpenLink, item: T, error: unknown): Promise<void> {
    const { onRefused } = this.#options;
    // The broker closes the channel of a task that it refuses, and the others' with it.
    const isNeighbour = onRefused !== undefined && error instanceof ChannelError;
    if (isPassing(error) || isNeighbour) {
      this.#trouble = error;
      const isKnown = isPassing(error) || this.#refusedOn === link;
      if (!isKnown) this.#careful = this.#pending.size;
    } else if (onRefused && error instanceof TaskError && error.exitCode === EXIT.badData) {
      this.#refusedOn = link;
      this.#refusing++;
      await onRefused(item, error).then(() => this.#settle(item), (error) => this.#fail(error));
      this.#refusing--;
    } else {
      this.#fail(error, item.number);
    }
  }

  /** Replaces a link that takes no more tasks, once it is known what became of those it took. */
  #replace(link: OpenLink): void {
    if (this.#link !== link || link.publisher.pending + this.#refusing > 0) return;
    this.#link = undefined;
    this.#had.clear();
    this.#connectPatiently().catch((error) => this.#fail(error));
  }

  async #connectPatiently(): Promise<void> {
    while (this.#failure === undefined) {
      await pause(reconnectPause(this.#failures++, Math.random()));
      if (this.#failure !== undefined) return;
      let link: OpenLink;
      try {
        link = await this.#publishing.open();
      } catch (error) {
        // It had a connection before: whoever replaces a password or a certificate may be at it.
        if (!(error instanceof ToolError)) throw error;
        this.#trouble = error;
        continue;
      }
      try {
        return await this.#publishOver(link);
      } catch (error) {
        if (!isPassing(error)) throw error;
        this.#trouble = error;
      }
    }
  }

  async #connect(): Promise<void> {
    await this.#publishOver(await this.#publishing.open());
  }

  /** Makes sure of the queue and sends everything pending over a link. */
  async #publishOver(link: OpenLink): Promise<void> {
    const { queue } = this.#options;
    const { transport } = link;
    this.#transport = transport;
    try {
      if (queue !== undefined) {
        await declareOnce(link, queue.name, () => ensureWorkQueue(transport, queue));
      }
    } catch (error) {
      transport.destroy(new ConnectionError("no queue to publish to"));
      throw error;
    }
    if (this.#failure !== undefined) return transport.destroy(new ConnectionError("too late"));
    this.#link = link;
    this.#publishPending(link);
  }

  /** It runs on when something is confirmed, so that not every task sets one. */
  #watch(ms: number): void {
    this.#watchdog ??= after(ms, () => {
      this.#watchdog = undefined;
      if (this.#pending.size === 0) return;
      const left = this.#lastProgress + this.#options.patience - performance.now();
      if (left > 0) this.#watch(left);
      else this.#fail(this.#overdue());
    });
  }

  #overdue(): ToolError {
    const blocked = this.#transport?.isEnded ? undefined : this.#transport?.blocked;
    const why = blocked !== undefined
      ? `the broker blocks publishers: ${blocked}`
      : this.#trouble?.message ?? "the broker does not answer";
    return new ConnectionError(
      `nothing was confirmed within ${formatDuration(this.#options.patience)}: ${why}`,
      this.#trouble?.exitCode,
    );
  }

  #fail(error: unknown, number?: number): void {
    if (this.#failure === undefined) this.#failed = number;
    this.#failure ??= error;
    this.#interrupt(this.#failure);
  }
}
