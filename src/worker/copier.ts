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

  /** Makes a queue unless it is there. @returns how many messages it holds */
  async count(queue: QueueSpec): Promise<number> {
    const link = await this.#link.open();
    const counting = inTurn(link, () => declareQueue(link.transport, queue));
    return (await counting).messageCount;
  }

  /** Puts an empty message on a queue that was there; resolves when that is confirmed. */
  async note(queue: QueueSpec): Promise<void> {
    const note = {
      exchange: "",
      routingKey: queue.name,
      body: new Uint8Array(),
      properties: { deliveryMode: 2 },
    };
    const { publisher } = await this.#link.open();
    try {
      await publisher.publish(note);
    } catch (error) {
      if (!(error instanceof ToolError) || error.exitCode !== EXIT.unavailable) throw error;
      await this.count(queue);
      await publisher.publish(note);
    }
  }

  /** Takes a message off a queue, if there is one. */
  async takeBack(queue: QueueSpec): Promise<void> {
    const link = await this.#link.open();
    await inTurn(link, () => dropMessage(link.transport, queue.name));
  }

  /** Deletes a queue with what it holds. */
  async remove(queue: QueueSpec): Promise<void> {
    const link = await this.#link.open();
    await inTurn(link, () => deleteQueue(link.transport, queue.name));
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
