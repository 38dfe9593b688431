/** A connection for publishing that is made again when it is lost. */
import { ConnectionError } from "../errors.ts";
import type { Connector } from "./connection.ts";
import { Publisher, type PublisherOptions } from "./publisher.ts";
import type { Transport } from "./transport.ts";

/**
 * Channels that refused a task and stay, because somebody waits for an answer on them. A connection
 * has few channels, and a full queue refuses for as long as it is full.
 */
const MOST_RETIRED = 16;

/** An open connection with what is known on it. */
export interface OpenLink {
  readonly transport: Transport;
  readonly publisher: Publisher;
  /** The declarations of queues by their names. */
  readonly declared: Map<string, Promise<unknown>>;
  /** What is asked about queues now: one at a time, because a connection has few channels. */
  declaring: Promise<unknown>;
}

export class PublishingLink {
  readonly #connector: Connector;
  readonly #options: PublisherOptions;
  #link: Promise<OpenLink> | undefined;
  /** Of the link, also of one that is just being made. */
  #transport: Transport | undefined;
  /** Told each time that {@link isBlocked} becomes true. */
  readonly onBlocked = new Set<() => void>();
  /** Those that refused a task and stay, oldest first. */
  #retired: OpenLink[] = [];

  constructor(connector: Connector, options: PublisherOptions = {}) {
    this.#connector = connector;
    this.#options = options;
  }

  /**
   * The open connection, or a new one when there is none or it takes no more tasks.
   *
   * @throws {ToolError} one round of addresses gave none
   */
  async open(): Promise<OpenLink> {
    const current = this.#link;
    if (current !== undefined) {
      const link = await current;
      if (!link.publisher.isEnded) return link;
      // Whoever else has waited for it may have begun a new one already.
      if (this.#link !== current) return await this.open();
      this.#link = link.transport.isEnded ? this.#connect() : this.#renew(link);
    } else this.#link = this.#connect();
    const opening = this.#link;
    opening.catch(() => {
      if (this.#link === opening) this.#link = undefined;
    });
    return await opening;
  }

  /** The broker answers nothing on the connection, for it blocks publishers. */
  get isBlocked(): boolean {
    return this.#transport?.blocked !== undefined && !this.#transport.isEnded;
  }

  /** Ends the connection. Publications still pending are rejected. */
  async close(): Promise<void> {
    const link = await this.#link?.catch(() => undefined);
    this.#link = undefined;
    await link?.transport.shutdown();
  }

  /** Ends the connection at once, also one that is just being made. */
  destroy(error: ConnectionError): void {
    this.#link?.then(({ transport }) => transport.destroy(error), () => {});
    this.#link = undefined;
  }

  async #connect(): Promise<OpenLink> {
    const transport = this.#transport = await this.#connector.connect();
    transport.onblocked = () => this.onBlocked.forEach((tell) => tell());
    if (this.isBlocked) transport.onblocked("");
    return await this.#linkOn(transport, { declared: new Map(), declaring: Promise.resolve() });
  }

  /**
   * Another channel, for one that refuses tasks; what was sent on the old one settles there. When too
   * many stay, it is the one that has rested longest.
   */
  #renew(link: OpenLink): Promise<OpenLink> {
    const { transport, publisher, declared, declaring } = link;
    if (publisher.pending === 0) publisher.close().catch(() => {});
    this.#retired = [...this.#retired, link]
      .filter((each) => each.transport === transport && !each.publisher.isGone);
    const most = Math.min(MOST_RETIRED, Math.floor((transport.channelMax || Infinity) / 4));
    if (this.#retired.length <= most) {
      return this.#linkOn(transport, { declared, declaring });
    }
    const rested = this.#retired.shift()!;
    rested.publisher.goOn();
    return Promise.resolve({ ...rested, declared, declaring });
  }

  async #linkOn(
    transport: Transport,
    known: Pick<OpenLink, "declared" | "declaring">,
  ): Promise<OpenLink> {
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
  link: OpenLink,
  name: string,
  ask: () => Promise<unknown>,
): Promise<unknown> {
  const known = link.declared.get(name);
  if (known !== undefined) return known;
  const declaration = inTurn(link, ask);
  link.declared.set(name, declaration);
  declaration.catch(() => link.declared.delete(name));
  return declaration;
}

/** Asks for something on a channel of its own, after what was asked for before. */
export function inTurn<T>(link: OpenLink, ask: () => Promise<T>): Promise<T> {
  const answer = link.declaring.catch(() => {})
    // A broker that blocks answers nothing on this connection, and would be taken for dead.
    .then(() => link.transport.unblocked())
    .then(ask);
  link.declaring = answer.catch(() => {});
  return answer;
}
