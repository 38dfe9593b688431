/** A record on its way: what the sender adds to it, and where it has to go. */
import type { QueuePolicy } from "../amqp/declare.ts";
import type { Publication } from "../amqp/publisher.ts";
import { dropsDuplicates, toldById } from "../task/duplicates.ts";
import type { TaskRecord } from "../task/record.ts";
import { schedule } from "../task/schedule.ts";
import type { TaskProperties } from "../task/task.ts";
import type { QueueSpec } from "../task/topology.ts";

/** A task and what has to be there for it. */
export interface Outgoing {
  readonly publication: Publication;
  readonly queue: QueuePolicy;
  /** Where it waits for its time. */
  readonly delayQueue?: QueueSpec | undefined;
}

/** What a sender says of all its tasks; a record's own fields win. */
export interface Defaults {
  /** Queues that records name are treated like it. */
  readonly queue: QueuePolicy;
  readonly properties?: TaskProperties;
  /** Milliseconds; not together with `dueAt`. */
  readonly delayMs?: number | undefined;
  /** Milliseconds since 1970. */
  readonly dueAt?: number | undefined;
  /** Answers are waited for, and so no task may be dropped for having been there before. */
  readonly areAwaited?: boolean;
}

/** What a record has of the sender's making. */
export interface Stamp {
  /** Of a record that has none. */
  readonly id: string;
  /** Somebody has chosen it, so that it stands for one task whenever it comes; default no. */
  readonly isChosen?: boolean;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** A record without what only a record's text has. */
export type Sendable = Omit<TaskRecord, "extra">;

/** @throws {UsageError} its queue's name or its headers do not go with a wait */
export function outgoingOf(record: Sendable, defaults: Defaults, stamp: Stamp): Outgoing {
  const { id, now, isChosen = false } = stamp;
  const queue = record.queue === undefined
    ? defaults.queue
    : { ...defaults.queue, name: record.queue };
  const headers = { ...defaults.properties?.headers, ...record.properties.headers };
  const sent: TaskProperties & { messageId: string } = {
    ...defaults.properties,
    ...record.properties,
    ...(Object.keys(headers).length === 0 ? {} : { headers }),
    messageId: record.properties.messageId ?? id,
    deliveryMode: 2,
    timestamp: new Date(now),
  };
  const isTold = dropsDuplicates(queue.arguments) && !defaults.areAwaited &&
    (isChosen || record.properties.messageId !== undefined);
  const properties = isTold ? toldById(sent) : sent;
  const own = record.delayMs !== undefined || record.dueAt !== undefined;
  const { delayMs, dueAt } = own ? record : defaults;
  const waitMs = delayMs ?? (dueAt === undefined ? 0 : dueAt - now);
  const scheduled = schedule({ queue: queue.name, properties }, waitMs, queue.type);
  const publication = {
    exchange: "",
    routingKey: scheduled?.delayQueue.name ?? queue.name,
    body: record.body,
    properties: scheduled?.properties ?? properties,
  };
  return { publication, queue, delayQueue: scheduled?.delayQueue };
}
