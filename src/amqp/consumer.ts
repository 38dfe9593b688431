/**
 * Takes tasks from a queue for as long as it is told to, whatever happens to the connection.
 *
 * Every end of consumption (connection lost or silent, channel closed by the broker, consumer
 * cancelled because the queue is gone) takes the same way: drop the connection, pause, connect,
 * declare, consume again.
 */
import type { AMQPChannel } from "@cloudamqp/amqp-client/amqp-channel";
import type { AMQPMessage } from "@cloudamqp/amqp-client/amqp-message";
import { ChannelError, ConnectionError, EXIT, reason, ToolError } from "../errors.ts";
import type { Logger } from "../observe/log.ts";
import type { Task } from "../task/task.ts";
import { receivedProperties } from "./client/assembly.ts";
import type { Connector } from "./connection.ts";
import { deadline } from "../time/deadline.ts";
import { ensureQueue, inspectQueue, type QueuePolicy } from "./declare.ts";
import { ANSWER_MS, Settlements } from "./settlements.ts";
import type { Transport } from "./transport.ts";

/** Consumption that lasted so long counts as a success: the next pause is a short one again. */
const STEADY_MS = 10_000;
const NOTHING = new Uint8Array();

export interface ConsumerOptions {
  readonly connector: Connector;
  readonly queue: QueuePolicy;
  /** Tasks that may be here unacknowledged at the same time; 1 to 65535. */
  readonly prefetch: number;
  /** Tasks go to consumers of a lower one only when those of a higher one are busy; default 0. */
  readonly priority?: number | undefined;
  readonly log: Logger;
  /**
   * Called for every task, in order, synchronously. Must not throw. Tasks that were on their way
   * when the consumer was stopped come before `stop` resolves: `stopped` tells them.
   */
  readonly onDelivery: (delivery: Delivery) => void;
  /** Called whenever consumption has begun, the first time and after every loss. */
  readonly onReady?: () => void;
  /** Called with why consumption has ended, unless `close` asked for it. */
  readonly onLost?: (cause: ToolError) => void;
}

/**
 * A task in the hands of this worker. It belongs to the channel that brought it: once that has
 * ended, settling does nothing, because a delivery tag means something else on another channel.
 */
export class Delivery {
  readonly task: Task;
  /** When it came, in performance.now(). */
  readonly since: number = performance.now();
  readonly #tag: number;
  readonly #consumption: Consumption;
  #settled = false;

  constructor(task: Task, tag: number, consumption: Consumption) {
    this.task = task;
    this.#tag = tag;
    this.#consumption = consumption;
  }

  /** The broker still waits for this delivery to be settled. */
  get live(): boolean {
    return !this.#settled && !this.#consumption.isEnded;
  }

  /** Aborts when its channel has ended. */
  get lost(): AbortSignal {
    return this.#consumption.lost;
  }

  /** The work is done. Returns false when it is too late: the broker will deliver it again. */
  ack(): boolean {
    return this.#settle((channel) => channel.basicAck(this.#tag));
  }

  /**
   * Puts it back to its place (basic.nack, requeue). Quorum queues count this as they count a crash,
   * so whoever wants to give a task back asks the settler, which knows what to do about it.
   */
  release(): boolean {
    return this.#settle((channel) => channel.basicNack(this.#tag, true));
  }

  #settle(tell: (channel: AMQPChannel) => Promise<void>): boolean {
    if (!this.live) return false;
    this.#settled = true;
    this.#consumption.settlements.note();
    // A send fails only when the connection has ended, and then the broker requeues by itself.
    tell(this.#consumption.channel).catch(() => {});
    return true;
  }
}

/** One life of a consumer: one connection, one channel, one consumer tag. */
class Consumption {
  readonly transport: Transport;
  readonly channel: AMQPChannel;
  readonly #queue: string;
  /** Of basic.consume. */
  readonly #args: Record<string, number> = {};
  /** Resolves with the cause; never rejects. */
  readonly ended: Promise<ToolError>;
  #resolveEnded!: (error: ToolError) => void;
  readonly #lost = new AbortController();
  #isEnded = false;
  /** What the broker was told about deliveries. Written by them. */
  readonly settlements = new Settlements();
  /** Of the consumer that the broker sends to; undefined: it sends nothing. */
  #tag: string | undefined;
  /** No task shall come for now. */
  #held = false;
  #draining = false;
  /** Changes between consuming and not, one after the other. */
  #changes: Promise<void> = Promise.resolve();
  /** Came before consume-ok was seen; handed on by `flow`. */
  #early: Delivery[] | undefined = [];

  constructor(transport: Transport, channel: AMQPChannel, options: ConsumerOptions) {
    this.transport = transport;
    this.channel = channel;
    this.#queue = options.queue.name;
    if (options.priority !== undefined) this.#args = { "x-priority": options.priority };
    this.ended = new Promise((resolve) => this.#resolveEnded = resolve);
  }

  static async start(
    transport: Transport,
    options: ConsumerOptions,
    held: boolean,
  ): Promise<Consumption> {
    await ensureQueue(transport, options.queue);
    const channel = await transport.openChannel();
    const consumption = new Consumption(transport, channel, options);
    consumption.#held = held;
    transport.watch(channel, {
      ended: (error) => consumption.#end(error),
      cancelled: () =>
        consumption.#end(
          new ChannelError(
            `the broker cancelled the consumer of the queue ${
              JSON.stringify(options.queue.name)
            }: it was deleted or moved`,
            0,
            "",
          ),
        ),
    });
    channel.deliver = (message) => consumption.#onMessage(message, options);
    await Promise.all([
      transport.request("basic.qos", channel.basicQos(options.prefetch)),
      held ? undefined : consumption.#consume(),
    ]);
    return consumption;
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** Aborts when it ends. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** Hands on what has come so far; from now on deliveries go straight through. */
  flow(onDelivery: (delivery: Delivery) => void): void {
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const delivery of early) this.#hand(delivery, onDelivery);
  }

  /** A fault in there is no reason to blame the broker, or to end with a connection left open. */
  #hand(delivery: Delivery, onDelivery: (delivery: Delivery) => void): void {
    try {
      onDelivery(delivery);
    } catch (error) {
      this.#end(
        new ConnectionError(
          `a task could not be taken over: ${reason(error)}`,
          EXIT.internal,
          false,
          { cause: error },
        ),
      );
    }
  }

  /** Takes no more tasks; the ones here can still be settled. Waits when called for the first time. */
  async cancel(): Promise<void> {
    if (this.#draining) return;
    this.#draining = true;
    await this.#change();
  }

  /** Resolves when the connection may be closed without a settlement being lost. Never rejects. */
  async settled(): Promise<void> {
    if (this.#isEnded || this.transport.server.product !== "RabbitMQ") return;
    if (!await this.settlements.worked()) return;
    // The answer comes behind what the channel had to do until now.
    const question = this.channel.queueDeclare(this.#queue, { passive: true });
    await deadline(question, ANSWER_MS, () => new Error("late")).catch(() => {});
  }

  /** Lets the broker send tasks or not; resolves when it does so. Never rejects. */
  async hold(held: boolean): Promise<void> {
    this.#held = held;
    await this.#change();
  }

  /** Asks for one task (basic.get), which is handed on as any other. Never rejects. */
  async pull(options: ConsumerOptions): Promise<void> {
    this.#changes = this.#changes.then(async () => {
      if (this.#isEnded || this.#draining) return;
      const message = await this.transport.request(
        "basic.get",
        this.channel.basicGet(this.#queue, { noAck: false }),
      );
      if (message !== null) this.#onMessage(message, options);
    }).catch(() => {}); // as below
    await this.#changes;
  }

  #change(): Promise<void> {
    this.#changes = this.#changes.then(() => this.#changeNow())
      .catch(() => {}); // the channel has ended, or its next request will find out
    return this.#changes;
  }

  async #changeNow(): Promise<void> {
    const wanted = !this.#held && !this.#draining;
    if (this.#isEnded || wanted === (this.#tag !== undefined)) return;
    if (wanted) await this.#consume();
    else await this.#stopConsuming(this.#tag!);
  }

  async #consume(): Promise<void> {
    const { tag } = await this.transport.request(
      "basic.consume",
      this.channel.basicConsume(this.#queue, { noAck: false, args: this.#args }, () => {}),
    );
    this.#tag = tag;
  }

  async #stopConsuming(tag: string): Promise<void> {
    this.#tag = undefined;
    await this.transport.request("basic.cancel", this.channel.basicCancel(tag));
  }

  #onMessage(message: AMQPMessage, options: ConsumerOptions): void {
    if (this.#isEnded) return;
    const { properties } = message;
    const delivery = new Delivery(
      {
        id: properties.messageId ?? "",
        body: message.body ?? NOTHING,
        properties,
        receivedProperties: receivedProperties(message),
        queue: this.#queue,
        exchange: message.exchange,
        routingKey: message.routingKey,
        redelivered: message.redelivered,
      },
      message.deliveryTag,
      this,
    );
    if (this.#early !== undefined) this.#early.push(delivery);
    else this.#hand(delivery, options.onDelivery);
  }

  #end(error: ToolError): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#lost.abort(error);
    this.#resolveEnded(error);
  }
}

export class Consumer {
  readonly #options: ConsumerOptions;
  readonly #stopping = new AbortController();
  readonly #closing = Promise.withResolvers<void>();
  #current: Consumption | undefined;
  /** Whoever wants no task for now. */
  readonly #holders = new Set<object>();
  /** A connection on which consumption has not begun yet. */
  #starting: Transport | undefined;

  constructor(options: ConsumerOptions) {
    this.#options = options;
  }

  /**
   * Consumes until `close`.
   *
   * Before the first success it ends with whatever somebody has to change first: a refused login,
   * a missing vhost or queue, a queue of another type. After that it tries for ever.
   *
   * @throws {ToolError}
   */
  async run(): Promise<void> {
    const { connector } = this.#options;
    const { signal } = this.#stopping;
    let everWorked = false;
    while (!signal.aborted) {
      const transport = await connector.connectForever(signal, everWorked);
      if (transport === undefined) break;
      const cause = await this.#consume(transport, () => everWorked = true);
      if (cause !== undefined) this.#options.onLost?.(cause);
      if (cause === undefined || signal.aborted) {
        await this.#current?.settled();
        await transport.shutdown();
        break;
      }
      transport.destroy(new ConnectionError(cause.message));
      if (!everWorked && isRefusal(cause)) throw cause;
      await connector.pause(cause.message, signal);
    }
    // Whoever stopped it may have tasks running, which outlive a connection that is lost now.
    await this.#closing.promise;
  }

  /** The broker may send tasks now. */
  get consuming(): boolean {
    const current = this.#current;
    return current !== undefined && !current.isEnded && !this.#stopping.signal.aborted;
  }

  /** Tasks ready on the queue; undefined when the broker cannot be asked now. */
  async ready(): Promise<number | undefined> {
    const consumption = this.#current;
    if (consumption === undefined || consumption.isEnded) return undefined;
    try {
      const state = await inspectQueue(consumption.transport, this.#options.queue.name);
      return state.messageCount;
    } catch (error) {
      if (error instanceof ToolError) return undefined;
      throw error;
    }
  }

  /** No more tasks are wanted. */
  get stopped(): boolean {
    return this.#stopping.signal.aborted;
  }

  /** Takes no more tasks; those that are here can still be settled until `close`. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#starting?.destroy(new ConnectionError("stopped before consumption began"));
    await this.#current?.cancel();
  }

  /**
   * Has no task sent until the same `holder` calls `resume`, whatever happens to the connection. Resolves when none is on
   * its way any more.
   */
  async hold(holder: object): Promise<void> {
    this.#holders.add(holder);
    await this.#current?.hold(true);
  }

  /** Has tasks sent again after `hold`. */
  resume(holder: object): void {
    this.#holders.delete(holder);
    this.#current?.hold(this.#held);
  }

  /**
   * Asks for one task, though `holder` holds; resolves when it was handed on, or there is none now.
   * Never rejects.
   */
  async pull(holder: object): Promise<void> {
    const others = [...this.#holders].some((other) => other !== holder);
    if (!others && this.consuming) await this.#current!.pull(this.#options);
  }

  get #held(): boolean {
    return this.#holders.size > 0;
  }

  /** Ends the connection behind everything settled so far; `run` returns. */
  async close(): Promise<void> {
    await this.stop();
    this.#closing.resolve();
  }

  /** Returns why consumption ended, or undefined when `close` asked for it. */
  async #consume(transport: Transport, onStart: () => void): Promise<ToolError | undefined> {
    let started = Infinity;
    try {
      this.#starting = transport;
      const consumption = this.#current = await Consumption.start(
        transport,
        this.#options,
        this.#held,
      );
      this.#starting = undefined;
      started = performance.now();
      // It may have changed meanwhile.
      consumption.hold(this.#held);
      onStart();
      if (this.#stopping.signal.aborted) await consumption.cancel();
      else this.#options.onReady?.();
      consumption.flow(this.#options.onDelivery);
      return await Promise.race([consumption.ended, this.#closing.promise.then(() => undefined)]);
    } catch (error) {
      if (error instanceof ToolError) return error;
      throw error;
    } finally {
      this.#starting = undefined;
      if (performance.now() - started > STEADY_MS) this.#options.connector.succeeded();
    }
  }
}

/** Trying again does not help before somebody changes something on the broker. */
function isRefusal(error: ToolError): boolean {
  if (!(error instanceof ChannelError)) return false;
  const gone = error.replyCode === 404 && error.exitCode !== EXIT.temporary;
  return gone || [403, 405, 406].includes(error.replyCode);
}
