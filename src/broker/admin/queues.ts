/** Queues, their consumers and what is being worked on, as people see them. */

import { Consumer } from "../channel/consumer.ts";
import { Consuming } from "../channel/consuming.ts";
import type { Delivery } from "../channel/unacked.ts";
import type { Session } from "../connection/session.ts";
import type { Inside } from "./inside.ts";
import { describeMessage, plain } from "./messages.ts";
import type { Sampler } from "./sampler.ts";
import type { Pieces } from "./slices.ts";
import type { Queue } from "../queue/queue.ts";
import { clockShift, now } from "../../time/clock.ts";
import type {
  ConnectionInfo,
  ConsumerInfo,
  Found,
  MessageInfo,
  QueueDetail,
  QueueInfo,
} from "../../observe/board.ts";
import { roleOf } from "../../task/topology.ts";

const MOST_CONSUMERS = 200;

/** Deliveries that are looked at in one piece. */
const PIECE = 256;

export function describeQueue(queue: Queue, sampler: Sampler): QueueInfo {
  const { flow, identity, name } = queue;
  const { published, delivered, acked, returned, dead } = flow;
  const oldestAt = sampler.oldestAt(queue);
  const role = roleOf(name);
  const trend = sampler.trend(queue);
  const due = role.kind === "delay" ? dueOf(queue) : undefined;
  return {
    vhost: queue.vhost,
    name,
    ...role,
    type: queue.arguments.type,
    durable: queue.durable,
    exclusive: identity.exclusive,
    paused: flow.paused,
    ready: queue.readyCount,
    unacked: flow.unacked,
    bytes: queue.messages.bytes,
    consumers: queue.consumers.size,
    totals: { published, delivered, acked, returned, dead },
    rates: sampler.rates(queue),
    ...(oldestAt === undefined ? {} : { oldestAt }),
    ...(trend === undefined ? {} : { trend }),
    ...(due === undefined ? {} : { due }),
  };
}

/** Messages of a delay queue leave in the order in which they came. */
function dueOf(queue: Queue): QueueInfo["due"] {
  const [first] = queue.messages.after(undefined, 1);
  const [last] = queue.messages.before(undefined, 1);
  if (first === undefined || last === undefined || first.expiresAt === 0) return undefined;
  const shift = Date.now() - now() - clockShift();
  return { firstAt: first.expiresAt + shift, lastAt: last.expiresAt + shift };
}

export function describeQueueWhole(
  queue: Queue,
  sampler: Sampler,
  sessions: ReadonlyMap<number, Session>,
): QueueDetail {
  return {
    ...describeQueue(queue, sampler),
    arguments: plain(queue.identity.table),
    consumerList: queue.consumers.all().slice(0, MOST_CONSUMERS).map((consumer) => {
      return describeConsumer(consumer as Consumer, sessions);
    }),
    history: sampler.history(queue),
  };
}

function describeConsumer(
  { tag, unacked, prefetch, exclusive, owner }: Consumer,
  sessions: ReadonlyMap<number, Session>,
): ConsumerInfo {
  const connection = (owner as Consuming).connectionId;
  const session = sessions.get(connection);
  return {
    tag,
    connection,
    unacked,
    prefetch,
    exclusive,
    client: session === undefined ? "" : clientOf(session),
    address: session?.peer ?? "",
  };
}

/** What a client calls itself: its connection's name, or its product and version. */
function clientOf({ client: { name, product, version } }: Session): string {
  return name ?? [product, version].filter((part) => part !== undefined).join(" ");
}

/** All that is delivered and not settled, of one queue or of all. */
export function* deliveriesOf(
  inside: Inside,
  queue: Queue | undefined,
): Generator<{ delivery: Delivery; session: Session } | undefined> {
  let count = 0;
  for (const session of [...inside.sessions]) {
    for (const channel of [...session.channels.all()]) {
      for (const delivery of channel.unacked.waiting()) {
        if (queue === undefined || delivery.queue === queue) yield { delivery, session };
        if (++count % PIECE === 0) yield undefined;
      }
    }
  }
}

/** What runs now, what has run longest first. */
export function* running(
  inside: Inside,
  queue: Queue | undefined,
  most: number,
): Pieces<Found[]> {
  const found: { delivery: Delivery; session: Session }[] = [];
  for (const one of deliveriesOf(inside, queue)) {
    if (one === undefined) {
      yield;
      if (found.length > 4 * most) shorten(found, most);
    } else found.push(one);
  }
  shorten(found, most);
  const runs: Found[] = [];
  for (const { delivery, session } of found) {
    runs.push(describeRun(delivery, session));
    yield;
  }
  return runs;
}

function shorten(found: { delivery: Delivery }[], most: number): void {
  found.sort((one, other) => one.delivery.at - other.delivery.at);
  found.length = Math.min(found.length, most);
}

export function describeDelivery(
  { message, queue, at }: Delivery,
  session: Session,
): MessageInfo {
  return {
    ...describeMessage(message, queue.contentOf(message)),
    running: {
      sinceMs: Math.max(0, now() - at),
      connection: session.id,
      client: clientOf(session),
      address: session.peer,
    },
  };
}

/** The same of a delivery of any queue. */
export function describeRun(delivery: Delivery, session: Session): Found {
  const { vhost, name } = delivery.queue;
  return { vhost, queue: name, ...describeDelivery(delivery, session) };
}

export function describeConnection(session: Session): ConnectionInfo {
  const channels = [...session.channels.all()];
  const unacked = channels.reduce((sum, channel) => sum + channel.unacked.size, 0);
  return {
    id: session.id,
    vhost: session.vhost.name,
    user: session.user,
    unacked,
    client: clientOf(session),
    address: session.peer,
    sinceMs: Date.now() - session.since,
    channels: channels.length,
    consumers: channels.reduce((sum, channel) => sum + channel.consumers, 0),
    state: session.state,
    blocked: session.isBlocked,
  };
}
