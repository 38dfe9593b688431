/**
 * A connection for publishing that is made again when it is lost, for whoever publishes single tasks
 * for as long as a program lives.
 */
import { ConnectionError } from "../errors.ts";
import type { Connector } from "./connection.ts";
import { Publisher, type PublisherOptions } from "./publisher.ts";
import type { Transport } from "./transport.ts";

/** An open connection with what is known on it. */
export interface Line {
  readonly transport: Transport;
  readonly publisher: Publisher;
  /** The declarations of queues by their names. */
  readonly declared: Map<string, Promise<unknown>>;
  /** What is asked about queues now: one at a time, because a connection has few channels. */
  declaring: Promise<unknown>;
}

export class PublishingLine {
  readonly #connector: Connector;
  readonly #options: PublisherOptions;
  #line: Promise<Line> | undefined;

  constructor(connector: Connector, options: PublisherOptions = {}) {
    this.#connector = connector;
    this.#options = options;
  }

  /**
   * The open connection, or a new one when there is none or it takes no more tasks.
   *
   * @throws {ToolError} one round of addresses gave none
   */
  async open(): Promise<Line> {
    const current = this.#line;
    if (current !== undefined) {
      const line = await current;
      if (!line.publisher.isEnded) return line;
      // Whoever else has waited for it may have begun a new one already.
      if (this.#line !== current) return await this.open();
      this.#line = line.transport.isEnded ? this.#connect() : this.#renew(line);
    } else this.#line = this.#connect();
    const opening = this.#line;
    opening.catch(() => {
      if (this.#line === opening) this.#line = undefined;
    });
    return await opening;
  }

  /** Ends the connection. Publications still pending are rejected. */
  async close(): Promise<void> {
    const line = await this.#line?.catch(() => undefined);
    this.#line = undefined;
    await line?.transport.shutdown();
  }

  async #connect(): Promise<Line> {
    const transport = await this.#connector.connect();
    return await this.#lineOn(transport, { declared: new Map(), declaring: Promise.resolve() });
  }

  /** Another channel, for one that refuses tasks; what was sent on the old one settles there. */
  #renew({ transport, publisher, declared, declaring }: Line): Promise<Line> {
    if (publisher.pending === 0) publisher.close().catch(() => {});
    return this.#lineOn(transport, { declared, declaring });
  }

  async #lineOn(
    transport: Transport,
    known: Pick<Line, "declared" | "declaring">,
  ): Promise<Line> {
    try {
      return { ...known, transport, publisher: await Publisher.open(transport, this.#options) };
    } catch (error) {
      transport.destroy(new ConnectionError("no channel for publishing"));
      throw error;
    }
  }
}

/** Asks for a queue, once for all tasks of a connection, until it fails. */
export function declareOnce(
  line: Line,
  name: string,
  ask: () => Promise<unknown>,
): Promise<unknown> {
  const known = line.declared.get(name);
  if (known !== undefined) return known;
  const declaration = inTurn(line, ask);
  line.declared.set(name, declaration);
  declaration.catch(() => line.declared.delete(name));
  return declaration;
}

/** Asks for something on a channel of its own, after what was asked for before. */
export function inTurn<T>(line: Line, ask: () => Promise<T>): Promise<T> {
  const answer = line.declaring.catch(() => {})
    // A broker that blocks answers nothing on this connection, and would be taken for dead.
    .then(() => line.transport.unblocked())
    .then(ask);
  line.declaring = answer.catch(() => {});
  return answer;
}
