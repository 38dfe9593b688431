/** What a broker says of queues, a row each. */
import type { Connector } from "../amqp/connection.ts";
import { inspectQueue, isMissing, isPaused } from "../amqp/declare.ts";
import type { Transport } from "../amqp/transport.ts";
import { EXIT, ToolError } from "../errors.ts";
import { escapeControls } from "../observe/log.ts";

export interface QueueRow {
  /** Safe to be shown. */
  readonly name: string;
  /** Absent where the broker does not say. */
  readonly ready?: number;
  readonly consumers?: number;
  /** Why there is less to say. */
  readonly state?: "paused" | "missing" | "unavailable";
}

export interface QueueBoardOptions {
  readonly connector: Connector;
  readonly names: readonly string[];
  /** Told why the broker cannot say anything of a queue. */
  readonly warn: (sentence: string) => void;
}

/** Shows queues, also when the broker cannot say anything of some of them. */
export class QueueBoard {
  readonly #options: QueueBoardOptions;
  #transport: Transport | undefined;
  /** Of the first queue that could not be looked at. */
  status: number = EXIT.ok;

  constructor(options: QueueBoardOptions) {
    this.#options = options;
  }

  /**
   * Queues that do not exist are left out, except the work queues, which are named first.
   *
   * @throws {ToolError} the broker cannot be reached
   */
  async rows(): Promise<QueueRow[]> {
    const rows: QueueRow[] = [];
    for (const name of this.#options.names) {
      const row = await this.#look(name);
      if (row !== undefined) rows.push({ name: escapeControls(name), ...row });
    }
    return rows;
  }

  async close(): Promise<void> {
    await this.#transport?.shutdown();
  }

  /** @returns undefined for a queue that is not worth a line */
  async #look(name: string): Promise<Omit<QueueRow, "name"> | undefined> {
    // RabbitMQ 4 ends the connection when the queue's node is down.
    if (this.#transport === undefined || this.#transport.isEnded) {
      this.#transport = await this.#options.connector.connect();
    }
    try {
      const { messageCount, consumerCount } = await inspectQueue(this.#transport, name);
      // A paused queue says that it has no consumers.
      const paused = consumerCount === 0 && await isPaused(this.#transport, name);
      return paused
        ? { ready: messageCount, state: "paused" }
        : { ready: messageCount, consumers: consumerCount };
    } catch (error) {
      if (!(error instanceof ToolError)) throw error;
      if (isMissing(error)) {
        return /\.(dead|delay\.\d+)$/.test(name) ? undefined : { state: "missing" };
      }
      this.#options.warn(error.message);
      this.status ||= error.exitCode;
      return { state: "unavailable" };
    }
  }
}

/** The rows as aligned text, with a head. */
export function tableOf(rows: readonly QueueRow[]): string {
  const cells = [
    ["queue", "ready", "consumers"],
    ...rows.map(({ name, ready, consumers, state }) => [
      name,
      ready === undefined ? state! : String(ready),
      consumers === undefined ? (state === "paused" ? state : "-") : String(consumers),
    ]),
  ];
  const widths = [0, 1, 2].map((column) => Math.max(...cells.map((row) => row[column]!.length)));
  return cells.map(([name, ...numbers]) =>
    [name!.padEnd(widths[0]!), ...numbers.map((text, i) => text.padStart(widths[i + 1]!))]
      .join("  ") + "\n"
  ).join("");
}
