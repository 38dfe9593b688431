/**
 * Any broker, through what AMQP tells of queues that were named and of those around them, and
 * through its management API where there is one. What neither tells is absent.
 */
import type { Connector } from "../amqp/connection.ts";
import { ensureQueue, inspectQueue, isMissing, isPaused } from "../amqp/declare.ts";
import { Publisher } from "../amqp/publisher.ts";
import type { Transport } from "../amqp/transport.ts";
import { ToolError } from "../errors.ts";
import type {
  ActionResult,
  ConnectionInfo,
  GroupPage,
  ListRequest,
  MessageDetail,
  MessagePage,
  Overview,
  QueueDetail,
  QueueInfo,
  QueueRef,
  Selection,
  Sent,
} from "../observe/board.ts";
import { Problem } from "../observe/problem.ts";
import type { TaskRecord } from "../task/record.ts";
import { schedule } from "../task/schedule.ts";
import type { TaskProperties } from "../task/task.ts";
import { deadQueue, delayQueue, type QueueType, roleOf, workQueue } from "../task/topology.ts";
import { DeadTasks } from "./dead_tasks.ts";
import type { Management, Nodes } from "./management.ts";
import type { Source } from "./source.ts";

export interface AmqpSourceOptions {
  readonly connector: Connector;
  readonly vhost: string;
  /** Work queues. With a management API there are more. */
  readonly queues: readonly string[];
  /** Delays that have a queue, in milliseconds. */
  readonly delays: readonly number[];
  /** Of queues that have to be created. */
  readonly queueType: QueueType;
  readonly management?: Management | undefined;
}

/** Milliseconds between two looks at the broker, and at queues that were missing. */
const LOOK_MS = 2_000;
const MISSING_MS = 20_000;

/** Milliseconds after which the management API, which counts each five seconds, knows of a change. */
const COUNTED_MS = 10_000;

export class AmqpSource implements Source, AsyncDisposable {
  readonly #options: AmqpSourceOptions;
  readonly #dead: DeadTasks;
  readonly #listeners = new Set<() => void>();
  /** When a queue was found to be missing. */
  readonly #missing = new Map<string, number>();
  /** When something was done with a queue. */
  readonly #changed = new Map<string, number>();
  #connection: Promise<Transport> | undefined;
  #look: { readonly at: number; readonly queues: Promise<readonly QueueInfo[]> } | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;

  readonly connections?: () => Promise<ConnectionInfo[]>;
  readonly closeConnection?: (id: number) => Promise<void>;

  constructor(options: AmqpSourceOptions) {
    this.#options = options;
    this.#dead = new DeadTasks(() => this.#transport(), options.queueType);
    const { management } = options;
    if (management === undefined) return;
    this.connections = () => management.connections();
    this.closeConnection = (id) => management.close(id);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await (await this.#connection?.catch(() => undefined))?.shutdown();
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    this.#timer ??= setInterval(() => {
      for (const listener of this.#listeners) listener();
    }, LOOK_MS);
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size > 0) return;
      clearInterval(this.#timer);
      this.#timer = undefined;
    };
  }

  /** One for all who ask at the same time. @throws {Problem} 503 */
  async #transport(): Promise<Transport> {
    const former = this.#connection;
    const known = await former?.catch(() => undefined);
    // Others who waited as well may have begun to connect.
    if (this.#connection === former && (known === undefined || known.isEnded)) {
      this.#connection = this.#options.connector.connect();
    }
    try {
      return await this.#connection!;
    } catch (error) {
      if (error instanceof ToolError) throw new Problem(503, error.message);
      throw error;
    }
  }

  // -- looking --

  async overview(): Promise<Overview> {
    const { management, vhost } = this.#options;
    const queues = await this.queues();
    const { server } = await this.#transport();
    const nodes: Nodes = await management?.nodes() ?? {};
    const work = queues.filter(({ kind }) => kind === "work");
    const sum = (read: (queue: QueueInfo) => number) =>
      work.reduce((total, queue) => total + read(queue), 0);
    const tellsUnacked = work.some(({ unacked }) => unacked !== undefined);
    return {
      now: Date.now(),
      product: server.product,
      version: nodes.version ?? server.version,
      vhosts: [vhost],
      queues: queues.length,
      ready: sum(({ ready }) => ready),
      ...(tellsUnacked ? { unacked: sum(({ unacked = 0 }) => unacked) } : {}),
      ...(management === undefined ? {} : {
        rates: {
          in: sum(({ rates }) => rates?.in ?? 0),
          out: sum(({ rates }) => rates?.out ?? 0),
          acked: sum(({ rates }) => rates?.acked ?? 0),
        },
      }),
      ...(nodes.memory === undefined ? {} : { memory: { resident: nodes.memory } }),
      ...(nodes.diskFree === undefined ? {} : { disk: { free: nodes.diskFree } }),
      ...(nodes.alarm === undefined ? {} : { alarm: nodes.alarm }),
      can: [
        "dead",
        "purge",
        "send",
        "replay",
        ...(management === undefined ? [] : ["connections", "consumers", "close"] as const),
      ],
    };
  }

  /** Who asks again in a moment is told the same. */
  async queues(): Promise<readonly QueueInfo[]> {
    const now = Date.now();
    if (this.#look === undefined || now - this.#look.at >= LOOK_MS / 2) {
      this.#look = { at: now, queues: this.#lookAtAll() };
    }
    return await this.#look.queues;
  }

  async #lookAtAll(): Promise<readonly QueueInfo[]> {
    const { management, vhost, queues, delays } = this.#options;
    if (management !== undefined) {
      const infos = await management.queues(vhost);
      return await Promise.all(infos.map((info) => this.#recounted(info)));
    }
    const transport = await this.#transport();
    const names = queues.flatMap((name) => [
      name,
      deadQueue(name).name,
      ...delays.map((ms) => delayQueue(name, ms).name),
    ]);
    const infos = await Promise.all(names.map((name) => this.#lookAt(transport, name)));
    return infos.filter((info) => info !== undefined);
  }

  /** What the management API told of a queue, with the depth that AMQP tells after a change. */
  async #recounted(info: QueueInfo): Promise<QueueInfo> {
    const { name, kind } = info;
    const changed = this.#changed.get(name);
    if (changed === undefined) return info;
    if (Date.now() - changed >= COUNTED_MS) this.#changed.delete(name);
    const ready = (await this.#lookAt(await this.#transport(), name))?.ready ?? info.ready;
    // What was counted as unacknowledged of dead tasks is what we had to look at.
    return { ...info, ready, ...(kind === "dead" ? { unacked: 0 } : {}) };
  }

  async #lookAt(transport: Transport, name: string): Promise<QueueInfo | undefined> {
    if (Date.now() - (this.#missing.get(name) ?? 0) < MISSING_MS) return undefined;
    try {
      const { messageCount, consumerCount } = await inspectQueue(transport, name);
      this.#missing.delete(name);
      const paused = consumerCount === 0 && await isPaused(transport, name);
      return {
        vhost: this.#options.vhost,
        name,
        ...roleOf(name),
        ready: messageCount,
        consumers: consumerCount,
        ...(paused ? { paused } : {}),
      };
    } catch (error) {
      if (isMissing(error)) this.#missing.set(name, Date.now());
      else if (transport.isEnded) throw unavailable(error);
      return undefined;
    }
  }

  async queue({ vhost, name }: QueueRef): Promise<QueueDetail> {
    const { management } = this.#options;
    const queue = (await this.queues()).find((queue) => queue.name === name);
    if (queue === undefined || vhost !== this.#options.vhost) throw missing(name);
    if (management === undefined) return queue;
    return { ...queue, consumerList: await management.consumers(vhost, name) };
  }

  // -- dead tasks --

  messages({ name }: QueueRef, list: ListRequest): Promise<MessagePage> {
    return this.#told(() => this.#dead.list(name, list));
  }

  message({ name }: QueueRef, key: string): Promise<MessageDetail> {
    return this.#told(() => this.#dead.show(name, key));
  }

  groups({ name }: QueueRef): Promise<GroupPage> {
    return this.#told(() => this.#dead.groups(name));
  }

  replay({ name }: QueueRef, selection: Selection): Promise<ActionResult> {
    return this.#done(
      () => this.#dead.replay(name, selection),
      ({ to = [] }) => [name, ...to],
    );
  }

  drop({ name }: QueueRef, selection: Selection): Promise<ActionResult> {
    return this.#done(() => this.#dead.drop(name, selection), () => [name]);
  }

  // -- doing --

  purge({ name }: QueueRef): Promise<ActionResult> {
    return this.#done(async () => {
      const transport = await this.#transport();
      const { messageCount } = await transport.onNewChannel(async (channel) => {
        const purged = await transport.request("queue.purge", channel.queuePurge(name))
          .catch((error) => {
            throw isMissing(error) ? missing(name) : error;
          });
        await transport.request("closing a channel", channel.close());
        return purged;
      });
      return { done: messageCount, gone: 0, failed: 0 };
    }, () => [name]);
  }

  send({ name }: QueueRef, record: TaskRecord, instead?: string): Promise<Sent> {
    return this.#done(async () => {
      const queue = record.queue ?? name;
      if (instead === undefined) return await this.#publish(queue, record, record.properties);
      const properties = await this.#dead.edited(name, instead, record.properties);
      const sent = await this.#publish(queue, record, properties);
      // It is confirmed: a power cut between the two leaves both, never none.
      const { done } = await this.#dead.drop(name, { keys: [instead] });
      if (done > 0) return sent;
      throw new Problem(
        409,
        `it was sent as ${
          JSON.stringify(sent.id)
        }, and somebody was quicker with the one in whose ` +
          "place it was: there may be both",
      );
    }, ({ queue }) => [name, queue]);
  }

  async #publish(queue: string, record: TaskRecord, given: TaskProperties): Promise<Sent> {
    const now = Date.now();
    const id = given.messageId ?? crypto.randomUUID();
    const properties: TaskProperties = {
      ...given,
      messageId: id,
      deliveryMode: 2,
      timestamp: new Date(now),
    };
    const waitMs = record.delayMs ?? (record.dueAt === undefined ? 0 : record.dueAt - now);
    const { queueType } = this.#options;
    const waiting = schedule({ queue, properties }, waitMs, queueType);
    const transport = await this.#transport();
    await ensureQueue(transport, workQueue(queue, queueType));
    if (waiting !== undefined) await ensureQueue(transport, waiting.delayQueue);
    const publisher = await Publisher.open(transport);
    try {
      await publisher.publish({
        exchange: "",
        routingKey: waiting?.delayQueue.name ?? queue,
        body: record.body,
        properties: waiting?.properties ?? properties,
      });
    } finally {
      await publisher.close();
    }
    return { id, queue };
  }

  /**
   * The next look at the queues shows what was done.
   * @param changed names of the queues that it was done with
   */
  async #done<T>(act: () => Promise<T>, changed: (result: T) => readonly string[]): Promise<T> {
    try {
      const result = await this.#told(act);
      for (const name of changed(result)) this.#changed.set(name, Date.now());
      return result;
    } finally {
      this.#missing.clear();
      this.#look = undefined;
    }
  }

  /** What the broker refuses is told to whoever asked. */
  async #told<T>(act: () => Promise<T>): Promise<T> {
    try {
      return await act();
    } catch (error) {
      if (error instanceof ToolError) throw unavailable(error);
      throw error;
    }
  }
}

function missing(name: string): Problem {
  return new Problem(404, `there is no queue ${JSON.stringify(name)}`);
}

function unavailable(error: unknown): Problem {
  return new Problem(503, (error as Error).message);
}
