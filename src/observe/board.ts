/**
 * What a broker tells of itself, and what can be done about it: the data of the page and of its API.
 * What a broker does not tell is absent, never zero. Times are milliseconds, sizes bytes.
 */

export interface QueueRef {
  readonly vhost: string;
  readonly name: string;
}

/** Bytes of a body that are shown in lists, and when one message is looked at. */
export const PREVIEW_BYTES = 160;
export const SHOWN_BYTES = 256 * 1024;

/** Where a list begins, and how long it is. */
export interface ListRequest {
  readonly end: "oldest" | "newest";
  readonly limit: number;
  /** Behind this one of the message before. */
  readonly from?: string;
}

export interface SearchRequest {
  readonly text: string;
  /** Default: all queues. */
  readonly queue?: QueueRef;
  readonly from?: string;
}

/** How the name of a queue tells what it is for; all but "work" belong to a work queue. */
export type QueueKind = "work" | "delay" | "dead" | "start";

export interface QueueInfo {
  readonly vhost: string;
  readonly name: string;
  readonly kind: QueueKind;
  /** The work queue that it belongs to; of a work queue its own name. */
  readonly of: string;
  /** How long messages wait in a delay queue. */
  readonly delayMs?: number;
  readonly type?: string;
  readonly durable?: boolean;
  readonly exclusive?: boolean;
  readonly paused?: boolean;
  readonly ready: number;
  readonly unacked?: number;
  /** Of the bodies of ready messages. */
  readonly bytes?: number;
  readonly consumers: number;
  /** Messages since the broker started. */
  readonly totals?: Totals;
  /** Messages a second, over the last seconds. */
  readonly rates?: Rates;
  /** How many were ready over the last five minutes, roughly; the oldest first. */
  readonly trend?: readonly number[];
  /** Since when, at least, the message waits that is served next; milliseconds since 1970. */
  readonly oldestAt?: number;
  /** When the first and the last message of a delay queue are due; milliseconds since 1970. */
  readonly due?: { readonly firstAt: number; readonly lastAt: number };
}

export interface Totals {
  readonly published: number;
  readonly delivered: number;
  readonly acked: number;
  readonly returned: number;
  /**
   * Given up by the broker: expired, rejected, or over a limit. What a worker gives up after its
   * attempts it sends to the dead queue, where it is among `published`, and acknowledges here.
   */
  readonly dead: number;
}

export interface Rates {
  readonly in: number;
  readonly out: number;
  readonly acked: number;
}

/** Depth and rates over time; the arrays are equally long, the oldest first. */
export interface History {
  /** Milliseconds since 1970. */
  readonly at: readonly number[];
  readonly ready: readonly number[];
  readonly in: readonly number[];
  readonly out: readonly number[];
}

export interface ConsumerInfo {
  readonly tag: string;
  readonly connection: number;
  readonly client: string;
  readonly address: string;
  readonly unacked?: number;
  /** 0: without limit. */
  readonly prefetch: number;
  readonly exclusive: boolean;
}

export interface QueueDetail extends QueueInfo {
  readonly arguments?: Readonly<Record<string, unknown>>;
  readonly consumerList?: readonly ConsumerInfo[];
  readonly history?: History;
}

export interface MessageInfo {
  /** Names it in its queue while it is there. */
  readonly key: string;
  readonly id?: string;
  readonly type?: string;
  readonly size: number;
  readonly redelivered: boolean;
  readonly priority: number;
  readonly attempt?: number;
  /** Why it is dead, when it is. */
  readonly reason?: string;
  readonly error?: string;
  readonly diedAt?: string;
  /** The beginning of its body as text; what is no UTF-8 is replaced. */
  readonly preview: string;
  readonly running?: RunInfo;
}

export interface RunInfo {
  /** How long a consumer has had it. */
  readonly sinceMs: number;
  readonly connection: number;
  readonly client: string;
  readonly address: string;
}

export interface MessageDetail extends MessageInfo {
  readonly exchange: string;
  readonly routingKey: string;
  readonly durable: boolean;
  readonly deliveries?: number;
  /** By their names in AMQP: content_type, correlation_id. */
  readonly properties: Readonly<Record<string, unknown>>;
  readonly headers: Readonly<Record<string, unknown>>;
  /** The body, up to a limit. */
  readonly bodyBase64: string;
  readonly bodyCut: boolean;
}

export interface MessagePage {
  readonly messages: readonly MessageInfo[];
  /** Goes on behind the last one; absent: there are no more. */
  readonly next?: string;
}

export interface Found extends MessageInfo {
  readonly vhost: string;
  readonly queue: string;
}

export interface SearchPage {
  readonly found: readonly Found[];
  /** Messages that were looked at for this answer. */
  readonly looked: number;
  /** Messages that were too large to be looked through. */
  readonly skipped: number;
  /** Goes on where this answer ends; absent: all was looked at. */
  readonly next?: string;
}

/** Dead letters of one reason and type. */
export interface Group {
  readonly reason: string;
  readonly type: string;
  readonly count: number;
  /** The error of one of them. */
  readonly error?: string;
}

export interface GroupPage {
  readonly groups: readonly Group[];
  readonly looked: number;
  /** Only the first messages were looked at. */
  readonly cut: boolean;
}

export interface ConnectionInfo {
  readonly id: number;
  readonly vhost: string;
  readonly user: string;
  readonly client: string;
  readonly address: string;
  readonly sinceMs: number;
  readonly channels: number;
  readonly consumers?: number;
  readonly unacked?: number;
  readonly state: string;
  /** It may not publish now. */
  readonly blocked: boolean;
}

export interface Overview {
  /** What the broker's clock says, in milliseconds since 1970. */
  readonly now: number;
  readonly product: string;
  readonly version?: string;
  /** Of this run of the broker; it says the same to AMQP clients of its machine. */
  readonly instance?: string;
  readonly uptimeMs?: number;
  readonly vhosts: readonly string[];
  readonly queues: number;
  readonly connections?: number;
  /** Of all queues. */
  readonly ready: number;
  readonly unacked?: number;
  /** Of all work queues. */
  readonly rates?: Rates;
  readonly memory?: {
    readonly resident: number;
    readonly messages?: number;
    readonly messagesLimit?: number;
  };
  /** Of the data. */
  readonly disk?: { readonly free: number; readonly used?: number };
  /** Why publishers are blocked. */
  readonly alarm?: string;
  readonly commits?: {
    readonly count: number;
    readonly meanMs: number;
    readonly lastMs: number;
    readonly slowestMs: number;
  };
  /** What can be done with this broker besides looking. */
  readonly can: readonly Ability[];
}

/** "browse": tasks that wait can be looked at; "dead": those that are dead. */
export type Ability =
  | "browse"
  | "dead"
  | "running"
  | "consumers"
  | "connections"
  | "search"
  | "pause"
  | "purge"
  | "send"
  | "replay"
  | "close"
  | "metrics";

/** Which messages of a queue are meant. */
export type Selection =
  | { readonly keys: readonly string[] }
  | { readonly group: { readonly reason: string; readonly type: string } }
  | { readonly all: true };

/** What became of the messages of a selection that an action was asked for. */
export interface ActionResult {
  /** Messages with which it was done. */
  readonly done: number;
  /** Messages that were not there any more: somebody was quicker. */
  readonly gone: number;
  /** Messages that could not be sent, and are where they were, with the reason of the first. */
  readonly failed: number;
  readonly reason?: string;
  /** Where they went. */
  readonly to?: readonly string[];
}

/** What changed since the event before, or all there is in the first one. */
export interface ChangeEvent {
  readonly overview: Overview;
  /** New ones, and those of which a number changed. */
  readonly queues: readonly QueueInfo[];
  /** Queues that are gone. */
  readonly gone: readonly QueueRef[];
  /** These are all queues that there are. */
  readonly whole: boolean;
}

export interface Sent {
  readonly id: string;
  readonly queue: string;
}
