/**
 * Takes tasks from a queue for as long as it is told to, whatever happens to the connection.
 *
 * Every end of consumption (connection lost or silent, channel closed by the broker, consumer
 * cancelled because the queue is gone) takes the same way: drop the connection, pause, connect,
 * declare, consume again.
 */
import { ChannelError, ConnectionError, EXIT, ToolError } from "../errors.ts";
import type { Logger } from "../observe/log.ts";
import type { Connector } from "./connection.ts";
import { Consumption, type ConsumptionOptions, PullRefused } from "./consumption.ts";
import { inspectQueue } from "./declare.ts";
import { OUR_BROKER } from "./protocol.ts";
import type { Transport } from "./transport.ts";

/** Consumption that lasted so long counts as a success: the next pause is a short one again. */
const STEADY_MS = 10_000;

export interface ConsumerOptions extends ConsumptionOptions {
  readonly connector: Connector;
  readonly log: Logger;
  /** Called whenever consumption has begun, the first time and after every loss. */
  readonly onReady?: () => void;
  /** Called with why consumption has ended, unless `close` asked for it. */
  readonly onLost?: (cause: ToolError) => void;
}

export class Consumer {
  readonly #options: ConsumerOptions;
  readonly #stopping = new AbortController();
  readonly #closing = Promise.withResolvers<void>();
  #current: Consumption | undefined;
  /** Whoever wants no task for now. */
  readonly #holders = new Set<object>();
  /** A connection on which consumption has not begun yet. */
  #starting: Transport | undefined;
  #prefetch: number;

  constructor(options: ConsumerOptions) {
    this.#options = options;
    this.#prefetch = options.prefetch;
  }

  /**
   * Consumes until `close`.
   *
   * Before the first success it ends with whatever somebody has to change first: a refused login,
   * a missing vhost or queue, a queue of another type. After that it tries for ever, but where
   * `pull` is not allowed.
   *
   * @throws {ToolError}
   */
  async run(): Promise<void> {
    const { connector } = this.#options;
    const { signal } = this.#stopping;
    let everWorked = false;
    while (!signal.aborted) {
      const transport = await connector.connectForever(signal, everWorked);
      if (transport === undefined) break;
      const cause = await this.#consume(transport, () => everWorked = true);
      if (cause !== undefined) this.#options.onLost?.(cause);
      if (cause === undefined || signal.aborted) {
        await this.#current?.untilSettlementsArrive();
        await transport.shutdown();
        break;
      }
      transport.destroy(new ConnectionError(cause.message));
      if (cause instanceof PullRefused || (!everWorked && needsChange(cause))) throw cause;
      await connector.pause(cause.message, signal);
    }
    // Whoever stopped it may have tasks running, which outlive a connection that is lost now.
    await this.#closing.promise;
  }

  /** The broker may send tasks now. */
  get consuming(): boolean {
    const current = this.#current;
    return current !== undefined && !current.isEnded && !this.#stopping.signal.aborted;
  }

  /** Tasks ready on the queue; undefined when the broker cannot be asked now. */
  async ready(): Promise<number | undefined> {
    const consumption = this.#current;
    if (consumption === undefined || consumption.isEnded) return undefined;
    try {
      const { transport } = consumption;
      const isCounted = !this.#held && transport.server.product !== OUR_BROKER;
      const state = await inspectQueue(transport, this.#options.queue.name);
      // RabbitMQ says 0 and 0 of a quorum queue whose leader does not answer it within 250 ms.
      const knows = state.messageCount > 0 || state.consumerCount > 0 || !isCounted;
      return knows ? state.messageCount : undefined;
    } catch (error) {
      if (error instanceof ToolError) return undefined;
      throw error;
    }
  }

  /** No more tasks are wanted. */
  get stopped(): boolean {
    return this.#stopping.signal.aborted;
  }

  /** Takes no more tasks; those that are here can still be settled until `close`. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#starting?.destroy(new ConnectionError("stopped before consumption began"));
    await this.#current?.cancel();
  }

  /**
   * Has no task sent until the same `holder` calls `resume`, whatever happens to the connection.
   * Resolves when none is on its way any more.
   */
  async hold(holder: object): Promise<void> {
    this.#holders.add(holder);
    await this.#current?.hold(true);
  }

  /** Has tasks sent again after `hold`. */
  resume(holder: object): void {
    this.#holders.delete(holder);
    this.#current?.hold(this.#held);
  }

  /**
   * Asks for one task, though `holder` holds; resolves when it was handed on, or there is none now.
   * Never rejects.
   */
  async pull(holder: object): Promise<void> {
    const others = [...this.#holders].some((other) => other !== holder);
    if (!others && this.consuming) await this.#current!.pull(this.#options);
  }

  get #held(): boolean {
    return this.#holders.size > 0;
  }

  /** Tasks that may be here unacknowledged. */
  get prefetch(): number {
    return this.#prefetch;
  }

  /** Tasks in hand stay, beside those that the new limit allows. */
  set prefetch(prefetch: number) {
    this.#prefetch = prefetch;
    this.#current?.limit(prefetch);
  }

  /** Takes what the broker sends, or leaves it under way: for a moment, until there is room. */
  set reading(reading: boolean) {
    if (this.#current !== undefined) this.#current.transport.reading = reading;
  }

  /** Ends the connection behind everything settled so far; `run` returns. */
  async close(): Promise<void> {
    await this.stop();
    this.#closing.resolve();
  }

  /** Returns why consumption ended, or undefined when `close` asked for it. */
  async #consume(transport: Transport, onStart: () => void): Promise<ToolError | undefined> {
    let started = Infinity;
    try {
      this.#starting = transport;
      const consumption = this.#current = await Consumption.start(
        transport,
        { ...this.#options, prefetch: this.#prefetch },
        this.#held,
      );
      this.#starting = undefined;
      started = performance.now();
      // It may have changed meanwhile.
      consumption.hold(this.#held);
      onStart();
      if (this.#stopping.signal.aborted) await consumption.cancel();
      else this.#options.onReady?.();
      consumption.flow(this.#options.onDelivery);
      return await Promise.race([consumption.ended, this.#closing.promise.then(() => undefined)]);
    } catch (error) {
      if (error instanceof ToolError) return error;
      throw error;
    } finally {
      this.#starting = undefined;
      if (performance.now() - started > STEADY_MS) this.#options.connector.succeeded();
    }
  }
}

/** Trying again does not help before somebody changes something on the broker. */
function needsChange(error: ToolError): boolean {
  if (!(error instanceof ChannelError)) return false;
  const gone = error.replyCode === 404 && error.exitCode !== EXIT.temporary;
  return gone || [403, 405, 406].includes(error.replyCode);
}
