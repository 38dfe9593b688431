/**
 * Publishes one task whose body comes piece by piece and is never here as a whole: to a queue, on a
 * connection of its own, because half a body can only be taken back by ending that.
 */
import type { AMQPChannel } from "@cloudamqp/amqp-client/amqp-channel";
import { ConnectionError, EXIT, NackError, TaskError } from "../errors.ts";
import type { QueueSpec } from "../task/topology.ts";
import { after, LONGEST_TIMER_MS, type Timer } from "../time/timer.ts";
import { ContentWriter, type Publication } from "./client/content.ts";
import type { Connector } from "./connection.ts";
import { ensureQueue } from "./declare.ts";
import { Publisher } from "./publisher.ts";
import type { Transport } from "./transport.ts";

/** How long the confirm may take once all was written, in milliseconds. */
const CONFIRM_MS = 5 * 60_000;

export class BodyStream {
  readonly #transport: Transport;
  readonly #writer: ContentWriter;
  readonly #settled = Promise.withResolvers<void>();
  /** Bytes that are still to be written. */
  #left = 0;
  #timer: Timer | undefined;
  #isReturned = false;

  private constructor(transport: Transport, channel: AMQPChannel) {
    this.#transport = transport;
    this.#writer = new ContentWriter(channel.id, transport.frameMax);
    this.#settled.promise.catch(() => {}); // nobody may wait for it yet
    channel.onReturn = () => void (this.#isReturned = true);
    channel.publishConfirmed = (_tag, _multiple, nack) => this.#onConfirm(nack);
    transport.watch(channel, { ended: (error) => this.#settled.reject(error) });
  }

  /**
   * Connects, makes sure of the queue, and waits until the broker takes publications.
   *
   * @param signal ends it all
   * @throws {ToolError}
   */
  static async open(
    connector: Connector,
    queue: QueueSpec,
    signal: AbortSignal,
  ): Promise<BodyStream> {
    const transport = await connector.connect();
    const giveUp = () => transport.destroy(new ConnectionError("nobody waits for it any more"));
    signal.addEventListener("abort", giveUp);
    try {
      if (signal.aborted) giveUp();
      await ensureQueue(transport, queue);
      await untilTaken(transport);
      return await transport.onNewChannel(async (channel) => {
        const stream = new BodyStream(transport, channel);
        await transport.request("confirm.select", channel.confirmSelect());
        return stream;
      });
    } catch (error) {
      giveUp();
      throw error;
    } finally {
      signal.removeEventListener("abort", giveUp);
    }
  }

  /** Nothing can be published any more. */
  get isEnded(): boolean {
    return this.#transport.isEnded;
  }

  /**
   * Begins the task, once.
   *
   * @param task its `body` is left out
   * @param bytes of that
   * @throws {TaskError} it cannot be encoded; another one may begin
   */
  begin(task: Publication, bytes: number): void {
    const { messageId } = task.properties;
    const id = (messageId || crypto.randomUUID()).toWellFormed();
    this.#transport.enqueue(this.#writer.begin(task, id, bytes).slice());
    this.#left = bytes;
  }

  /**
   * Adds to its body.
   *
   * @param part is copied
   * @returns what to wait for before there is room for more; undefined: nothing
   */
  write(part: Uint8Array): Promise<void> | undefined {
    for (const piece of this.#writer.frames(part.slice())) this.#transport.enqueue(piece);
    this.#left -= part.length;
    if (this.#left === 0 && !this.isEnded) {
      const late = () => this.abandon("the broker did not confirm the task in time");
      this.#timer = after(CONFIRM_MS, late);
    }
    return this.#transport.congested ? this.#transport.drained() : undefined;
  }

  /** Resolves when the task is confirmed; the connection ends. @throws {ToolError} it is not */
  async finish(): Promise<void> {
    try {
      await this.#settled.promise;
    } finally {
      this.#timer?.cancel();
      if (this.#left === 0) await this.#transport.shutdown();
      else this.abandon("the task was refused before all of it was sent");
    }
  }

  /** What was not written never will be. */
  abandon(why: string): void {
    this.#transport.destroy(new ConnectionError(why));
  }

  #onConfirm(nack: boolean): void {
    if (this.#isReturned) {
      const gone = "the broker returned the task: its queue is gone";
      this.#settled.reject(new TaskError(gone, EXIT.unavailable));
    } else if (nack) this.#settled.reject(new NackError());
    else this.#settled.resolve();
  }
}

/** A broker that blocks says so to who publishes: to a queue that nobody has, it is only returned. */
async function untilTaken(transport: Transport): Promise<void> {
  const publisher = await Publisher.open(transport, { confirmTimeout: LONGEST_TIMER_MS });
  const routingKey = `nobody.${crypto.randomUUID()}`;
  const body = new Uint8Array();
  try {
    await publisher.publish({ exchange: "", routingKey, body, properties: {} });
  } catch (error) {
    if (!(error instanceof TaskError) || error.exitCode !== EXIT.unavailable) throw error;
  }
  await publisher.close();
}
