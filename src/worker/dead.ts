/** Looks into the dead queue of a work queue, and takes tasks back out of it. */
import { ensureQueue, inspectQueue, isMissing } from "../amqp/declare.ts";
import { Publisher } from "../amqp/publisher.ts";
import { taskOf } from "../amqp/received_task.ts";
import type { Transport } from "../amqp/transport.ts";
import {
  HEADER,
  originQueue,
  parkedProperties,
  readHistory,
  replayProperties,
} from "../task/headers.ts";
import type { Task, TaskProperties } from "../task/task.ts";
import { deadQueue, type QueueType, workQueue } from "../task/topology.ts";

type Channel = Awaited<ReturnType<Transport["openChannel"]>>;

/**
 * Brokers drop a task that was given back too often (RabbitMQ 4.0: 20 times), and looking is giving
 * back: before that it is put on the queue anew.
 */
const RENEW_AT_DELIVERIES = 10;

/** A task in the dead queue. */
export interface DeadTask {
  readonly task: Task;
  /** Acknowledges it: it is gone from the dead queue. */
  readonly tag: number;
}

/** Which dead tasks are meant. */
export interface DeadSelection {
  /** At most so many are looked at. */
  readonly max: number;
  /** Matches the id, the error or the text of the body. */
  readonly match?: RegExp;
  /** Exactly these ids; "": those without one. */
  readonly ids?: ReadonlySet<string>;
  /** Those for which it is true. */
  readonly only?: (task: Task) => boolean;
}

export interface ReplayOptions extends DeadSelection {
  /** Only say what would be done. */
  readonly dryRun: boolean;
  /** Tasks that were taken back so often stay dead. */
  readonly maxReplays: number;
  readonly queueType: QueueType;
  /** Called for each task, after it is done. */
  readonly onTask: (task: Task, fate: "replayed" | "kept") => Promise<void> | void;
}

/** The dead queue of one work queue, on one connection. */
export class DeadQueue {
  readonly #transport: Transport;
  readonly #queue: string;
  readonly #name: string;
  #left = 0;
  #missing = false;

  constructor(transport: Transport, queue: string) {
    this.#transport = transport;
    this.#queue = queue;
    this.#name = deadQueue(queue).name;
  }

  /** There was no dead queue: no task has died, or the name is another one. */
  get missing(): boolean {
    return this.#missing;
  }

  /** Dead tasks that the last operation did not look at, because it had its `max`. */
  get left(): number {
    return this.#left;
  }

  /**
   * Calls `onTask` for each dead task selected; all stay. The oldest comes first unless somebody has
   * looked before: RabbitMQ's quorum queues mix up what they are given back.
   */
  async list(
    selection: DeadSelection,
    onTask: (task: Task) => Promise<void> | void,
  ): Promise<number> {
    return await this.#visit(selection, async ({ task }) => {
      await onTask(task);
      return false;
    });
  }

  /**
   * Puts the tasks selected back on the queue they came from, as if they had never been tried. Each
   * is confirmed there before it is gone here.
   *
   * @returns how many were replayed
   * @throws {ToolError}
   */
  async replay(options: ReplayOptions): Promise<number> {
    const publisher = await Publisher.open(this.#transport);
    const known = new Set<string>();
    let replayed = 0;
    await this.#visit(options, async ({ task }) => {
      const { replays } = readHistory(task);
      if (replays >= options.maxReplays) {
        await options.onTask(task, "kept");
        return false;
      }
      replayed++;
      if (options.dryRun) {
        await options.onTask(task, "replayed");
        return false;
      }
      const target = originQueue(task.properties) ?? this.#queue;
      if (!known.has(target)) {
        await ensureQueue(this.#transport, workQueue(target, options.queueType));
        known.add(target);
      }
      await publisher.publish({
        exchange: "",
        routingKey: target,
        body: task.body,
        properties: replayProperties(task.properties, replays + 1),
        original: task,
      });
      await options.onTask(task, "replayed");
      return true;
    });
    return replayed;
  }

  /** Removes the tasks selected for good. @returns how many */
  async purge(
    selection: DeadSelection,
    onTask: (task: Task) => Promise<void> | void,
    dryRun: boolean,
  ): Promise<number> {
    return await this.#visit(selection, async ({ task }) => {
      await onTask(task);
      return !dryRun;
    });
  }

  /**
   * Takes tasks one after the other without giving any back before the end, so that each is seen
   * once. Only those that are there at the start: replayed ones may die again meanwhile.
   *
   * @param visit returns whether the task is to leave the dead queue
   * @returns how many were visited
   */
  async #visit(
    selection: DeadSelection,
    visit: (dead: DeadTask) => Promise<boolean>,
  ): Promise<number> {
    const present = await this.#count();
    const channel = await this.#transport.openChannel();
    let visited = 0;
    try {
      this.#left = present;
      while (this.#left > 0 && visited < selection.max) {
        const dead = await this.#take(channel);
        // Somebody else may have taken some.
        this.#left = dead === undefined ? 0 : this.#left - 1;
        if (dead === undefined) break;
        const leaves = isSelected(dead.task, selection) && (visited++, await visit(dead));
        if (leaves) await this.#acknowledge(channel, dead);
        else if (deliveries(dead.task) >= RENEW_AT_DELIVERIES) await this.#renew(channel, dead);
      }
      return visited;
    } finally {
      // Everything still unacknowledged returns. Without the answer nobody knows what is gone.
      await this.#transport.request("closing a channel", channel.close());
    }
  }

  async #acknowledge(channel: Channel, { tag }: DeadTask): Promise<void> {
    await this.#transport.request("acknowledging a task", channel.basicAck(tag));
  }

  async #count(): Promise<number> {
    try {
      return (await inspectQueue(this.#transport, this.#name)).messageCount;
    } catch (error) {
      if (!isMissing(error)) throw error;
      this.#missing = true;
      return 0;
    }
  }

  async #take(channel: Channel): Promise<DeadTask | undefined> {
    const message = await this.#transport.request(
      "basic.get",
      channel.basicGet(this.#name, { noAck: false }),
    );
    if (message === null) return undefined;
    return { tag: message.deliveryTag, task: taskOf(message, this.#name) };
  }

  async #renew(channel: Channel, dead: DeadTask): Promise<void> {
    const { task } = dead;
    const publisher = await Publisher.open(this.#transport);
    const { attempts } = readHistory(task);
    const origin = originQueue(task.properties) ?? this.#queue;
    const properties: TaskProperties = parkedProperties(
      { properties: task.properties, queue: origin },
      { attempts },
      0,
    );
    await publisher.publish({
      exchange: "",
      routingKey: this.#name,
      body: task.body,
      properties,
      original: task,
    });
    await this.#acknowledge(channel, dead);
    await publisher.close();
  }
}

function isSelected(task: Task, { ids, only, match }: DeadSelection): boolean {
  if (only !== undefined && !only(task)) return false;
  if (ids !== undefined && !ids.has(task.id)) return false;
  if (match === undefined) return true;
  const error = task.properties.headers?.[HEADER.error];
  return match.test(task.id) || (typeof error === "string" && match.test(error)) ||
    match.test(new TextDecoder().decode(task.body));
}

function deliveries({ properties }: Task): number {
  const count = properties.headers?.["x-delivery-count"];
  return typeof count === "number" ? count : 0;
}
