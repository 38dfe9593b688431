/** Takes orders: sends their tasks, each id once, and remembers them. */
import type { QueuePolicy } from "../../amqp/declare.ts";
import { EXIT, ToolError } from "../../errors.ts";
import { Problem } from "../../observe/problem.ts";
import { ANSWER_HEADER } from "../../task/answer.ts";
import type { TaskRecord } from "../../task/record.ts";
import { DIRECT_REPLY_TO } from "../../task/topology.ts";
import { type Outgoing, outgoingOf } from "../outgoing.ts";
import type { Sender } from "../sender.ts";
import { KnownTask } from "./known_task.ts";
import type { Ledger } from "./ledger.ts";
import { badLine, type Order, type OrderedTask } from "./order.ts";

export interface IntakeOptions {
  readonly sender: Sender;
  /** Those that are served; the first one where nothing else is said. */
  readonly queues: readonly QueuePolicy[];
  readonly ledger: Ledger;
  /** Tasks on their way at a time. */
  readonly most: number;
  /** The number of the connection to the broker, whose limits are the same while it lasts. */
  readonly connection: () => number;
  /** A task was confirmed, after so many milliseconds. */
  readonly onConfirmed: (ms: number) => void;
}

/** A task of an order that can be sent. */
interface Planned {
  readonly id: string;
  readonly outgoing: Outgoing;
  readonly ordered: OrderedTask;
}

export class Intake {
  readonly #options: IntakeOptions;
  /**
   * What the broker has refused as too large on this connection. It closes the channel for it, and
   * with it the way of everybody's answers, so that it is asked once.
   */
  #tooLarge = { bytes: Infinity, connection: 0 };

  constructor(options: IntakeOptions) {
    this.#options = options;
  }

  /** @throws {Problem} 404: the queue is not served */
  requireServed(name: string | undefined): QueuePolicy {
    const { queues } = this.#options;
    const queue = name === undefined ? queues[0] : queues.find((queue) => queue.name === name);
    if (queue !== undefined) return queue;
    const served = queues.map(({ name }) => JSON.stringify(name)).join(", ");
    throw new Problem(404, `the queue must be one of ${served}, and is ${JSON.stringify(name)}`);
  }

  /**
   * Sends the tasks of an order; resolves when all of them are confirmed. None is sent when one of
   * them cannot be.
   *
   * @param now milliseconds since 1970
   * @throws {Problem} what is wrong with them; or, when not all were confirmed, which
   */
  async take(order: Order, now: number): Promise<KnownTask[]> {
    const planned = order.tasks.map((task) => this.#plan(task, order.common, now));
    for (const { id, ordered } of planned) this.#requireSame(id, ordered);
    for (const { outgoing, ordered } of planned) this.#requireFitting(outgoing, ordered);
    const { sender, most } = this.#options;
    if (sender.tasks + planned.length > most) {
      throw new Problem(
        429,
        `at most ${most} tasks may wait for their confirm, and ${sender.tasks} do`,
        { "retry-after": "1" },
      );
    }
    const tasks = planned.map((each) => this.#send(each));
    const results = await Promise.allSettled(tasks.map(({ confirmed }) => confirmed));
    const failed = results.find((result) => result.status === "rejected");
    if (failed === undefined) return tasks;
    const problem = problemOf(failed.reason);
    if (!order.isMany) throw problem;
    throw new Problem(
      problem.status,
      problem.detail,
      problem.headers,
      { tasks: results.map((result, i) => lineOf(result, planned[i]!)) },
    );
  }

  #plan(ordered: OrderedTask, common: TaskRecord, now: number): Planned {
    const { record, line } = ordered;
    const queue = this.requireServed(record.queue ?? common.queue);
    const id = ordered.id ?? crypto.randomUUID();
    const { properties, delayMs, dueAt } = common;
    const defaults = { queue, properties, delayMs, dueAt };
    try {
      const stamp = { id, isChosen: ordered.id !== undefined, now };
      return { id, ordered, outgoing: outgoingOf(record, defaults, stamp) };
    } catch (error) {
      throw error instanceof ToolError ? badLine(error, line) : error;
    }
  }

  /** @throws {Problem} 422: the id is another task's */
  #requireSame(id: string, { fingerprint, line }: OrderedTask): void {
    const known = this.#options.ledger.get(id);
    if (known === undefined || known.fingerprint === fingerprint) return;
    const place = line === undefined ? "" : `line ${line}: `;
    throw new Problem(
      422,
      `${place}an id must stand for one task, and ${JSON.stringify(id)} was sent as another one`,
    );
  }

  /** @throws {Problem} 413: the broker has refused one that was no larger */
  #requireFitting({ publication: { body } }: Outgoing, { line }: OrderedTask): void {
    const { bytes, connection } = this.#tooLarge;
    if (body.length < bytes || connection !== this.#options.connection()) return;
    const place = line === undefined ? "" : `line ${line}: `;
    throw new Problem(
      413,
      `${place}a task must be within the broker's limit, and has ${body.length} bytes`,
      {},
      line === undefined ? {} : { line },
    );
  }

  #noteRefusal(error: unknown, { publication: { body } }: Outgoing): void {
    if (!(error instanceof ToolError) || problemOf(error).status !== 413) return;
    const connection = this.#options.connection();
    const { bytes } = this.#tooLarge.connection === connection
      ? this.#tooLarge
      : { bytes: Infinity };
    this.#tooLarge = { bytes: Math.min(bytes, body.length), connection };
  }

  /** @returns the task that has this id already, if there is one */
  #send({ id, outgoing, ordered }: Planned): KnownTask {
    const { sender, ledger, onConfirmed } = this.#options;
    const known = ledger.get(id);
    if (known !== undefined) return known;
    const start = performance.now();
    const { replyTo, correlationId } = outgoing.publication.properties;
    const isAwaited = replyTo === undefined || replyTo === "";
    const task = new KnownTask({
      id,
      queue: outgoing.queue.name,
      fingerprint: ordered.fingerprint,
      isAwaited,
      correlationId: correlationId || id,
    });
    task.sending(
      isAwaited
        ? sender.send(answerable(outgoing, task), undefined, (publisher) => task.on(publisher))
        : sender.send(outgoing),
    );
    ledger.add(task);
    task.confirmed.then(
      () => onConfirmed(performance.now() - start),
      (error) => {
        ledger.remove(task);
        this.#noteRefusal(error, outgoing);
      },
    );
    return task;
  }
}

/** The same task, whose answer comes here. */
function answerable(
  { publication, ...rest }: Outgoing,
  { correlationId }: Pick<KnownTask, "correlationId">,
): Outgoing {
  const { properties } = publication;
  return {
    ...rest,
    publication: {
      ...publication,
      properties: {
        ...properties,
        headers: { ...properties.headers, [ANSWER_HEADER.wantsProgress]: true },
        replyTo: DIRECT_REPLY_TO,
        correlationId,
      },
    },
  };
}

/** What became of a line of records, not all of which were confirmed. */
function lineOf(result: PromiseSettledResult<void>, { id, ordered }: Planned) {
  const { line } = ordered;
  return result.status === "fulfilled"
    ? { line, id, confirmed: true }
    : { line, id, confirmed: false, detail: problemOf(result.reason).detail };
}

/** What a task failed for, as whoever asked for it is told. */
export function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (!(error instanceof ToolError)) throw error;
  const { message, exitCode } = error;
  switch (exitCode) {
    case EXIT.usage:
    case EXIT.badData:
      return new Problem(/message size \d+/.test(message) ? 413 : 400, message);
    default:
      return unavailable(message);
  }
}

/** Try again later: the broker is away, blocks, or somebody has to mend it. */
export function unavailable(detail: string): Problem {
  return new Problem(503, detail, { "retry-after": "2" });
}
