/**
 * Forwards tasks: publishes each to another broker. A task is done when that broker has confirmed it,
 * and will never work when that broker refuses it for good; for everything else it waits.
 */
import type { Connector } from "../amqp/connection.ts";
import {
  ensureQueue,
  ensureWorkQueue,
  type QueuePolicy,
  requireExchange,
} from "../amqp/declare.ts";
import { encodeFields, extendProperties } from "../amqp/client/extended_properties.ts";
import { Parcel } from "../amqp/parcels.ts";
import type { Publication } from "../amqp/publisher.ts";
import { Relay } from "../amqp/relay.ts";
import type { Transport } from "../amqp/transport.ts";
import type { ToolError } from "../errors.ts";
import type { Logger } from "../observe/log.ts";
import { type Metric, single } from "../observe/metrics.ts";
import { type DirectHandler, type DirectRun, DONE, INTERRUPTED } from "../task/handler.ts";
import {
  forwardCount,
  forwardedHeaders,
  forwardedProperties,
  isForwardedByAddition,
} from "../task/forwarding.ts";
import { lifetimeLeft, originalRoute, readHistory } from "../task/headers.ts";
import { hasId, type ReceivedTask, type TaskProperties } from "../task/task.ts";
import { beginWait, delayQueue, type QueueType, STANDARD_TIERS } from "../task/topology.ts";
import { LinkNews } from "./link_news.ts";

/** Where tasks go on the other broker. */
export type Destination =
  /** To a queue there, by the queue here. */
  | { readonly queues: ReadonlyMap<string, QueuePolicy> }
  /** To an exchange there; without a key each goes with its own. */
  | { readonly exchange: string; readonly routingKey: string | undefined };

/** The worker around it. */
export interface ForwardingWorker {
  hold(holder: object, what: string): void;
  release(holder: object): void;
  giveUp(status: number, reason: string): Promise<void>;
  /** Tasks that wait on its queues; undefined: nobody knows. */
  ready(): Promise<number | undefined>;
  /** `running`: tasks in hand, those included that are not sent yet. */
  describe(): Readonly<Record<string, number>>;
}

export interface ForwardOptions {
  readonly connector: Connector;
  readonly destination: Destination;
  /** Type of delay queues there that have to be created. */
  readonly delayQueueType: QueueType;
  /** This host and the broker that tasks come from, for the header. */
  readonly host: string;
  readonly broker: string;
  /** A task that was forwarded so often before is dead. */
  readonly maxHops: number;
  /** After so long without a link, tasks in hand go back to their queue, in milliseconds. */
  readonly patience: number;
  /** After so long without a link the worker ends, in milliseconds; undefined: never. */
  readonly endsAfter: number | undefined;
  /** A trace is written into the headers of each. */
  readonly traced: boolean;
  readonly log: Logger;
}

export class ForwardHandler implements DirectHandler {
  readonly #options: ForwardOptions;
  readonly #news: LinkNews;
  readonly #relay: Relay;
  readonly #shipping: Shipping;
  #worker: ForwardingWorker | undefined;

  constructor(options: ForwardOptions) {
    this.#options = options;
    const { connector, log, patience, endsAfter } = options;
    const target = connector.describe();
    const news = new LinkNews({
      log,
      target,
      endsAfter,
      waiting: async () => {
        const ready = await this.#worker?.ready();
        // Those in hand, too, that --rate holds back and the relay does not know yet.
        return ready === undefined ? undefined : ready + this.#worker!.describe().running!;
      },
    });
    this.#news = news;
    this.#shipping = { options, stamp: new Stamp(options), bytes: 0 };
    this.#relay = new Relay({
      connector,
      patience,
      prepare: (transport) => this.#prepare(transport),
      onAway: (why) => {
        this.#worker?.hold(this, target);
        news.went(why);
      },
      onBack: async () => {
        await news.back();
        if (this.#relay.isUp) this.#worker?.release(this);
      },
      onUnable: (error) => {
        this.#worker?.giveUp(error.exitCode, error.message);
      },
    });
  }

  /** Connects; until there is a link the worker takes no tasks. */
  start(worker: ForwardingWorker): void {
    this.#worker = worker;
    worker.hold(this, this.#options.connector.describe());
    this.#relay.start();
  }

  begin(task: ReceivedTask, run: DirectRun): void {
    const hops = forwardCount(task);
    const { maxHops } = this.#options;
    if (hops >= maxHops) {
      const reason = `a task may be forwarded ${maxHops} times (--max-hops), and this one was`;
      return run.end({ kind: "rejected", reason });
    }
    if (task.isPlain !== true && task.receivedProperties === undefined) {
      // A copy would be without them.
      return run.end({ kind: "rejected", reason: "its properties cannot be read" });
    }
    this.#relay.add(new Shipment(task, hops + 1, this.#shipping, run));
  }

  /**
   * Sends nothing more, and gives it back when `stopped` resolves; what is on its way has until
   * `overdue` aborts to be confirmed.
   */
  drain(overdue: AbortSignal, stopped: Promise<unknown>): void {
    this.#relay.drain(stopped);
    overdue.addEventListener("abort", () => this.#relay.giveBackAll());
  }

  /** Ends the link; what is not confirmed goes back. */
  async close(): Promise<void> {
    await this.#relay.close();
    this.#news.end();
  }

  /** Tasks that may be there twice, because a link ended before they were confirmed. */
  get repeats(): number {
    return this.#relay.repeats;
  }

  /** Bytes of the bodies that were forwarded. */
  get bytes(): number {
    return this.#shipping.bytes;
  }

  metrics(): Metric[] {
    const { isUp, losses, repeats } = this.#relay;
    return [
      single(
        "gauge",
        "workqueue_forward_link_up",
        "1 while tasks can be sent to the other broker, else 0.",
        isUp ? 1 : 0,
      ),
      single(
        "counter",
        "workqueue_forward_links_lost_total",
        "How often nothing could be sent any more.",
        losses,
      ),
      single(
        "counter",
        "workqueue_forward_repeats_total",
        "Tasks that may be there twice: unconfirmed when a link ended, and sent again.",
        repeats,
      ),
      single(
        "counter",
        "workqueue_forward_body_bytes_total",
        "Bytes of the bodies of forwarded tasks.",
        this.bytes,
      ),
    ];
  }

  async #prepare(transport: Transport): Promise<void> {
    const { destination } = this.#options;
    if ("exchange" in destination) return await requireExchange(transport, destination.exchange);
    const queues = new Map([...destination.queues.values()].map((queue) => [queue.name, queue]));
    for (const queue of queues.values()) await ensureWorkQueue(transport, queue);
  }
}

/** Of a copy whose properties are there as bytes. */
const ENCODED: TaskProperties = {};

/** What a task says may depend on how long it was in hand. */
function isTimed(task: ReceivedTask): boolean {
  if (task.isPlain === true) return false;
  const { expiration, headers } = task.properties;
  return expiration !== undefined || headers !== undefined;
}

/** What all shipments share. */
interface Shipping {
  readonly options: ForwardOptions;
  readonly stamp: Stamp;
  /** Of the bodies of those that have arrived. */
  bytes: number;
}

/** The headers that most tasks get, as bytes: those of one millisecond get the same. */
class Stamp {
  readonly #options: ForwardOptions;
  #at = 0;
  #queue = "";
  #sent = 0;
  #redelivered = false;
  #fields: Uint8Array = new Uint8Array();

  constructor(options: ForwardOptions) {
    this.#options = options;
  }

  fields(queue: string, sent: number, redelivered: boolean): Uint8Array {
    const at = Date.now();
    if (
      at !== this.#at || queue !== this.#queue || sent !== this.#sent ||
      redelivered !== this.#redelivered
    ) {
      const { broker, host } = this.#options;
      const time = new Date(at).toISOString();
      const forwarding = { count: 1, host, broker, queue, at: time, sent, redelivered };
      this.#fields = encodeFields(forwardedHeaders(forwarding));
      this.#at = at;
      this.#queue = queue;
      this.#sent = sent;
      this.#redelivered = redelivered;
    }
    return this.#fields;
  }
}

/** A task on its way. */
class Shipment extends Parcel {
  readonly #task: ReceivedTask;
  readonly #hops: number;
  readonly #shipping: Shipping;
  readonly #run: DirectRun;
  /** When it came, where it says how long it waits or lives; undefined: it does not. */
  readonly #since: number | undefined;
  readonly #waitMs: number;
  /** One that has none gets one, the same each time it is sent. */
  readonly #id: string | undefined;
  #sent = 0;
  /** Where it waits, as long as it is not due. */
  #waiting: { readonly tierMs: number; readonly leftMs?: number } | undefined = undefined;

  constructor(
    task: ReceivedTask,
    hops: number,
    shipping: Shipping,
    run: DirectRun,
  ) {
    super();
    this.#task = task;
    this.#hops = hops;
    this.#shipping = shipping;
    this.#run = run;
    this.#since = isTimed(task) ? performance.now() : undefined;
    this.#waitMs = this.#since === undefined ? 0 : readHistory(task).waitMs ?? 0;
    this.#id = hasId(task) ? undefined : crypto.randomUUID();
  }

  override get encodedId(): string {
    return this.#id ?? this.#task.id;
  }

  /** How long it has been in hand, in milliseconds; 0 where nothing depends on that. */
  get #heldMs(): number {
    return this.#since === undefined ? 0 : performance.now() - this.#since;
  }

  get need(): Parcel["need"] {
    if (this.#waitMs === 0) return undefined;
    const { delayQueueType, destination } = this.#shipping.options;
    const left = this.#waitMs - this.#heldMs;
    this.#waiting = left > 0 ? beginWait(Math.ceil(left), STANDARD_TIERS) : undefined;
    if (this.#waiting === undefined || "exchange" in destination) return undefined;
    const queue = delayQueue(this.#queue!.name, this.#waiting.tierMs, delayQueueType);
    return { name: queue.name, ensure: (transport) => ensureQueue(transport, queue) };
  }

  load(): Publication | undefined {
    const { destination } = this.#shipping.options;
    const task = this.#task;
    const heldMs = this.#heldMs;
    const left = this.#since === undefined ? undefined : lifetimeLeft(task.properties, heldMs);
    if (left !== undefined && left <= 0) {
      this.#run.end({ kind: "rejected", reason: "expired before it could be sent" });
      return undefined;
    }
    this.#sent++;
    if ("exchange" in destination) {
      const wait = Math.ceil(Math.max(0, this.#waitMs - heldMs));
      const waiting = wait === 0 ? undefined : { queue: undefined, leftMs: wait };
      const { exchange, routingKey = originalRoute(task).routingKey } = destination;
      return this.#publication(exchange, routingKey, heldMs, waiting);
    }
    const queue = this.#queue!.name;
    if (this.#waiting === undefined) return this.#publication("", queue, heldMs);
    const { tierMs, leftMs } = this.#waiting;
    const { name } = delayQueue(queue, tierMs);
    return this.#publication("", name, heldMs + tierMs, { queue, leftMs });
  }

  onArrived(): void {
    // Of one that is traced the publisher keeps a note of its own.
    this.#shipping.bytes += this.size || this.#task.body.length;
    this.#run.end(DONE);
  }

  onRefused(error: ToolError): void {
    this.#run.end({ kind: "rejected", reason: error.message });
  }

  onGivenBack(): void {
    this.#run.end(INTERRUPTED);
  }

  get #queue(): QueuePolicy | undefined {
    const { destination } = this.#shipping.options;
    return "queues" in destination ? destination.queues.get(this.#task.queue) : undefined;
  }

  #publication(
    exchange: string,
    routingKey: string,
    passedMs: number,
    waiting?: { readonly queue: string | undefined; readonly leftMs: number | undefined },
  ): Publication {
    const { options: { broker, host, traced }, stamp } = this.#shipping;
    const task = this.#task;
    if (waiting === undefined && !traced && isForwardedByAddition(task)) {
      const fields = stamp.fields(task.queue, this.#sent, task.redelivered);
      const id = this.#id === undefined ? undefined : new TextEncoder().encode(this.#id);
      const { bytes, start, end } = task.receivedIn ?? { bytes: task.receivedProperties! };
      const encoded = extendProperties(bytes, fields, id, start, end);
      if (encoded !== undefined) {
        return { exchange, routingKey, body: task.body, properties: ENCODED, encoded };
      }
    }
    const properties = forwardedProperties(
      task,
      {
        count: this.#hops,
        host,
        broker,
        queue: task.queue,
        at: new Date().toISOString(),
        sent: this.#sent,
        redelivered: task.redelivered,
      },
      passedMs,
      waiting,
    );
    if (this.#id !== undefined) properties.messageId = this.#id;
    return { exchange, routingKey, body: task.body, properties, original: task };
  }
}
