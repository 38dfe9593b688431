/** Keeps the connection to the broker, and knows whether tasks can be sent now. */
import { reconnectPause } from "../../amqp/connection.ts";
import type { Transport } from "../../amqp/transport.ts";
import { ConnectionError, isPassing, ToolError } from "../../errors.ts";
import type { Logger } from "../../observe/log.ts";
import { formatDuration } from "../../task/duration.ts";
import { deadline } from "../../time/deadline.ts";
import { sleep } from "../../time/sleep.ts";
import type { Sender } from "../sender.ts";

/** Why no task can be sent now. */
export interface Trouble {
  readonly why: string;
  /** Since when, in milliseconds. */
  readonly forMs: number;
}

export class BrokerWatch {
  readonly #sender: Sender;
  readonly #log: Logger;
  readonly #stop = new AbortController();
  #transport: Transport | undefined;
  #why = "it was not connected yet";
  /** performance.now() since which no task can be sent; undefined: it can. */
  #since: number | undefined = performance.now();
  #lost = 0;

  constructor(sender: Sender, log: Logger) {
    this.#sender = sender;
    this.#log = log;
  }

  /** Connections that were lost. */
  get lost(): number {
    return this.#lost;
  }

  get trouble(): Trouble | undefined {
    const now = performance.now();
    const transport = this.#transport;
    if (transport !== undefined && !transport.isEnded) {
      if (transport.blocked === undefined) {
        this.#since = undefined;
        return undefined;
      }
      this.#why = `the broker blocks publishers: ${transport.blocked}`;
    }
    this.#since ??= now;
    return { why: this.#why, forMs: now - this.#since };
  }

  /**
   * Connects, and again whenever the connection is lost, until stopped.
   *
   * @param prepare uses the connection for the first time
   * @param ms after so many it goes on without: a broker that blocks answers nothing
   * @throws {ToolError} the first time, what only somebody can mend
   */
  async start(prepare: () => Promise<void>, ms: number): Promise<void> {
    try {
      await deadline(
        this.#connect().then(prepare),
        ms,
        () => new ConnectionError(`the broker did not answer within ${formatDuration(ms)}`),
      );
    } catch (error) {
      if (!isPassing(error)) throw error;
      this.#fail(error);
    }
    this.#keep();
  }

  stop(): void {
    this.#stop.abort();
  }

  async #keep(): Promise<void> {
    const { signal } = this.#stop;
    for (let failures = 0; !signal.aborted;) {
      const transport = this.#transport;
      if (transport !== undefined) {
        failures = 0;
        await transport.ended;
        this.#transport = undefined;
        if (signal.aborted) return;
        this.#lost++;
        this.#why = "the connection to the broker was lost";
        this.#since = performance.now();
      } else await sleep(reconnectPause(failures++, Math.random()), signal);
      if (signal.aborted) return;
      await this.#connect().catch((error) => this.#fail(error));
    }
  }

  async #connect(): Promise<void> {
    this.#transport = await this.#sender.connected();
    this.#log.info("connected to the broker");
  }

  #fail(error: unknown): void {
    if (!(error instanceof ToolError)) throw error;
    if (error.message !== this.#why) this.#log.warn(error.message);
    this.#why = error.message;
  }
}
