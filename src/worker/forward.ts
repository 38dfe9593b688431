/**
 * Publishes copies of tasks to other queues (delay tiers, dead queue), on a connection of its own:
 * a broker that blocks publishers stops reading from their connections, and acknowledgements must
 * not wait behind that.
 */
import { type Connector, sleep } from "../amqp/connection.ts";
import { declareQueue, deleteQueue, dropMessage, ensureDeclared } from "../amqp/declare.ts";
import { Publisher } from "../amqp/publisher.ts";
import type { Original } from "../amqp/received_properties.ts";
import type { Transport } from "../amqp/transport.ts";
import { ChannelError, ConnectionError, EXIT, InputError, ToolError } from "../errors.ts";
import type { Logger } from "../observe/log.ts";
import type { TaskProperties } from "../task/task.ts";
import type { QueueSpec } from "../task/topology.ts";

/** Attempts before a copy is given up, and the pause after the first, doubled each time. */
const TRIES = 5;
const FIRST_PAUSE_MS = 1_000;

/** An open connection with what is known on it. */
interface Line {
  readonly transport: Transport;
  readonly publisher: Publisher;
  /** The declarations of queues by their names. */
  readonly declared: Map<string, Promise<unknown>>;
  /** What is asked about queues now: one at a time, because a connection has few channels. */
  declaring: Promise<unknown>;
}

/** No copy gets to a queue before somebody changes something on the broker. */
export class QueueRefused extends ToolError {
  override readonly name = "QueueRefused";
}

export interface ForwarderOptions {
  readonly connector: Connector;
  readonly log: Logger;
}

export class Forwarder {
  readonly #options: ForwarderOptions;
  #line: Promise<Line> | undefined;

  constructor(options: ForwarderOptions) {
    this.#options = options;
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
            `trying again in ${pause / 1_000} s`,
          { id: properties.messageId },
        );
        await sleep(pause, signal);
      }
    }
  }

  /** Makes a queue unless it is there. @returns how many messages it holds */
  async count(queue: QueueSpec): Promise<number> {
    const line = await this.#open();
    const counting = inTurn(line, () => declareQueue(line.transport, queue));
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
    const { publisher } = await this.#open();
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
    const line = await this.#open();
    await inTurn(line, () => dropMessage(line.transport, queue.name));
  }

  /** Deletes a queue with what it holds. */
  async remove(queue: QueueSpec): Promise<void> {
    const line = await this.#open();
    await inTurn(line, () => deleteQueue(line.transport, queue.name));
  }

  /** Ends the connection. Publications still pending are rejected. */
  async close(): Promise<void> {
    const line = await this.#line?.catch(() => undefined);
    this.#line = undefined;
    await line?.transport.shutdown();
  }

  async #publishOnce(
    queue: QueueSpec,
    body: Uint8Array,
    properties: TaskProperties,
    original: Original | undefined,
  ): Promise<void> {
    const line = await this.#open();
    try {
      await declareOnce(line, queue);
      await line.publisher.publish({
        exchange: "",
        routingKey: queue.name,
        body,
        properties,
        original,
      });
    } catch (error) {
      // Returned: somebody deleted the queue.
      line.declared.delete(queue.name);
      // 406 to a publication would be about this one task.
      throw refusal(error, [403]);
    }
  }

  /** The open connection, or a new one when there is none or it has ended. */
  async #open(): Promise<Line> {
    const line = await this.#line?.catch(() => undefined);
    if (line !== undefined && !line.publisher.isEnded) return line;
    line?.transport.destroy(new ConnectionError("the channel for publishing was closed"));
    // Whoever else has waited for the same connection may have begun a new one already.
    if (this.#line === undefined || line !== undefined) this.#line = this.#connect();
    const opening = this.#line;
    opening.catch(() => {
      if (this.#line === opening) this.#line = undefined;
    });
    return opening;
  }

  async #connect(): Promise<Line> {
    const transport = await this.#options.connector.connect();
    try {
      const publisher = await Publisher.open(transport);
      return { transport, publisher, declared: new Map(), declaring: Promise.resolve() };
    } catch (error) {
      transport.destroy(new ConnectionError("no channel for publishing"));
      throw error;
    }
  }
}

/** Declares a queue, once for all tasks that fail at the same time. */
function declareOnce(line: Line, queue: QueueSpec): Promise<unknown> {
  const known = line.declared.get(queue.name);
  if (known !== undefined) return known;
  const declaration = inTurn(line, () => ensureDeclared(line.transport, queue))
    .catch((error) => {
      throw refusal(error, [403, 406]);
    });
  line.declared.set(queue.name, declaration);
  return declaration;
}

/** Asks for something on a channel of its own, after what was asked for before. */
function inTurn<T>(line: Line, ask: () => Promise<T>): Promise<T> {
  const answer = line.declaring.catch(() => {})
    // A broker that blocks answers nothing on this connection, and would be taken for dead.
    .then(() => line.transport.unblocked())
    .then(ask);
  line.declaring = answer.catch(() => {});
  return answer;
}

/** The error as QueueRefused, if it is one of these replies of the broker. */
function refusal(error: unknown, replyCodes: readonly number[]): unknown {
  return error instanceof ChannelError && replyCodes.includes(error.replyCode)
    ? new QueueRefused(error.message, error.exitCode, { cause: error })
    : error;
}
