/**
 * Publishes copies of tasks to other queues (delay tiers, dead queue), on a connection of its own:
 * a broker that blocks publishers stops reading from their connections, and acknowledgements must
 * not wait behind that.
 */
import type { Connector } from "../amqp/connection.ts";
import { declareQueue, deleteQueue, dropMessage, ensureQueue } from "../amqp/declare.ts";
import { declareOnce, inTurn, type OpenLink, PublishingLink } from "../amqp/publishing_link.ts";
import type { Original } from "../amqp/client/received_properties.ts";
import { ChannelError, EXIT, InputError, ToolError } from "../errors.ts";
import type { Logger } from "../observe/log.ts";
import { formatDuration } from "../task/duration.ts";
import type { TaskProperties } from "../task/task.ts";
import type { QueueSpec } from "../task/topology.ts";
import { sleep } from "../time/sleep.ts";

/** Attempts before a copy is given up, and the pause after the first, doubled each time. */
const TRIES = 5;
const FIRST_PAUSE_MS = 1_000;

/** No copy gets to a queue before somebody changes something on the broker. */
export class QueueRefused extends ToolError {
  override readonly name = "QueueRefused";
}

export interface CopierOptions {
  readonly connector: Connector;
  readonly log: Logger;
}

export class Copier {
  readonly #options: CopierOptions;
  readonly #link: PublishingLink;
  /** What is done last with queues of starts: nobody waits for it while the broker blocks. */
  readonly #last = new Map<string, Promise<void>>();

  constructor(options: CopierOptions) {
    this.#options = options;
    this.#link = new PublishingLink(options.connector);
  }

  /**
   * Publishes to a queue, which is created when it is missing; resolves when the broker has
   * confirmed it.
   *
   * @param signal ends the pauses between tries, and with them the tries
   * @param original see {@linkcode Publication.original}
   * @throws {QueueRefused} at once: the queue that is there is none for such tasks (73), or a
   *   permission is missing (77)
   * @throws {ToolError} after several tries: the copy may be on the queue or not; at once when it
   *   cannot be encoded (65)
   */
  async publish(
    queue: QueueSpec,
    body: Uint8Array,
    properties: TaskProperties,
    signal: AbortSignal,
    original?: Original,
  ): Promise<void> {
    for (let attempt = 1;; attempt++) {
      try {
        return await this.#publishOnce(queue, body, properties, original);
      } catch (error) {
        if (!(error instanceof ToolError) || attempt === TRIES || signal.aborted) throw error;
        // It stays so.
        const unfit = error.exitCode === EXIT.badData && !(error instanceof InputError);
        if (unfit || error instanceof QueueRefused) throw error;
        const pause = FIRST_PAUSE_MS * 2 ** (attempt - 1);
        this.#options.log.warn(
          `a task cannot be moved to the queue ${JSON.stringify(queue.name)}: ${error.message}; ` +
            `trying again in ${formatDuration(pause)}`,
          { id: properties.messageId },
        );
        await sleep(pause, signal);
      }
    }
  }

  /**
   * Makes a queue unless it is there.
   *
   * @returns how many messages it holds
   * @throws {ToolError} 75 at once: the broker blocks publishers; none is made then
   */
  async count(queue: QueueSpec): Promise<number> {
    if (this.#link.isBlocked) throw blocked();
    let isWanted = true;
    const counting = (async () => {
      const link = await this.#link.open();
      return await countOn(link, queue, () => isWanted);
    })();
    try {
      return await this.#unlessBlocked(counting);
    } finally {
      isWanted = false;
    }
  }

  /**
   * Puts an empty message on a queue that was there; resolves when that is confirmed.
   *
   * @throws {ToolError} 75 at once: the broker blocks publishers; it is done when it does not
   */
  note(queue: QueueSpec): Promise<void> {
    const note = {
      exchange: "",
      routingKey: queue.name,
      body: new Uint8Array(),
      properties: { deliveryMode: 2 },
    };
    return this.#inOrder(queue, async (link) => {
      const { publisher } = link;
      try {
        await publisher.publish(note);
      } catch (error) {
        if (!(error instanceof ToolError) || error.exitCode !== EXIT.unavailable) throw error;
        await countOn(link, queue);
        await publisher.publish(note);
      }
    });
  }

  /** Takes a message off a queue, if there is one. @throws {ToolError} as {@linkcode note} */
  takeBack(queue: QueueSpec): Promise<void> {
    return this.#inOrder(
      queue,
      (link) => inTurn(link, () => dropMessage(link.transport, queue.name)),
    );
  }

  /** Deletes a queue with what it holds. @throws {ToolError} as {@linkcode note} */
  remove(queue: QueueSpec): Promise<void> {
    return this.#inOrder(
      queue,
      (link) => inTurn(link, () => deleteQueue(link.transport, queue.name)),
    );
  }

  #inOrder(queue: QueueSpec, act: (link: OpenLink) => Promise<void>): Promise<void> {
    const before = this.#last.get(queue.name);
    const done = (async () => {
      // It is not opened anew for what was asked for before its end.
      const link = await this.#link.open();
      await before;
      await act(link);
    })();
    const last = done.catch(() => {}).then(() => {
      if (this.#last.get(queue.name) === last) this.#last.delete(queue.name);
    });
    this.#last.set(queue.name, last);
    return this.#unlessBlocked(done);
  }

  /** Waits for something, which goes on when the broker blocks. @throws {ToolError} it does (75) */
  async #unlessBlocked<T>(done: Promise<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    done.then(resolve, reject);
    const giveUp = () => reject(blocked());
    this.#link.onBlocked.add(giveUp);
    if (this.#link.isBlocked) giveUp();
    try {
      return await promise;
    } finally {
      this.#link.onBlocked.delete(giveUp);
    }
  }

  /** Ends the connection. Publications still pending are rejected. */
  close(): Promise<void> {
    return this.#link.close();
  }

  async #publishOnce(
    queue: QueueSpec,
    body: Uint8Array,
    properties: TaskProperties,
    original: Original | undefined,
  ): Promise<void> {
    const link = await this.#link.open();
    try {
      await declareOnce(link, queue.name, () => declare(link, queue));
      await link.publisher.publish({
        exchange: "",
        routingKey: queue.name,
        body,
        properties,
        original,
      });
    } catch (error) {
      // Returned: somebody deleted the queue.
      link.declared.delete(queue.name);
      // 406 to a publication would be about this one task.
      throw refusal(error, [403]);
    }
  }
}

function blocked(): ToolError {
  return new ToolError("the broker blocks publishers", EXIT.temporary);
}

/** @throws {ToolError} it is not wanted any more when its turn comes */
async function countOn(
  link: OpenLink,
  queue: QueueSpec,
  isWanted: () => boolean = () => true,
): Promise<number> {
  const counting = inTurn(link, () => {
    if (!isWanted()) throw blocked();
    return declareQueue(link.transport, queue);
  });
  return (await counting).messageCount;
}

/** The error as QueueRefused, if it is one of these replies of the broker. */
function refusal(error: unknown, replyCodes: readonly number[]): unknown {
  return error instanceof ChannelError && replyCodes.includes(error.replyCode)
    ? new QueueRefused(error.message, error.exitCode, { cause: error })
    : error;
}

/** @throws {QueueRefused} what is there is no such queue, or a permission is missing */
async function declare({ transport }: OpenLink, queue: QueueSpec): Promise<void> {
  try {
    await ensureQueue(transport, queue);
  } catch (error) {
    throw refusal(error, [403, 406]);
  }
}
