/** Tasks as they come over one connection, and what the broker is told about each. */
import type { AMQPChannel } from "@cloudamqp/amqp-client/amqp-channel";
import type { AMQPMessage } from "@cloudamqp/amqp-client/amqp-message";
import { ChannelError, ConnectionError, EXIT, reason, ToolError } from "../errors.ts";
import type { ReceivedTask } from "../task/task.ts";
import { type BodyRoom, incoming, limitBodies, readLater } from "./client/assembly.ts";
import type { BodySink, IncomingMessage } from "./client/incoming_message.ts";
import { deadline } from "../time/deadline.ts";
import { Acknowledgements, type OpenDelivery } from "./acknowledgements.ts";
import { Credit } from "./credit.ts";
import { ensureWorkQueue, type QueuePolicy } from "./declare.ts";
import { taskOf } from "./received_task.ts";
import { ANSWER_MS, Settlements } from "./settlements.ts";
import type { Transport } from "./transport.ts";
import { turnTime } from "../time/turn_time.ts";

export interface ConsumptionOptions {
  readonly queue: QueuePolicy;
  /** Tasks that may be here unacknowledged at the same time; 1 to 65535. */
  readonly prefetch: number;
  /** A larger body is left out, and its delivery says so; default: no limit. */
  readonly room?: BodyRoom | undefined;
  /**
   * Where a body goes that is left out, as it comes; default nowhere.
   *
   * @param task without its body
   * @param lost aborts when no more of it comes
   * @returns undefined: nowhere
   */
  readonly passOn?:
    | ((task: ReceivedTask, bytes: number, lost: AbortSignal) => PassedBody | undefined)
    | undefined;
  /** Nobody takes the memory of a body: small ones may share it. Default false. */
  readonly sharesBodies?: boolean | undefined;
  /** So many acknowledgements may wait for each other for some milliseconds; default 1. */
  readonly gathers?: number | undefined;
  /** What comes and is given back may not come again behind others; default false. */
  readonly keepsOrder?: boolean | undefined;
  /** Tasks go to consumers of a lower one only when those of a higher one are busy; default 0. */
  readonly priority?: number | undefined;
  /**
   * Called for every task, in order, synchronously. Must not throw. Tasks that were on their way
   * when the consumer was stopped come before `stop` resolves: `stopped` tells them.
   */
  readonly onDelivery: (delivery: Delivery) => void;
}

/** A body that is passed on to somewhere else as it comes. */
export interface PassedBody {
  /** @returns what to wait for before there is room for more; never rejects */
  write(part: Uint8Array): Promise<void> | undefined;
  /** Resolves when it is there; rejects when it is not, or nobody knows. */
  readonly done: Promise<void>;
  /** It takes too long: `done` rejects. */
  abandon(why: string): void;
}

/** The queue is none that gives single tasks, and stays so. */
export class PullRefused extends ToolError {
  override readonly name = "PullRefused";
}

/**
 * A task in the hands of this worker. It belongs to the channel that brought it: once that has
 * ended, settling does nothing, because a delivery tag means something else on another channel.
 */
export class Delivery implements OpenDelivery {
  readonly task: ReceivedTask;
  /** When it came, in performance.now(). */
  readonly since: number = turnTime();
  readonly tag: number;
  /** Bytes of the body that came with it, which may be freed meanwhile. */
  readonly bodyBytes: number;
  /** The same, and those of its properties. */
  readonly bytes: number;
  /** Bytes of its body, which is too large and not here; 0: it is here. */
  readonly leftOut: number;
  /** Where that has gone instead; undefined: nowhere. */
  readonly passedOn: PassedBody | undefined;
  before: OpenDelivery | undefined = undefined;
  after: OpenDelivery | undefined = undefined;
  readonly #consumption: Consumption;
  #settled = false;

  constructor(
    task: ReceivedTask,
    { bodyPos, deliveryTag, isLeftOut, received, receivedEnd, receivedStart }: IncomingMessage,
    passedOn: PassedBody | undefined,
    consumption: Consumption,
  ) {
    this.task = task;
    this.tag = deliveryTag;
    this.bodyBytes = isLeftOut ? 0 : bodyPos;
    this.bytes = this.bodyBytes + (received === undefined ? 0 : receivedEnd - receivedStart);
    this.leftOut = isLeftOut ? bodyPos : 0;
    this.passedOn = passedOn;
    this.#consumption = consumption;
  }

  /** The broker still waits for this delivery to be settled. */
  get live(): boolean {
    return !this.#settled && !this.#consumption.isEnded;
  }

  /** Its channel has ended before it was settled: the broker delivers it again. */
  get comesBack(): boolean {
    return !this.#settled && this.#consumption.isEnded;
  }

  /** Aborts when its channel has ended. */
  get lost(): AbortSignal {
    return this.#consumption.lost;
  }

  /** The work is done. Returns false when it is too late: the broker will deliver it again. */
  ack(): boolean {
    if (!this.#settle()) return false;
    this.#consumption.acknowledgements.acknowledge(this);
    return true;
  }

  /**
   * Puts it back to its place (basic.nack, requeue). Quorum queues count this as they count a crash,
   * so whoever wants to give a task back asks the settler, which knows what to do about it.
   */
  release(): boolean {
    if (!this.#settle()) return false;
    this.#consumption.acknowledgements.settled(this);
    // A send fails only when the connection has ended, and then the broker requeues by itself.
    this.#consumption.channel.basicNack(this.tag, true).catch(() => {});
    return true;
  }

  #settle(): boolean {
    if (!this.live) return false;
    this.#settled = true;
    this.#consumption.settlements.note();
    return true;
  }
}

/** One life of a consumer: one connection, one channel, one consumer tag. */
export class Consumption {
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
  /** Written by deliveries. */
  readonly acknowledgements: Acknowledgements;
  readonly #keepsOrder: boolean;
  readonly #credit: Credit;
  /** Of the consumer that the broker sends to; undefined: it sends nothing. */
  #tag: string | undefined;
  /** Most tasks that are sent before they are settled, and what that is to become. */
  #limit: number;
  #wanted: number;
  /** No task shall come for now. */
  #held = false;
  #draining = false;
  /** A task is asked for just now. */
  #pulling = false;
  /** Changes between consuming and not, one after the other. */
  #changes: Promise<void> = Promise.resolve();
  /** Of the message that comes just now. */
  #passedOn: PassedBody | undefined;
  /** Came before consume-ok was seen; handed on by `flow`. */
  #early: Delivery[] | undefined = [];

  constructor(transport: Transport, channel: AMQPChannel, options: ConsumptionOptions) {
    this.transport = transport;
    this.channel = channel;
    this.#queue = options.queue.name;
    this.#limit = this.#wanted = options.prefetch;
    this.#keepsOrder = options.keepsOrder ?? false;
    this.acknowledgements = new Acknowledgements((tag, multiple) => {
      // As with what is given back.
      channel.basicAck(tag, multiple).catch(() => {});
    }, options.gathers);
    this.#credit = new Credit(this.acknowledgements, () => this.#ready());
    if (options.priority !== undefined) this.#args = { "x-priority": options.priority };
    this.ended = new Promise((resolve) => this.#resolveEnded = resolve);
  }

  static async start(
    transport: Transport,
    options: ConsumptionOptions,
    held: boolean,
  ): Promise<Consumption> {
    await ensureWorkQueue(transport, options.queue);
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
    if (options.room !== undefined) {
      limitBodies(channel, options.room, (message) => consumption.#passOn(message, options));
    }
    readLater(channel, options.sharesBodies ?? false);
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
  async untilSettlementsArrive(): Promise<void> {
    this.acknowledgements.flush();
    if (this.#isEnded || this.transport.server.product !== "RabbitMQ") return;
    if (!await this.settlements.untilSentOn()) return;
    // The answer comes behind what the channel had to do until now.
    const question = this.channel.queueDeclare(this.#queue, { passive: true });
    await deadline(question, ANSWER_MS, () => new Error("late")).catch(() => {});
  }

  /** Lets the broker send tasks or not; resolves when it does so. Never rejects. */
  async hold(held: boolean): Promise<void> {
    this.#held = held;
    await this.#change();
  }

  /**
   * Has at most so many tasks sent before they are settled. Never rejects.
   *
   * One change makes one consumer, whatever is wanted meanwhile: what is on its way to a consumer that
   * ends, RabbitMQ gives to the next one behind other tasks.
   */
  async limit(prefetch: number): Promise<void> {
    this.#wanted = prefetch;
    this.#changes = this.#changes.then(async () => {
      if (this.#isEnded || this.#draining || this.#limit === this.#wanted) return;
      // The limit of a consumer is the one that held when it began.
      if (this.#tag !== undefined) await this.#stopConsuming(this.#tag, this.#wanted > this.#limit);
      this.#limit = this.#wanted;
      await this.transport.request("basic.qos", this.channel.basicQos(this.#limit));
      await this.#changeNow();
    }).catch(() => {}); // as below
    await this.#changes;
  }

  /** Asks for one task (basic.get), which is handed on as any other. Never rejects. */
  async pull(options: ConsumptionOptions): Promise<void> {
    this.#changes = this.#changes.then(async () => {
      if (this.#isEnded || this.#draining) return;
      this.#pulling = true;
      const message = await this.transport.request(
        "basic.get",
        this.channel.basicGet(this.#queue, { noAck: false }),
      );
      this.#pulling = false;
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
    else await this.#stopConsuming(this.#tag!, this.#keepsOrder);
  }

  async #consume(): Promise<void> {
    this.#credit.begin(this.#limit);
    const { tag } = await this.transport.request(
      "basic.consume",
      this.channel.basicConsume(this.#queue, { noAck: false, args: this.#args }, () => {}),
    );
    this.#tag = tag;
  }

  async #ready(): Promise<number> {
    const question = this.channel.queueDeclare(this.#queue, { passive: true });
    return (await this.transport.request("queue.declare", question)).messageCount;
  }

  /** @param inOrder what is on its way comes before, which may take a while */
  async #stopConsuming(tag: string, inOrder: boolean): Promise<void> {
    this.#tag = undefined;
    try {
      if (inOrder && this.transport.server.product === "RabbitMQ") await this.#credit.useUp();
      await this.transport.request("basic.cancel", this.channel.basicCancel(tag));
    } finally {
      this.acknowledgements.release();
    }
  }

  /** A body begins that is left out. */
  #passOn(message: AMQPMessage, { passOn }: ConsumptionOptions): BodySink | undefined {
    const task = taskOf(message, this.#queue);
    const passed = this.#passedOn = passOn?.(task, message.bodySize!, this.lost);
    return passed && {
      write: (part) => {
        const room = passed.write(part);
        if (room !== undefined) this.transport.readAfter(room);
      },
    };
  }

  #onMessage(message: AMQPMessage, options: ConsumptionOptions): void {
    const passedOn = this.#passedOn;
    this.#passedOn = undefined;
    if (this.#isEnded) return;
    const task = taskOf(message, this.#queue);
    const delivery = new Delivery(task, incoming(message), passedOn, this);
    this.acknowledgements.came(delivery);
    this.#credit.came();
    if (this.#early !== undefined) this.#early.push(delivery);
    else this.#hand(delivery, options.onDelivery);
  }

  #end(cause: ToolError): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    const error = this.#pulling ? this.#pullRefused(cause) : cause;
    this.#lost.abort(error);
    this.#credit.end();
    this.acknowledgements.end();
    this.#resolveEnded(error);
  }

  #pullRefused(cause: ToolError): ToolError {
    if (!(cause instanceof ChannelError) || cause.replyCode !== 405) return cause;
    return new PullRefused(
      "strict order needs queues that give single tasks (basic.get), and the queue " +
        `${JSON.stringify(this.#queue)} does not: ${cause.message}`,
      EXIT.conflict,
      { cause },
    );
  }
}
