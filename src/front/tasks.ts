/** A queue that a program publishes to for as long as it lives. */
import type { Connector } from "../amqp/connection.ts";
import type { QueuePolicy } from "../amqp/declare.ts";
import { EXIT, reason, TaskError, ToolError } from "../errors.ts";
import { readRecord, RecordError, type RecordInput } from "../task/record.ts";
import { DeadTaskError, type TaskAnswer } from "../task/answer.ts";
import { type CallOptions, Calls } from "./calls.ts";
import { type Outgoing, outgoingOf } from "./outgoing.ts";
import { Sender } from "./sender.ts";

/** What `publishMany` sends at a time. */
const WINDOW = { tasks: 1_000, bytes: 16 * 1024 * 1024 };

/** What may wait for its confirm at a time. */
const MOST = { tasks: 10_000, bytes: 64 * 1024 * 1024 };

/** What `publish` and `publishMany` may be told. */
export interface PublishRecordOptions {
  /** Aborted: gives up, and rejects. */
  readonly signal?: AbortSignal;
}

/**
 * A queue to publish to: one connection, made again when it is lost. What was not confirmed by then
 * is sent again with the same id, so that it may be on the queue twice.
 */
export interface Tasks extends AsyncDisposable {
  /**
   * Publishes a task; resolves with its id when the broker has confirmed it.
   *
   * @throws {RecordError} the record is none
   * @throws {ToolError} it was not confirmed in time, and may be on the queue or not; too much waits
   *   for its confirm already (10,000 tasks or 64 MiB); or the broker refuses such tasks
   */
  publish(record: RecordInput, options?: PublishRecordOptions): Promise<string>;

  /**
   * Publishes every task that a source gives, which is asked for more only as they are confirmed;
   * resolves with their number.
   *
   * @throws {ToolError} with the place of the first one that is not confirmed; the source is asked
   *   for no more, and what was on its way has ended
   */
  publishMany(
    records: Iterable<RecordInput> | AsyncIterable<RecordInput>,
    options?: PublishRecordOptions,
  ): Promise<number>;

  /**
   * Publishes a task and waits for its answer: what the worker's command wrote to stdout, or its
   * function returned. Retries are no answers. Nothing says that the task is undone when no answer
   * comes.
   *
   * The connection of calls is one of its own. A call that was not confirmed when it is lost is sent
   * again, as by `publish`; one that was confirmed rejects.
   *
   * @throws {RecordError} the record is none, or has a `reply_to`
   * @throws {DeadTaskError} the task is dead; says why
   * @throws {ToolError} no answer came in time; the connection was lost, or the queue closed; 10,000
   *   calls are under way; or see `publish`
   */
  call(record: RecordInput, options?: CallOptions): Promise<TaskAnswer>;

  /** Waits for what is on its way, at most for its time, and disconnects. Calls under way reject. */
  close(): Promise<void>;
}

export interface TasksOptions {
  readonly connector: Connector;
  /** Of records that name no queue. */
  readonly queue: string;
  /** From `publish` to the confirm, in milliseconds. */
  readonly timeoutMs: number;
}

export class LivingTasks implements Tasks {
  readonly #queue: string;
  readonly #sender: Sender;
  readonly #options: TasksOptions;
  /** Made for the first call. */
  #calls: Calls | undefined;
  #isClosed = false;

  private constructor(options: TasksOptions) {
    this.#options = options;
    this.#queue = options.queue;
    this.#sender = new Sender({ ...options, most: MOST });
  }

  /**
   * Connects, and makes the queue when it is missing.
   *
   * @throws {ToolError}
   */
  static async open(options: TasksOptions): Promise<LivingTasks> {
    const tasks = new LivingTasks(options);
    try {
      await tasks.#sender.prepare(policyOf(options.queue));
    } catch (error) {
      await tasks.close();
      throw error;
    }
    return tasks;
  }

  async publish(record: RecordInput, { signal }: PublishRecordOptions = {}): Promise<string> {
    const { id, task } = this.#outgoing(record);
    await this.#sender.send(task, signal);
    return id;
  }

  async publishMany(
    records: Iterable<RecordInput> | AsyncIterable<RecordInput>,
    { signal }: PublishRecordOptions = {},
  ): Promise<number> {
    const window = new Window();
    const giveUp = () =>
      window.fail(
        window.places,
        new TaskError(`publishing was given up: ${reason(signal!.reason)}`, EXIT.temporary),
      );
    signal?.addEventListener("abort", giveUp);
    if (signal?.aborted) giveUp();
    const source = Symbol.asyncIterator in records
      ? records[Symbol.asyncIterator]()
      : records[Symbol.iterator]();
    try {
      while (!window.failed) {
        const next = await window.unlessFailed(source.next());
        if (next === undefined || next.done) break;
        const { task } = this.#outgoing(next.value);
        const size = task.publication.body.length;
        while (window.isFull(size) && !window.failed) await window.turn();
        if (!window.failed) window.add(size, this.#sendPatiently(task, window, signal));
      }
    } catch (error) {
      window.fail(window.places, error);
    } finally {
      signal?.removeEventListener("abort", giveUp);
      // It may be waiting for input that never comes.
      if (window.failed) Promise.resolve(source.return?.()).catch(() => {});
    }
    while (window.tasks > 0) await window.turn();
    if (!window.failed) return window.confirmed;
    const { place, error } = window.first!;
    if (!(error instanceof ToolError)) throw error;
    throw new ToolError(
      `record ${place + 1} is the first that is not confirmed: ${error.message}`,
      error.exitCode,
      { cause: error },
    );
  }

  async call(record: RecordInput, options: CallOptions = {}): Promise<TaskAnswer> {
    const { task } = this.#outgoing(record);
    if (record.reply_to !== undefined) {
      throw new RecordError(
        "reply_to",
        "be absent from a call, which hears the answer",
        "is there",
      );
    }
    if (this.#isClosed) throw new TaskError("the queue was closed", EXIT.temporary);
    this.#calls ??= new Calls(this.#options);
    const answer = await this.#calls.call(task, options);
    if (answer.outcome === "dead") throw new DeadTaskError(answer);
    return answer;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all([this.#sender.close(), this.#calls?.close()]);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** The program's other tasks may take all the room. */
  async #sendPatiently(task: Outgoing, window: Window, signal?: AbortSignal): Promise<void> {
    while (!this.#sender.hasRoom(task.publication.body.length)) {
      if (window.failed) throw new TaskError("it was not sent", EXIT.temporary);
      await this.#sender.untilOneEnds();
    }
    await this.#sender.send(task, signal);
  }

  /** @throws {RecordError | UsageError} */
  #outgoing(record: RecordInput): { id: string; task: Outgoing } {
    const now = Date.now();
    const read = readRecord(record, { now });
    const id = read.properties.messageId ?? crypto.randomUUID();
    const task = outgoingOf(read, { queue: policyOf(this.#queue) }, { id, now });
    return { id, task };
  }
}

/** What is on its way of one source, and how it went. */
class Window {
  /** Records that the source gave. */
  places = 0;
  tasks = 0;
  confirmed = 0;
  /** The first in the source's order that was not confirmed. */
  first: { readonly place: number; readonly error: unknown } | undefined;
  #bytes = 0;
  #wake: () => void = () => {};

  get failed(): boolean {
    return this.first !== undefined;
  }

  isFull(bytes: number): boolean {
    return this.tasks >= WINDOW.tasks || (this.tasks > 0 && this.#bytes + bytes > WINDOW.bytes);
  }

  /** Waits until something has ended. */
  turn(): Promise<void> {
    return new Promise((resolve) => this.#wake = resolve);
  }

  /** The promise's value, or undefined when something has failed before. */
  async unlessFailed<T>(promise: T | Promise<T>): Promise<T | undefined> {
    if (!(promise instanceof Promise)) return promise;
    let value: { of: T } | undefined;
    const arrived = promise.then((of) => {
      value = { of };
    });
    while (value === undefined && !this.failed) await Promise.race([arrived, this.turn()]);
    return value?.of;
  }

  add(bytes: number, sending: Promise<void>): void {
    const place = this.places++;
    this.tasks++;
    this.#bytes += bytes;
    sending.then(() => this.confirmed++, (error) => this.fail(place, error)).finally(() => {
      this.tasks--;
      this.#bytes -= bytes;
      this.#wake();
    });
  }

  fail(place: number, error: unknown): void {
    if (this.first === undefined || place < this.first.place) this.first = { place, error };
    this.#wake();
  }
}

function policyOf(name: string): QueuePolicy {
  return { name, type: "quorum", strict: false, create: true };
}
