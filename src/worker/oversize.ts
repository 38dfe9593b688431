/**
 * Tasks whose bodies do not fit into the memory of this host. One goes back to its queue a few times,
 * for a worker that has room. Then it is dead, before the broker drops it for having been given back
 * too often (RabbitMQ 4: 20 times): when it comes again, its body goes on to the dead queue piece by
 * piece. Never is it acknowledged before all of it is confirmed there.
 */
import type { BodyStream } from "../amqp/body_stream.ts";
import type { Connector } from "../amqp/connection.ts";
import type { Delivery, PassedBody } from "../amqp/consumption.ts";
import { isLasting, reason, TaskError, ToolError } from "../errors.ts";
import type { Logger } from "../observe/log.ts";
import { deadProperties, readHistory } from "../task/headers.ts";
import { type Bury, MOST_RETURNS } from "../task/retry.ts";
import { type Task, withProperties } from "../task/task.ts";
import { deadQueue, type QueueType } from "../task/topology.ts";
import { sleep } from "../time/sleep.ts";
import type { ReturnLimits } from "./return_limits.ts";

/** How long one is kept before it goes back, doubled for each time; the longest, in milliseconds. */
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 256_000;
/** How long the broker may take to say how often a queue takes one back, in milliseconds. */
const ANSWER_MS = 10_000;
/** How long one that was given back may take to come again before the next one does, in milliseconds. */
const AGAIN_MS = 10_000;
/** Tasks whose returns are remembered. */
const MOST_REMEMBERED = 1_000;

export interface OversizeOptions {
  readonly connector: Connector;
  readonly returnLimits: ReturnLimits;
  /** After so many returns one is dead, but for {@linkcode MOST_RETURNS} and what its queue takes. */
  readonly maxAttempts: number;
  /** Type of dead queues that have to be created. */
  readonly queueType: QueueType;
  /** How long dead tasks are kept, in milliseconds; default for ever. */
  readonly deadTtlMs: number | undefined;
  /** Name of this host, for dead letters. */
  readonly host: string;
  readonly log: Logger;
  /** Nobody may put tasks there before somebody changes something: the worker has to end. */
  readonly onRefused: (exitCode: number, reason: string) => Promise<void>;
}

/** A way to a dead queue that is open. */
interface Way {
  readonly queue: string;
  readonly stream: BodyStream;
  /** Told when a body takes it. */
  readonly onTaken: () => void;
}

export class Oversize {
  readonly #options: OversizeOptions;
  readonly #most: number;
  /** How often tasks went back from here, the last one last: classic queues do not count. */
  readonly #returns = new Map<string, number>();
  /** For the next that comes. */
  #way: Way | undefined;
  /** One after the other: who comes again without a way has gone back in vain. */
  #turn: Promise<void> = Promise.resolve();

  constructor(options: OversizeOptions) {
    this.#options = options;
    this.#most = Math.min(options.maxAttempts, MOST_RETURNS);
  }

  /** See {@linkcode ConsumptionOptions.passOn}. */
  passOn(task: Task, bytes: number, lost: AbortSignal): PassedBody | undefined {
    const way = this.#way;
    if (way === undefined || way.stream.isEnded) return undefined;
    if (way.queue !== task.queue) return undefined;
    if (this.#returnsOf(task, bytes) < this.#mostOf(task)) return undefined;
    this.#way = undefined;
    way.onTaken();
    return this.#passOver(way.stream, task, bytes, lost);
  }

  /**
   * A task has come, and its body is not here. Keeps it for a while.
   *
   * @param ending aborts when the worker is to end: none is kept any longer
   * @param over aborts when it has to: what goes on to the dead queue is not waited for
   * @returns what is decided of it, if it is dead and in its queue; else it is to be given back
   */
  async refuse(
    delivery: Delivery,
    { ending, over }: { readonly ending: AbortSignal; readonly over: AbortSignal },
  ): Promise<Bury | undefined> {
    const { log } = this.#options;
    const { leftOut, passedOn, task } = delivery;
    if (passedOn !== undefined) {
      const giveUp = () => passedOn.abandon("the worker has to end");
      over.addEventListener("abort", giveUp);
      if (over.aborted) giveUp();
      try {
        await passedOn.done;
        this.#returns.delete(keyOf(task, leftOut));
        return buryOf(task, leftOut);
      } catch (error) {
        log.error(`a task cannot be moved to the dead queue: ${reason(error)}`, { id: task.id });
      } finally {
        over.removeEventListener("abort", giveUp);
      }
    }
    const returns = this.#returnsOf(task, leftOut);
    const wake = AbortSignal.any([ending, delivery.lost]);
    await this.#learnLimit(task.queue, wake);
    const most = this.#mostOf(task);
    if (passedOn === undefined) {
      log.error(`${sentence(leftOut)} and goes back to its queue`, { id: task.id });
    }
    // Others have had their time; only what has failed just now takes more.
    if (returns < most || passedOn !== undefined) await sleep(pauseAfter(returns), wake);
    if (wake.aborted) return undefined;
    this.#remember(task, leftOut, returns + 1);
    if (returns + 1 >= most) await this.#prepare(task, wake);
    return undefined;
  }

  /** Ends what is open. */
  close(): void {
    this.#way?.stream.abandon("the worker ends");
  }

  /** Resolves when there is a way for the task, and it is its turn, or the signal aborts. */
  async #prepare({ queue, id }: Task, signal: AbortSignal): Promise<void> {
    const before = this.#turn;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#turn = promise;
    await before;
    const isOpen = this.#way?.queue === queue && !this.#way.stream.isEnded;
    const stream = isOpen ? this.#way!.stream : await this.#open(queue, id, signal);
    if (stream === undefined) return resolve();
    if (this.#way?.stream !== stream) this.#way?.stream.abandon("another one is needed");
    this.#way = { queue, stream, onTaken: resolve };
    sleep(AGAIN_MS, signal).then(resolve);
  }

  /** A way to the dead queue of a queue, however long it takes; undefined: the signal has aborted. */
  async #open(queue: string, id: string, signal: AbortSignal): Promise<BodyStream | undefined> {
    const { connector, deadTtlMs, log, onRefused, queueType } = this.#options;
    const dead = deadQueue(queue, queueType, deadTtlMs);
    const { BodyStream } = await import("../amqp/body_stream.ts");
    for (let failures = 0; !signal.aborted; failures++) {
      try {
        return await BodyStream.open(connector, dead, signal);
      } catch (error) {
        if (!(error instanceof ToolError)) throw error;
        if (signal.aborted) break;
        const where = JSON.stringify(dead.name);
        log.error(`a task cannot be moved to the queue ${where}: ${error.message}`, { id });
        if (isLasting(error)) {
          await onRefused(error.exitCode, error.message);
          break;
        }
        await sleep(pauseAfter(failures), signal);
      }
    }
    return undefined;
  }

  #passOver(
    stream: BodyStream,
    task: Task,
    bytes: number,
    lost: AbortSignal,
  ): PassedBody | undefined {
    try {
      this.#begin(stream, task, bytes);
    } catch (error) {
      if (!(error instanceof TaskError)) throw error;
      this.#options.log.error(`a task is dead, without its headers: ${error.message}`, {
        id: task.id,
      });
      const { headers: _, ...properties } = task.properties;
      this.#begin(stream, withProperties(task, properties), bytes);
    }
    const onLost = () => stream.abandon("the connection that brings the task has ended");
    lost.addEventListener("abort", onLost);
    const done = stream.finish().finally(() => lost.removeEventListener("abort", onLost));
    done.catch(() => {}); // told to who waits for it
    return {
      write: (part) => stream.write(part),
      done,
      abandon: (why) => stream.abandon(why),
    };
  }

  /** @throws {TaskError} our headers find no room beside its own */
  #begin(stream: BodyStream, task: Task, bytes: number): void {
    const { deadTtlMs, host, queueType } = this.#options;
    const { attempts, failure, reason } = buryOf(task, bytes);
    const obituary = { reason, attempts, host, error: failure!.reason };
    stream.begin({
      exchange: "",
      routingKey: deadQueue(task.queue, queueType, deadTtlMs).name,
      body: task.body,
      properties: deadProperties(task, obituary, Date.now()),
      original: task,
    }, bytes);
  }

  async #learnLimit(queue: string, signal: AbortSignal): Promise<void> {
    const known = new AbortController();
    this.#options.returnLimits.learn(queue).then(() => known.abort());
    await sleep(ANSWER_MS, AbortSignal.any([signal, known.signal]));
  }

  #mostOf({ queue }: Task): number {
    return Math.min(this.#most, this.#options.returnLimits.of(queue));
  }

  /** How often it has come and gone back, by what the broker says or we remember. */
  #returnsOf(task: Task, bytes: number): number {
    const { losses } = readHistory(task);
    const remembered = this.#returns.get(keyOf(task, bytes)) ?? 0;
    return Math.max(remembered, losses === Infinity ? 0 : losses);
  }

  #remember(task: Task, bytes: number, returns: number): void {
    const key = keyOf(task, bytes);
    this.#returns.delete(key);
    this.#returns.set(key, returns);
    if (this.#returns.size <= MOST_REMEMBERED) return;
    this.#returns.delete(this.#returns.keys().next().value!);
  }
}

function keyOf({ id, queue }: Task, bytes: number): string {
  return JSON.stringify([queue, id, bytes]);
}

function buryOf(task: Task, bytes: number): Bury {
  const { attempts } = readHistory(task);
  return { kind: "bury", reason: "rejected", attempts, failure: { reason: sentence(bytes) } };
}

function sentence(bytes: number): string {
  return `a task of ${bytes} bytes is too large for the memory of this host`;
}

function pauseAfter(times: number): number {
  return Math.min(FIRST_PAUSE_MS * 2 ** times, LONGEST_PAUSE_MS);
}
