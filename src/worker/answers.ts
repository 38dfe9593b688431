/**
 * Answers to those who wait for tasks, over a connection of their own: whatever becomes of an
 * answer, the task and the copies of other tasks are none the worse for it.
 */
import type { Connector } from "../amqp/connection.ts";
import { PublishingLink } from "../amqp/publishing_link.ts";
import { ConnectionError, EXIT, isOfAnother, isPassing, TaskError, ToolError } from "../errors.ts";
import type { Logger } from "../observe/log.ts";
import {
  type AnswerMessage,
  progressMessage,
  type TaskProgress,
  wantsProgress,
  withoutBody,
} from "../task/answer.ts";
import { formatDuration } from "../task/duration.ts";
import type { Progress } from "../task/handler.ts";
import type { Task } from "../task/task.ts";
import { deadline } from "../time/deadline.ts";
import { sleep } from "../time/sleep.ts";
import { after, type Timer } from "../time/timer.ts";

/** How long an answer may take to be confirmed, in milliseconds; a blocked broker is not outwaited. */
const PATIENCE_MS = 30_000;
const TRIES = 3;
/** Doubled after each. */
const FIRST_PAUSE_MS = 200;
/** Between two messages about the progress of one task, in milliseconds. */
const PROGRESS_PAUSE_MS = 250;

export interface AnswersOptions {
  readonly connector: Connector;
  readonly log: Logger;
}

export class Answers {
  readonly #options: AnswersOptions;
  readonly #link: PublishingLink;
  /**
   * For those that failed on the first one, one at a time: RabbitMQ closes the connection at some
   * names, and who has waited there pays for it once.
   */
  readonly #second: PublishingLink;
  #turn: Promise<void> = Promise.resolve();

  constructor(options: AnswersOptions) {
    this.#options = options;
    const { connector } = options;
    this.#link = new PublishingLink(connector, { confirmTimeout: PATIENCE_MS });
    this.#second = new PublishingLink(connector, { confirmTimeout: PATIENCE_MS });
  }

  /**
   * Sends the last answer to a task that has a `reply_to`; resolves when the broker has confirmed
   * it, or it is given up. Never rejects.
   *
   * @param signal ends the pauses between tries, and with them the tries
   */
  async send(task: Task, message: AnswerMessage, signal: AbortSignal): Promise<void> {
    try {
      await deadline(
        this.#publish(task, message, signal),
        PATIENCE_MS,
        () =>
          new ConnectionError(
            `the broker did not confirm it within ${formatDuration(PATIENCE_MS)}`,
          ),
      );
    } catch (error) {
      if (!(error instanceof ToolError)) throw error;
      // Returned: whoever waited has gone.
      if (error.exitCode === EXIT.unavailable) return;
      this.#options.log.warn(`an answer is lost, and its task is not: ${error.message}`, {
        id: task.id,
      });
    }
  }

  /** What tells how far an attempt is; undefined where nobody asked. */
  progress(task: Task, attempt: number): ProgressReports | undefined {
    if (!wantsProgress(task)) return undefined;
    return new ProgressReports((progress) => this.#tell(task, { attempt, ...progress }));
  }

  /** Ends the connections. */
  async close(): Promise<void> {
    await Promise.all([this.#link.close(), this.#second.close()]);
  }

  async #publish(task: Task, message: AnswerMessage, signal: AbortSignal): Promise<void> {
    const endsAt = performance.now() + PATIENCE_MS;
    for (let attempt = 1;; attempt++) {
      try {
        if (attempt === 1) return await this.#publishOn(this.#link, task, message);
        return await this.#publishAlone(task, message, endsAt);
      } catch (error) {
        if (isRefused(error) && message.body.length > 0) {
          // Who waits would wait in vain.
          return await this.#publishAlone(task, withoutBody(message, error.message), endsAt);
        }
        const again = isPassing(error) || isOfAnother(error);
        if (!again || attempt === TRIES || signal.aborted) throw error;
        await sleep(FIRST_PAUSE_MS * 2 ** (attempt - 1), signal);
      }
    }
  }

  #publishAlone(task: Task, message: AnswerMessage, endsAt: number): Promise<void> {
    const publishing = this.#turn.then(async () => {
      if (performance.now() < endsAt) await this.#publishOn(this.#second, task, message);
    });
    this.#turn = publishing.catch(() => {});
    return publishing;
  }

  async #publishOn(link: PublishingLink, task: Task, message: AnswerMessage): Promise<void> {
    const { publisher } = await link.open();
    // A correlation id is sent as the bytes that came.
    await publisher.publish({
      exchange: "",
      routingKey: task.properties.replyTo!,
      ...message,
      original: task,
    });
  }

  /** One try: more of it follows. */
  async #tell(task: Task, progress: TaskProgress): Promise<void> {
    try {
      await deadline(
        this.#publishOn(this.#link, task, progressMessage(task, progress)),
        PATIENCE_MS,
        () => new ConnectionError("late"),
      );
    } catch (error) {
      if (!(error instanceof ToolError)) throw error;
    }
  }
}

/** The broker's limit is below what an answer may have. */
function isRefused(error: unknown): error is TaskError {
  return error instanceof TaskError && error.exitCode === EXIT.badData;
}

/**
 * Tells of an attempt's progress: that it began, and what is the case at most a few times a second,
 * one message after the other. What comes between two is not told.
 */
class ProgressReports {
  readonly #tell: (progress: Partial<Progress>) => Promise<void>;
  #next: Progress | undefined;
  #timer: Timer | undefined;
  #isTelling = true;
  #isOver = false;

  constructor(tell: (progress: Partial<Progress>) => Promise<void>) {
    this.#tell = tell;
    this.#say({});
  }

  readonly report = (progress: Progress): void => {
    if (this.#isOver) return;
    this.#next = progress;
    this.#sayNext();
  };

  /** Says what was not said yet, and no more. */
  end(): void {
    this.#isOver = true;
    this.#timer?.cancel();
    if (this.#next !== undefined) this.#tell(this.#next);
    this.#next = undefined;
  }

  #sayNext(): void {
    if (this.#isTelling || this.#timer !== undefined || this.#isOver) return;
    const progress = this.#next;
    if (progress === undefined) return;
    this.#next = undefined;
    this.#say(progress);
  }

  async #say(progress: Partial<Progress>): Promise<void> {
    this.#isTelling = true;
    await this.#tell(progress);
    this.#isTelling = false;
    if (this.#isOver) return;
    this.#timer = after(PROGRESS_PAUSE_MS, () => {
      this.#timer = undefined;
      this.#sayNext();
    });
  }
}
