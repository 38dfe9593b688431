/**
 * Tasks whose answers are waited for, over a connection of their own: answers come back on the
 * channel on which their tasks were published (direct reply-to), and are gone with it.
 */
import type { AMQPMessage } from "@cloudamqp/amqp-client/amqp-message";
import type { Connector } from "../amqp/connection.ts";
import type { QueuePolicy } from "../amqp/declare.ts";
import type { Publisher } from "../amqp/publisher.ts";
import { ConnectionError, EXIT, reason, TaskError, type ToolError, UsageError } from "../errors.ts";
import { ANSWER_HEADER, readAnswer, type TaskAnswer, type TaskProgress } from "../task/answer.ts";
import { formatDuration } from "../task/duration.ts";
import { DIRECT_REPLY_TO } from "../task/topology.ts";
import { after, LONGEST_TIMER_MS, type Timer } from "../time/timer.ts";
import type { Outgoing } from "./outgoing.ts";
import { Sender } from "./sender.ts";
import { heed } from "./signal.ts";

/** Calls that may be under way at a time. */
const MOST_CALLS = 10_000;

/** What may wait for its confirm at a time. */
const MOST = { tasks: MOST_CALLS, bytes: 64 * 1024 * 1024 };

/** What `call` may be told. */
export interface CallOptions {
  /** From the call to its answer, in milliseconds, or Infinity; default 30 s. */
  readonly timeout?: number;
  /** Aborted: waits no longer. */
  readonly signal?: AbortSignal;
  /** Told how far the task is, and when an attempt begins; a few times a second at most. */
  readonly onProgress?: (progress: TaskProgress) => void;
}

const DEFAULT_TIMEOUT_MS = 30_000;

export interface CallsOptions {
  readonly connector: Connector;
  /** From the call to the confirm, in milliseconds. */
  readonly timeoutMs: number;
}

export class Calls {
  readonly #sender: Sender;
  /** By correlation id. */
  readonly #underWay = new Map<string, Call>();
  /** Makes the correlation ids of this object. */
  readonly #prefix = crypto.randomUUID();
  #count = 0;

  constructor(options: CallsOptions) {
    this.#sender = new Sender({
      ...options,
      most: MOST,
      onAnswer: (message) => this.#onAnswer(message),
    });
  }

  /** Calls that wait for their answers. */
  get underWay(): number {
    return this.#underWay.size;
  }

  /** Connects, and makes a queue that is missing. @throws {ToolError} */
  prepare(queue: QueuePolicy | undefined): Promise<void> {
    return this.#sender.prepare(queue);
  }

  /**
   * Sends a task; resolves with its last answer, however the task ended.
   *
   * What was not confirmed when the connection is lost is sent again, with the same id. What was
   * confirmed has lost its answer, and is not sent again: its task may be done already, or later.
   *
   * @throws {UsageError} the timeout is none
   * @throws {ToolError} no answer in time, or the connection was lost (75); or see `Sender.send`
   */
  async call(task: Outgoing, options: CallOptions = {}): Promise<TaskAnswer> {
    checkTimeout(options.timeout);
    const { properties } = task.publication;
    const correlationId = properties.correlationId || `${this.#prefix}.${++this.#count}`;
    this.#admit(correlationId);
    const call = new Call(properties.messageId!, options);
    this.#underWay.set(correlationId, call);
    const headers = options.onProgress === undefined
      ? properties.headers
      : { ...properties.headers, [ANSWER_HEADER.wantsProgress]: true };
    const publication = {
      ...task.publication,
      properties: {
        ...properties,
        ...(headers === undefined ? {} : { headers }),
        replyTo: DIRECT_REPLY_TO,
        correlationId,
      },
    };
    this.#sender.send({ ...task, publication }, call.ended, (publisher) => call.on(publisher))
      .then(() => call.confirm(), (error) => call.fail(error));
    try {
      return await call.answer;
    } finally {
      this.#underWay.delete(correlationId);
      call.end();
    }
  }

  /** Ends the calls that wait for their answers, and disconnects. */
  async close(): Promise<void> {
    const error = (id: string) =>
      new TaskError(`the queue was closed: ${doubtful(id)}`, EXIT.temporary);
    for (const call of this.#underWay.values()) call.fail(error(call.id));
    await this.#sender.close();
  }

  /** @throws {TaskError} */
  #admit(correlationId: string): void {
    if (this.#underWay.size >= MOST_CALLS) {
      throw new TaskError(
        `at most ${MOST_CALLS} calls may be under way, and ${MOST_CALLS} are`,
        EXIT.temporary,
      );
    }
    if (!this.#underWay.has(correlationId)) return;
    throw new TaskError(
      "the correlation id of a call must be its own, and another call under way has " +
        JSON.stringify(correlationId),
      EXIT.badData,
    );
  }

  /** A second answer, and one to a call that has been given up, is for nobody. */
  #onAnswer({ properties, body }: AMQPMessage): void {
    const call = this.#underWay.get(properties.correlationId ?? "");
    call?.hear(readAnswer(call.id, body ?? new Uint8Array(), properties));
  }
}

/** One call. It ends once: by its answer, a failure, its time, or its caller. */
class Call {
  /** Of the task. */
  readonly id: string;
  readonly answer: Promise<TaskAnswer>;
  readonly #options: CallOptions;
  readonly #ended = new AbortController();
  readonly #timer: Timer | undefined;
  #resolve!: (answer: TaskAnswer) => void;
  #reject!: (error: unknown) => void;
  #confirmed = false;
  /** Lets go of the channel on which the answer comes. */
  #release: () => void = () => {};
  readonly #heedNoMore: () => void;
  /** Why no answer can come any more. */
  #lost: ToolError | undefined;

  constructor(id: string, options: CallOptions) {
    this.id = id;
    this.#options = options;
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    const { timeout = DEFAULT_TIMEOUT_MS, signal } = options;
    if (timeout !== Infinity) {
      this.#timer = after(timeout, () => {
        this.fail(this.#unanswered(`within ${formatDuration(timeout)}`));
      });
    }
    this.#heedNoMore = heed(signal, this.#onAbort);
  }

  /** Aborts when it has ended. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  /** It is about to be published there. */
  on(publisher: Publisher): void {
    this.#release();
    this.#lost = undefined;
    if (this.ended.aborted) return;
    this.#release = publisher.hold((error) => {
      this.#lost = error;
      this.#failIfLost();
    });
  }

  confirm(): void {
    this.#confirmed = true;
    this.#failIfLost();
  }

  hear(heard: ReturnType<typeof readAnswer>): void {
    if ("last" in heard) this.#resolve(heard.last);
    else {
      try {
        this.#options.onProgress?.(heard.progress);
      } catch (error) {
        this.fail(error);
      }
    }
  }

  fail(error: unknown): void {
    this.#reject(error);
    this.#ended.abort(error);
  }

  /** Leaves nothing behind. */
  end(): void {
    this.#timer?.cancel();
    this.#heedNoMore();
    this.#release();
    this.#ended.abort(new Error("its answer has come"));
  }

  readonly #onAbort = () => {
    const { signal } = this.#options;
    this.fail(this.#unanswered(`until it was given up (${reason(signal!.reason)})`));
  };

  #failIfLost(): void {
    if (!this.#confirmed || this.#lost === undefined) return;
    const error = this.#lost;
    this.fail(
      new ConnectionError(
        `the answer is lost with its connection (${error.message}): ${doubtful(this.id)}`,
        error.exitCode,
        false,
        { cause: error },
      ),
    );
  }

  #unanswered(when: string): TaskError {
    const where = this.#confirmed ? doubtful(this.id) : "the task may be on the queue or not";
    return new TaskError(`no answer came ${when}: ${where}`, EXIT.temporary);
  }
}

/** @throws {UsageError} */
function checkTimeout(ms = DEFAULT_TIMEOUT_MS): void {
  if (ms === Infinity || (Number.isInteger(ms) && ms >= 1 && ms <= LONGEST_TIMER_MS)) return;
  throw new UsageError(
    `timeout must be a whole number from 1 to ${LONGEST_TIMER_MS}, or Infinity, and is ${ms}`,
  );
}

function doubtful(id: string): string {
  return `the task ${JSON.stringify(id)} may be done already, or later`;
}
