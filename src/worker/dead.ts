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
import { pause } from "../time/timer.ts";
import { type Departure, Departures } from "./departures.ts";

type Channel = Awaited<ReturnType<Transport["openChannel"]>>;

/**
 * Brokers drop a task that was given back too often (RabbitMQ 4.0: 20 times), and looking is giving
 * back: before that it is put on the queue anew.
 */
const RENEW_AT_DELIVERIES = 10;

/**
 * Tasks on their way at a time. A channel of RabbitMQ keeps acknowledgements back while 32 of them
 * are not written by a quorum queue, and loses them when it is closed; the answers to the next
 * round say that those of this one are.
 */
const ROUND = 16;
/** Bytes of their bodies, where that can be foreseen; and how large the first one may be. */
const ROUND_BYTES = 8 * 1024 * 1024;
const FIRST_BYTES = 1024 * 1024;
/** By how much the largest body seen counts less with each that comes after it. */
const FORGOTTEN = 0.9;

/**
 * A quorum queue of RabbitMQ has back what a channel held some time after that has ended: so long is
 * waited for it, as somebody else may have taken it. Milliseconds, as are the first and the longest
 * pause between two looks.
 */
const BACK_WITHIN_MS = 2_000;
const FIRST_PAUSE_MS = 5;
const LONGEST_PAUSE_MS = 160;

/** A task in the dead queue. */
interface DeadTask {
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

/** What is to be done with a task that was looked at. */
interface Verdict extends Departure {
  /** In the dead queue. */
  readonly stays: boolean;
}

/** What can be done with a task that was taken. */
interface Means {
  /** Acknowledges it: it is gone from the dead queue. */
  readonly remove: () => Promise<void>;
  /** Resolves when a copy of it is confirmed. */
  readonly publish: (queue: string, task: Task, properties: TaskProperties) => Promise<void>;
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
    return await this.#visit(selection, (task) => stays(() => onTask(task)));
  }

  /**
   * Puts the tasks selected back on the queue they came from, as if they had never been tried. Each
   * is confirmed there before it is gone here; many are on their way at a time.
   *
   * @returns how many were replayed
   * @throws {ToolError} of those that were on their way some are replayed, and told of
   */
  async replay(options: ReplayOptions): Promise<number> {
    const known = new Set<string>();
    let replayed = 0;
    await this.#visit(options, async (task, { remove, publish }) => {
      const { replays } = readHistory(task);
      if (replays >= options.maxReplays) return stays(() => options.onTask(task, "kept"));
      replayed++;
      const tell = () => options.onTask(task, "replayed");
      if (options.dryRun) return stays(tell);
      const target = originQueue(task.properties) ?? this.#queue;
      if (!known.has(target)) {
        await ensureQueue(this.#transport, workQueue(target, options.queueType));
        known.add(target);
      }
      const leave = async () => {
        await publish(target, task, replayProperties(task.properties, replays + 1));
        await remove();
      };
      return { leave, tell, stays: false };
    });
    return replayed;
  }

  /** Removes the tasks selected for good. @returns how many */
  async purge(
    selection: DeadSelection,
    onTask: (task: Task) => Promise<void> | void,
    dryRun: boolean,
  ): Promise<number> {
    return await this.#visit(selection, (task, { remove }) => {
      if (dryRun) return stays(() => onTask(task));
      // What nobody was told of stays.
      const tell = async () => {
        await onTask(task);
        await remove();
      };
      return { leave: nothing, tell, stays: false };
    });
  }

  /**
   * Takes tasks in their order without giving any back before the end, so that each is seen once.
   * Only those that are there at the start: replayed ones may die again meanwhile.
   *
   * @param visit called for one after the other
   * @returns how many were visited
   */
  async #visit(
    selection: DeadSelection,
    visit: (task: Task, means: Means) => Promise<Verdict> | Verdict,
  ): Promise<number> {
    const present = await this.#count();
    const channel = await this.#transport.openChannel();
    const departures = new Departures();
    let publisher: Promise<Publisher> | undefined;
    const publish: Means["publish"] = async (queue, task, properties) => {
      await (await (publisher ??= Publisher.open(this.#transport))).publish({
        exchange: "",
        routingKey: queue,
        body: task.body,
        properties,
        original: task,
      });
    };
    let largest = FIRST_BYTES;
    let visited = 0;
    let kept = 0;
    try {
      this.#left = present;
      while (this.#left > 0 && visited < selection.max) {
        // Never more than may be looked at: what was taken in vain counts as one more delivery.
        const most = Math.min(roundFor(largest), this.#left, selection.max - visited);
        const round = await Promise.all(Array.from({ length: most }, () => this.#take(channel)));
        for (const dead of round) {
          // Somebody else may have taken some.
          this.#left = dead === undefined ? 0 : Math.max(0, this.#left - 1);
          if (dead === undefined) continue;
          const { task, tag } = dead;
          largest = Math.max(task.body.length, largest * FORGOTTEN);
          const remove = () => {
            return this.#transport.request("acknowledging a task", channel.basicAck(tag));
          };
          const means = { remove, publish };
          const verdict = isSelected(task, selection)
            ? (visited++, await visit(task, means))
            : stays(nothing);
          if (verdict.stays) kept++;
          departures.begin(this.#orRenewed(verdict, task, means));
        }
        await departures.done();
      }
    } finally {
      await departures.settled();
      await (await publisher?.catch(() => undefined))?.close().catch(() => {});
      // Everything still unacknowledged returns. Without the answer nobody knows what is gone.
      await this.#transport.request("closing a channel", channel.close());
    }
    if (kept > 0) await this.#untilBack(kept + this.#left);
    return visited;
  }

  /** Resolves when so many are there: whoever looks next is to see them all. */
  async #untilBack(least: number): Promise<void> {
    const until = performance.now() + BACK_WITHIN_MS;
    for (let ms = FIRST_PAUSE_MS; await this.#count() < least; ms *= 2) {
      if (performance.now() > until) return;
      await pause(Math.min(ms, LONGEST_PAUSE_MS));
    }
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

  /** One that stays is put on the queue anew where it was given back too often. */
  #orRenewed(verdict: Verdict, task: Task, means: Means): Departure {
    if (!verdict.stays || deliveries(task) < RENEW_AT_DELIVERIES) return verdict;
    return { leave: () => this.#renew(task, means), tell: verdict.tell };
  }

  async #renew(task: Task, { publish, remove }: Means): Promise<void> {
    const { attempts } = readHistory(task);
    const origin = originQueue(task.properties) ?? this.#queue;
    const properties: TaskProperties = parkedProperties(
      { properties: task.properties, queue: origin },
      { attempts },
      0,
    );
    await publish(this.#name, task, properties);
    await remove();
  }
}

/** The task stays in the dead queue. */
function stays(tell: Departure["tell"]): Verdict {
  return { leave: nothing, tell, stays: true };
}

async function nothing(): Promise<void> {}

/** @param largest bytes of the largest body of late */
function roundFor(largest: number): number {
  return Math.max(1, Math.min(ROUND, Math.floor(ROUND_BYTES / largest)));
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
