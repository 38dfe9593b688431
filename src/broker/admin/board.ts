/** The broker as those see it who look after it: all that it tells, and what can be done with it. */

import { dropMessages, purge, replayMessages, sendTask, setPaused } from "./actions.ts";
import { Commits } from "./commits.ts";
import type { Inside } from "./inside.ts";
import {
  groupMessages,
  hasText,
  listMessages,
  MOST_SEARCHED_BYTES,
  requirePlace,
  search,
  wantedOf,
} from "./lookup.ts";
import { describeWhole } from "./messages.ts";
import { brokerMetrics, sumQueues } from "./metrics.ts";
import {
  deliveriesOf,
  describeConnection,
  describeDelivery,
  describeQueue,
  describeQueueWhole,
  describeRun,
  running,
} from "./queues.ts";
import { Refusal } from "./refusal.ts";
import { Sampler } from "./sampler.ts";
import { inSlices, type Pieces, QUEUES_AT_ONCE } from "./slices.ts";
import type { Unsafe } from "./unsafe.ts";
import type { Content } from "../message/content.ts";
import type { Message } from "../message/message.ts";
import type { Place } from "../queue/ready.ts";
import type { Queue } from "../queue/queue.ts";
import type { VirtualHost } from "../routing/virtual_host.ts";
import { Fault } from "../wire/faults.ts";
import { OUR_BROKER } from "../../amqp/protocol.ts";
import type {
  ActionResult,
  ConnectionInfo,
  Found,
  GroupPage,
  History,
  ListRequest,
  MessageDetail,
  MessagePage,
  Overview,
  QueueDetail,
  QueueInfo,
  QueueRef,
  SearchPage,
  SearchRequest,
  Selection,
  Sent,
} from "../../observe/board.ts";
import type { TaskRecord } from "../../task/record.ts";

/** Of tasks that run, how many are looked through for a text. */
const MOST_RUNNING_SEARCHED = 10_000;

export class Board implements Disposable {
  /** Of this run of the broker. */
  readonly instance: string = crypto.randomUUID();
  readonly #inside: Inside;
  readonly #sampler: Sampler;
  readonly #commits = new Commits();
  readonly #listeners = new Set<() => void>();

  constructor(inside: Inside) {
    this.#inside = inside;
    this.#sampler = new Sampler(inside, () => {
      for (const listener of this.#listeners) listener();
    });
    inside.groupCommit.onCommit = (ms) => this.#commits.add(ms);
  }

  [Symbol.dispose](): void {
    this.#sampler.end();
    this.#inside.groupCommit.onCommit = undefined;
    this.#listeners.clear();
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  // -- looking --

  overview(): Promise<Overview> {
    return this.#run(this.#describe());
  }

  *#describe(): Pieces<Overview> {
    const { version, vhosts, sessions, memory, alarms, store } = this.#inside;
    let [queues, ready, unacked] = [0, 0, 0];
    for (const queue of this.#queues()) {
      queues++;
      ready += queue.readyCount;
      unacked += queue.flow.unacked;
      if (queues % QUEUES_AT_ONCE === 0) yield;
    }
    const { reason: alarm, free, used } = alarms;
    return {
      now: Date.now(),
      product: OUR_BROKER,
      version,
      instance: this.instance,
      uptimeMs: this.#sampler.uptimeMs,
      vhosts: [...vhosts.keys()],
      queues,
      connections: sessions.size,
      ready,
      unacked,
      rates: this.#sampler.total(),
      memory: {
        resident: Deno.memoryUsage().rss,
        messages: memory.bytes,
        messagesLimit: memory.limit,
      },
      ...(free === undefined || !store.durable
        ? {}
        : { disk: { free, ...(used === undefined ? {} : { used }) } }),
      ...(alarm === undefined ? {} : { alarm }),
      commits: this.#commits.describe(),
      can: ABILITIES,
    };
  }

  *#queues(): Generator<Queue> {
    for (const vhost of this.#inside.vhosts.values()) yield* vhost.queues;
  }

  queues(): Promise<QueueInfo[]> {
    return this.#run(this.#describeQueues());
  }

  *#describeQueues(): Pieces<QueueInfo[]> {
    const infos: QueueInfo[] = [];
    for (const queue of this.#queues()) {
      infos.push(describeQueue(queue, this.#sampler));
      if (infos.length % QUEUES_AT_ONCE === 0) yield;
    }
    return infos;
  }

  queue(address: QueueRef): QueueDetail {
    const sessions = new Map([...this.#inside.sessions].map((session) => [session.id, session]));
    return describeQueueWhole(this.#queue(address), this.#sampler, sessions);
  }

  /** Of all work queues together. */
  history(): History {
    return this.#sampler.history();
  }

  messages(
    address: QueueRef,
    { end, limit, from }: ListRequest,
  ): Promise<MessagePage> {
    return this.#run(listMessages(this.#queue(address), end, limit, from));
  }

  message(address: QueueRef, key: string): Promise<MessageDetail> {
    return this.#run(this.#whole(this.#queue(address), key));
  }

  *#whole(queue: Queue, key: string): Pieces<MessageDetail> {
    const place = requirePlace(key);
    const message = queue.messages.find(place);
    const counts = queue.arguments.type === "quorum";
    if (message !== undefined) {
      return describeWhole(message, requireContent(queue, message), counts);
    }
    for (const one of deliveriesOf(this.#inside, queue)) {
      if (one === undefined) {
        yield;
        continue;
      }
      const { delivery, session } = one;
      const { lane, position } = delivery.message;
      if (position !== place.position || lane.priority !== place.priority) continue;
      return {
        ...describeWhole(delivery.message, requireContent(queue, delivery.message), counts),
        ...describeDelivery(delivery, session),
      };
    }
    throw new Refusal("missing", "the message is not there any more");
  }

  async running(address: QueueRef | undefined, limit: number): Promise<MessagePage> {
    const queue = address === undefined ? undefined : this.#queue(address);
    return { messages: await this.#run(running(this.#inside, queue, limit)) };
  }

  search({ text, queue, from }: SearchRequest): Promise<SearchPage> {
    const queues = queue === undefined
      ? [...this.#queues()].filter(({ readyCount }) => readyCount > 0)
      : [this.#queue(queue)];
    if (from === undefined) return this.#run(this.#searchAll(queues, text));
    const { at, place } = parseCursor(from);
    const index = queues.findIndex(({ vhost, name }) => vhost === at.vhost && name === at.name);
    return this.#run(search(queues.slice(Math.max(0, index)), text, index < 0 ? undefined : place));
  }

  /** What runs first: that is what one looks for by an id. */
  *#searchAll(queues: readonly Queue[], text: string): Pieces<SearchPage> {
    const wanted = wantedOf(text);
    const only = queues.length === 1 ? queues[0] : undefined;
    const found: Found[] = [];
    let [looked, skipped] = [0, 0];
    for (const one of deliveriesOf(this.#inside, only)) {
      yield;
      if (one === undefined) continue;
      const { delivery, session } = one;
      const { message, queue } = delivery;
      if (message.size > MOST_SEARCHED_BYTES) skipped++;
      else {
        const content = queue.contentOf(message);
        if (content !== undefined && hasText(content, wanted)) {
          found.push(describeRun(delivery, session));
        }
      }
      if (++looked === MOST_RUNNING_SEARCHED) break;
    }
    const page = yield* search(queues, text, undefined);
    return {
      ...page,
      found: [...found, ...page.found],
      looked: looked + page.looked,
      skipped: skipped + page.skipped,
    };
  }

  groups(address: QueueRef): Promise<GroupPage> {
    return this.#run(groupMessages(this.#queue(address)));
  }

  connections(): ConnectionInfo[] {
    return [...this.#inside.sessions].map(describeConnection);
  }

  metrics(): Promise<string> {
    return this.#run(this.#metrics());
  }

  *#metrics(): Pieces<string> {
    const overview = yield* this.#describe();
    const queues = yield* sumQueues(() => this.#queues());
    return brokerMetrics(overview, this.#inside, queues, this.#sampler, this.#commits);
  }

  // -- doing --

  async send(address: QueueRef, record: TaskRecord, instead?: string): Promise<Sent> {
    this.#refuseWhileBlocked();
    const vhost = this.#vhost(address.vhost);
    const edition = instead === undefined
      ? undefined
      : { queue: this.#queue(address), key: instead };
    return await this.#safe(sendTask(vhost, record.queue ?? address.name, record, edition));
  }

  async replay(address: QueueRef, selection: Selection): Promise<ActionResult> {
    this.#refuseWhileBlocked();
    const queue = this.#queue(address);
    const vhost = this.#vhost(queue.vhost);
    return await this.#safe(await this.#run(replayMessages(vhost, queue, selection)));
  }

  async drop(address: QueueRef, selection: Selection): Promise<ActionResult> {
    return await this.#safe(await this.#run(dropMessages(this.#queue(address), selection)));
  }

  async purge(address: QueueRef): Promise<ActionResult> {
    return await this.#safe(purge(this.#queue(address)));
  }

  async setPaused(address: QueueRef, paused: boolean): Promise<{ changed: boolean }> {
    const { changes } = this.#inside.store;
    return await this.#safe(setPaused(this.#queue(address), paused, changes));
  }

  closeConnection(id: number): void {
    const session = [...this.#inside.sessions].find((session) => session.id === id);
    if (session === undefined) {
      throw new Refusal("missing", "the connection is not there any more");
    }
    session.close(new Fault("connection-forced", "closed by an administrator"));
  }

  // -- the rest --

  #vhost(name: string): VirtualHost {
    const vhost = this.#inside.vhosts.get(name);
    if (vhost !== undefined) return vhost;
    throw new Refusal("missing", `there is no virtual host ${JSON.stringify(name)}`);
  }

  #queue({ vhost, name }: QueueRef): Queue {
    const queue = this.#vhost(vhost).findQueue(name);
    if (queue !== undefined) return queue;
    throw new Refusal("missing", `there is no queue ${JSON.stringify(name)}`);
  }

  #refuseWhileBlocked(): void {
    const { reason } = this.#inside.alarms;
    if (reason === undefined) return;
    throw new Refusal("unavailable", `publishers are blocked: ${reason}`);
  }

  #run<T>(pieces: Pieces<T>): Promise<T> {
    return inSlices(this.#inside.scheduler, pieces);
  }

  #safe<T>(done: Unsafe<T>): Promise<T> {
    return done.whenSafe(this.#inside.groupCommit);
  }
}

const ABILITIES: Overview["can"] = [
  "browse",
  "dead",
  "running",
  "consumers",
  "connections",
  "search",
  "pause",
  "purge",
  "send",
  "replay",
  "close",
  "metrics",
];

function requireContent(queue: Queue, message: Message): Content {
  const content = queue.contentOf(message);
  if (content !== undefined) return content;
  throw new Refusal("unavailable", "the message cannot be read from the data file now");
}

function parseCursor(text: string): { at: QueueRef; place: Place } {
  try {
    const [vhost, name, key] = JSON.parse(text) as [string, string, string];
    return { at: { vhost, name }, place: requirePlace(key) };
  } catch {
    throw new Refusal("invalid", "from must be what an earlier answer gave as next");
  }
}
