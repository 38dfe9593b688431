/** What a broker says of queues. */
import type { Connector } from "../amqp/connection.ts";
import { inspectQueue, isMissing, isPaused } from "../amqp/declare.ts";
import { isLocalhost, isLoopback } from "../amqp/loopback.ts";
import type { Transport } from "../amqp/transport.ts";
import { EXIT, ToolError } from "../errors.ts";
import type { QueueRow, QueueView } from "./queue_row.ts";

export interface QueueBoardOptions {
  readonly connector: Connector;
  /** Work queues that were named; none: all that the page knows. */
  readonly named: readonly string[];
  /** Work queues that AMQP is asked for, which cannot list them. */
  readonly queues: readonly string[];
  /** They, and those around them. */
  readonly names: readonly string[];
  /** Told why the broker cannot say anything of a queue. */
  readonly warn: (sentence: string) => void;
  /** Told once that there may be more queues. */
  readonly note: (sentence: string) => void;
}

/**
 * Shows queues by AMQP, also when the broker cannot say anything of some of them; or, of our broker
 * on this machine, by the page that it says it has.
 */
export class QueueBoard implements QueueView {
  readonly #options: QueueBoardOptions;
  #transport: Transport | undefined;
  /** Of the broker that the transport leads to. */
  #page: QueueView | undefined;
  #hasNoted = false;
  status: number = EXIT.ok;

  constructor(options: QueueBoardOptions) {
    this.#options = options;
  }

  /** @throws {ToolError} the broker cannot be reached */
  async rows(): Promise<QueueRow[]> {
    await this.#connect();
    const told = await this.#page?.rows().catch((error) => this.#leavePage(error));
    if (told !== undefined) return told;
    this.#noteOthers();
    const rows: QueueRow[] = [];
    for (const name of this.#options.names) {
      const row = await this.#look(name);
      if (row !== undefined) rows.push({ name, ...row });
    }
    return rows;
  }

  async close(): Promise<void> {
    await this.#leavePage();
    await this.#transport?.shutdown();
  }

  async #connect(): Promise<Transport> {
    // RabbitMQ 4 ends the connection when the queue's node is down.
    if (this.#transport === undefined || this.#transport.isEnded) {
      await this.#leavePage();
      this.#transport = await this.#options.connector.connect();
      this.#page = await this.#findPage(this.#transport);
    }
    return this.#transport;
  }

  /** Only on this machine: who is asked elsewhere should not decide whom we ask here. */
  async #findPage({ server, endpoint }: Transport): Promise<QueueView | undefined> {
    const { page: url, instance } = server;
    if (url === "" || instance === "" || !isNear(endpoint.host)) return undefined;
    if (!isNear(URL.parse(url)?.hostname ?? "")) return undefined;
    const { QueuePage } = await import("./queue_page.ts");
    const page = new QueuePage({ url, names: this.#options.named, vhost: endpoint.vhost });
    // Through a tunnel it may be another machine's, and then another broker's page is at that URL.
    if (await page.isOf(instance).catch(() => false)) return page;
    await page.close();
    return undefined;
  }

  #noteOthers(): void {
    if (this.#hasNoted || this.#options.named.length > 0) return;
    this.#hasNoted = true;
    this.#options.note(
      "AMQP cannot list queues: --queue names others, --api a page that knows them all",
    );
  }

  /** AMQP tells less, and always. @param error why the page tells nothing */
  async #leavePage(error?: unknown): Promise<undefined> {
    if (error !== undefined && !(error instanceof ToolError)) throw error;
    const page = this.#page;
    this.#page = undefined;
    await page?.close();
  }

  /** @returns undefined for a queue that is not worth a line */
  async #look(name: string): Promise<Omit<QueueRow, "name"> | undefined> {
    const transport = await this.#connect();
    try {
      const { messageCount, consumerCount } = await inspectQueue(transport, name);
      // A paused queue says that it has no consumers.
      const paused = consumerCount === 0 && await isPaused(transport, name);
      return paused
        ? { ready: messageCount, state: "paused" }
        : { ready: messageCount, consumers: consumerCount };
    } catch (error) {
      if (!(error instanceof ToolError)) throw error;
      if (isMissing(error)) {
        return this.#options.queues.includes(name) ? { state: "missing" } : undefined;
      }
      this.#options.warn(error.message);
      this.status ||= error.exitCode;
      return { state: "unavailable" };
    }
  }
}

/** Whether a name or an address is this machine. */
function isNear(host: string): boolean {
  return isLocalhost(host) || isLoopback(host);
}
