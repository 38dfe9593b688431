/**
 * Sends single tasks for as long as a program lives: one connection, opened again when it is lost,
 * on which whatever was not confirmed is sent again, with the same id.
 */
import type { Connector } from "../amqp/connection.ts";
import { ensureQueue, ensureWorkQueue, type QueuePolicy } from "../amqp/declare.ts";
import { declareOnce, type OpenLink, PublishingLink } from "../amqp/publishing_link.ts";
import { Publisher, type PublisherOptions } from "../amqp/publisher.ts";
import type { Transport } from "../amqp/transport.ts";
import { after, pause, type Timer } from "../time/timer.ts";
import { Waiters } from "../time/waiters.ts";
import { EXIT, isOfAnother, isPassing, TaskError, ToolError } from "../errors.ts";
import type { Outgoing } from "./outgoing.ts";
import { Sending } from "./sending.ts";
import { TakenSizes } from "./taken_sizes.ts";

export interface SenderOptions {
  readonly connector: Connector;
  /** How long a task may take from `send` to its confirm, in milliseconds. */
  readonly timeoutMs: number;
  /** What may be on its way at a time; more is refused. */
  readonly most: { readonly tasks: number; readonly bytes: number };
  /** See {@linkcode PublisherOptions.onAnswer}. */
  readonly onAnswer?: PublisherOptions["onAnswer"];
}

/** Pauses after a task that was refused or lost, in milliseconds; the last one repeats. */
const PAUSES_MS = [20, 100, 500, 2_000];

export class Sender {
  readonly #options: SenderOptions;
  readonly #publisherOptions: PublisherOptions;
  readonly #link: PublishingLink;
  /** What the broker of a connection has taken of those whose answers come here. */
  readonly #taken = new WeakMap<Transport, TakenSizes>();
  #tasks = 0;
  #bytes = 0;
  #closed: Promise<void> | undefined;
  /** Those under way, oldest first, and the timer for the first one's end. */
  readonly #sendings = new Set<Sending>();
  #timer: Timer | undefined;
  /** Those that wait until a connection takes tasks, and which one tells them. */
  readonly #waiting = new Set<() => void>();
  #awaited: Transport | undefined;
  /** Those who wait until fewer are on their way. */
  readonly #endWaiters = new Waiters();

  constructor(options: SenderOptions) {
    this.#options = options;
    this.#publisherOptions = {
      // The time of a task is over before.
      confirmTimeout: 2 * options.timeoutMs,
      onAnswer: options.onAnswer,
    };
    this.#link = new PublishingLink(options.connector, this.#publisherOptions);
  }

  /** Tasks on their way. */
  get tasks(): number {
    return this.#tasks;
  }

  /** Whether a body of so many bytes would not be refused now. */
  hasRoom(bytes: number): boolean {
    const { most } = this.#options;
    // A body over the limit is taken when it is alone.
    return this.#tasks === 0 ||
      (this.#tasks < most.tasks && this.#bytes + bytes <= most.bytes);
  }

  /** The open connection, or a new one. @throws {ToolError} one round of addresses gave none */
  async connected(): Promise<Transport> {
    return (await this.#link.open()).transport;
  }

  /** Connects, and makes a queue that is missing. @throws {ToolError} */
  async prepare(queue: QueuePolicy | undefined): Promise<void> {
    const link = await this.#link.open();
    if (queue === undefined) return;
    await declareOnce(link, queue.name, () => ensureWorkQueue(link.transport, queue));
  }

  /**
   * Sends a task; resolves when the broker has confirmed it.
   *
   * @param onPublish of a task whose answer comes here: told where it is about to be published, each
   *   time
   * @throws {ToolError} too much is on its way (75), it was not confirmed in time or the signal
   *   aborted (75: it may be on the queue or not), or nobody can send it like this
   */
  async send(
    task: Outgoing,
    signal?: AbortSignal,
    onPublish?: (publisher: Publisher) => void,
  ): Promise<void> {
    const { body } = task.publication;
    this.#admit(body.length);
    const sending = new Sending(this.#options.timeoutMs, signal);
    this.#sendings.add(sending);
    this.#watch();
    try {
      await this.#sendUntil(task, sending, onPublish);
    } finally {
      sending.end();
      this.#sendings.delete(sending);
      this.#tasks--;
      this.#bytes -= body.length;
      this.#endWaiters.wake();
    }
  }

  /** Resolves when one of the tasks on their way was confirmed or given up; at once with none. */
  async untilOneEnds(): Promise<void> {
    if (this.#tasks > 0) await this.#endWaiters.wait();
  }

  /** What is on its way rejects: nobody waits for it any more. */
  abandon(): void {
    for (const sending of this.#sendings) sending.abandon();
  }

  /** Waits for what is on its way, and takes nothing more. */
  close(): Promise<void> {
    return this.#closed ??= this.#close();
  }

  async #close(): Promise<void> {
    while (this.#tasks > 0) await this.untilOneEnds();
    this.#timer?.cancel();
    await this.#link.close();
  }

  /** @throws {ToolError} */
  #admit(bytes: number): void {
    const { most } = this.#options;
    if (this.#closed !== undefined) throw new TaskError("the queue was closed", EXIT.temporary);
    if (!this.hasRoom(bytes)) {
      throw new TaskError(
        `at most ${most.tasks} tasks and ${most.bytes} bytes may wait for their confirm, and ` +
          `${this.#tasks} tasks of ${this.#bytes} bytes do`,
        EXIT.temporary,
      );
    }
    this.#tasks++;
    this.#bytes += bytes;
  }

  async #sendUntil(
    task: Outgoing,
    sending: Sending,
    onPublish: ((publisher: Publisher) => void) | undefined,
  ): Promise<void> {
    for (let failures = 0;; failures++) {
      let link: OpenLink | undefined;
      try {
        link = await sending.unlessOver(this.#link.open());
        return await sending.unlessOver(this.#publishOn(link, task, sending, onPublish));
      } catch (error) {
        const queue = task.delayQueue?.name ?? task.queue.name;
        const returned = error instanceof TaskError && error.exitCode === EXIT.unavailable;
        // There was a connection before: whoever replaces a certificate may be at it. And somebody
        // may have deleted the queue after it was looked up.
        const again = link === undefined || isPassing(error) ||
          (failures < PAUSES_MS.length && isOfAnother(error)) ||
          (returned && link.declared.delete(queue));
        if (sending.isOver || !again || !(error instanceof ToolError)) throw error;
        sending.trouble = error;
        await sending.unlessOver(pause(PAUSES_MS[failures] ?? PAUSES_MS.at(-1)!));
      }
    }
  }

  async #publishOn(
    link: OpenLink,
    { publication, queue, delayQueue }: Outgoing,
    sending: Sending,
    onPublish: ((publisher: Publisher) => void) | undefined,
  ): Promise<void> {
    const { transport, publisher } = link;
    await this.#roomOn(transport, sending);
    if (sending.isOver) return;
    await declareOnce(link, queue.name, () => ensureWorkQueue(transport, queue));
    if (delayQueue !== undefined) {
      await declareOnce(link, delayQueue.name, () => ensureQueue(transport, delayQueue));
    }
    await this.#roomOn(transport, sending);
    const publish = async (publisher: Publisher) => {
      try {
        // Whoever was told that it is over must not find it sent afterwards.
        if (sending.isOver) return false;
        onPublish?.(publisher);
        await publisher.publish(publication);
        return true;
      } finally {
        if (publisher.isEnded && publisher.pending === 0) publisher.close().catch(() => {});
      }
    };
    if (onPublish === undefined) return void await publish(publisher);
    await this.#takenOn(transport).send(
      publication.body.length,
      async () => void await publish(publisher),
      async () => {
        const own = await Publisher.open(transport, this.#publisherOptions);
        own.retire();
        return await publish(own);
      },
    );
  }

  #takenOn(transport: Transport): TakenSizes {
    let sizes = this.#taken.get(transport);
    if (sizes === undefined) this.#taken.set(transport, sizes = new TakenSizes());
    return sizes;
  }

  /**
   * Waits until a connection takes tasks, or has ended, or the time of the task is over. A broker may
   * block for days: whoever gives up leaves nothing behind.
   */
  async #roomOn(transport: Transport, sending: Sending): Promise<void> {
    while (isFull(transport) && !sending.isOver) {
      await new Promise<void>((resolve) => {
        this.#waiting.add(resolve);
        sending.whenOver(() => {
          this.#waiting.delete(resolve);
          resolve();
        });
        this.#wakeWith(transport);
      });
    }
  }

  #wakeWith(transport: Transport): void {
    if (this.#awaited === transport) return;
    this.#awaited = transport;
    const free = transport.blocked === undefined ? transport.drained() : transport.unblocked();
    free.then(() => {
      if (this.#awaited === transport) this.#awaited = undefined;
      const waiting = [...this.#waiting];
      this.#waiting.clear();
      for (const wake of waiting) wake();
    });
  }

  /** One timer for all: a steady stream does not set one for each task. */
  #watch(): void {
    const [oldest] = this.#sendings;
    if (oldest === undefined || this.#timer !== undefined) return;
    this.#timer = after(oldest.endsAt - performance.now(), () => {
      this.#timer = undefined;
      const now = performance.now();
      for (const sending of this.#sendings) {
        if (sending.endsAt > now) break;
        sending.timeOut();
        this.#sendings.delete(sending);
      }
      this.#watch();
    });
  }
}

function isFull(transport: Transport): boolean {
  return !transport.isEnded && (transport.blocked !== undefined || transport.congested);
}
