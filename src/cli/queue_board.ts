/** What a broker says of queues, a row each. */
import type { Connector } from "../amqp/connection.ts";
import { inspectQueue, isMissing, isPaused } from "../amqp/declare.ts";
import { isLocalhost, isLoopback } from "../amqp/loopback.ts";
import type { Transport } from "../amqp/transport.ts";
import { EXIT, ToolError } from "../errors.ts";
import { escapeControls } from "../observe/log.ts";

export interface QueueRow {
  /** Safe to be shown. */
  readonly name: string;
  /** Absent where the broker does not say. */
  readonly ready?: number;
  readonly consumers?: number;
  /** AMQP does not tell these, the API of a page does; messages a second, milliseconds since 1970. */
  readonly unacked?: number;
  readonly in?: number;
  readonly out?: number;
  readonly oldestAt?: number;
  /** Why there is less to say. */
  readonly state?: "paused" | "missing" | "unavailable";
}

/** Something that shows queues. */
export interface QueueView {
  /**
   * Queues that do not exist are left out, except the work queues, which are named first.
   *
   * @throws {ToolError} there is nobody to ask
   */
  rows(): Promise<QueueRow[]>;
  /** Of the first queue that could not be looked at. */
  readonly status: number;
  close(): Promise<void>;
}

export interface QueueBoardOptions {
  readonly connector: Connector;
  /** Work queues. */
  readonly queues: readonly string[];
  /** They, and those around them, as AMQP has to be asked for them. */
  readonly names: readonly string[];
  /** Told why the broker cannot say anything of a queue. */
  readonly warn: (sentence: string) => void;
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
  status: number = EXIT.ok;

  constructor(options: QueueBoardOptions) {
    this.#options = options;
  }

  /** @throws {ToolError} the broker cannot be reached */
  async rows(): Promise<QueueRow[]> {
    await this.#connect();
    const told = await this.#page?.rows().catch((error) => this.#leavePage(error));
    if (told !== undefined) return told;
    const rows: QueueRow[] = [];
    for (const name of this.#options.names) {
      const row = await this.#look(name);
      if (row !== undefined) rows.push({ name: escapeControls(name), ...row });
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
    const page = new QueuePage({ url, names: this.#options.queues, vhost: endpoint.vhost });
    // Through a tunnel it may be another machine's, and then another broker's page is at that URL.
    if (await page.isOf(instance).catch(() => false)) return page;
    await page.close();
    return undefined;
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
        return /\.(dead|delay\.\d+)$/.test(name) ? undefined : { state: "missing" };
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

/** What is shown when somebody tells it. */
const MORE: readonly [head: string, cell: (row: QueueRow) => string | undefined][] = [
  ["unacked", ({ unacked }) => unacked?.toFixed()],
  ["in/s", (row) => row.in?.toFixed(1)],
  ["out/s", ({ out }) => out?.toFixed(1)],
  ["oldest", ({ oldestAt }) => oldestAt === undefined ? undefined : agoOf(oldestAt)],
];

/** The rows as aligned text, with a head. */
export function tableOf(rows: readonly QueueRow[]): string {
  const columns = [
    ["ready", ({ ready, state }: QueueRow) => ready?.toFixed() ?? state] as const,
    [
      "consumers",
      ({ consumers, state }: QueueRow) => state === "paused" ? state : consumers?.toFixed(),
    ] as const,
    ...(rows.some(({ unacked }) => unacked !== undefined) ? MORE : []),
  ];
  const cells = [
    ["queue", ...columns.map(([head]) => head)],
    ...rows.map((row) => [row.name, ...columns.map(([, cell]) => cell(row) ?? "-")]),
  ];
  const widths = cells[0]!.map((_, column) => Math.max(...cells.map((row) => row[column]!.length)));
  return cells.map(([name, ...numbers]) =>
    [name!.padEnd(widths[0]!), ...numbers.map((text, i) => text.padStart(widths[i + 1]!))]
      .join("  ") + "\n"
  ).join("");
}

/** How long ago something was, in its largest unit. */
export function agoOf(at: number): string {
  const seconds = Math.max(0, (Date.now() - at) / 1_000);
  const [unit, size] = UNITS.find(([, size]) => seconds >= size) ?? ["s", 1];
  return `${Math.floor(seconds / size)}${unit}`;
}

const UNITS: readonly [string, number][] = [["d", 86_400], ["h", 3_600], ["m", 60]];
